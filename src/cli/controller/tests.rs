use clap::Parser;

use super::*;
use crate::api::checked::{ObjectKey, Provider};
use crate::cli::arguments::with_two_dashes;
use crate::controller::logs::{LogFormat, LogLevel};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    controller: ControllerArgs,
}

/// The settings that follow from the arguments, or what is wrong with them, one in each line.
fn settings(arguments: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
    let arguments = std::iter::once("controller").chain(arguments.split_whitespace()).map(Into::into);
    let line = Line::try_parse_from(with_two_dashes(arguments)).map_err(|error| error.to_string())?;
    let look_up = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let lines = |errors: Vec<flags::FlagError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    line.controller.check(look_up).map_err(lines)
}

#[test]
fn without_flags_the_defaults_hold() {
    let settings = settings("", &[]).unwrap();
    assert_eq!(settings.options.metrics_server, "http://prometheus:9090");
    assert_eq!(settings.options.provider, Provider::GatewayApi);
    assert_eq!(settings.options.selector_labels, ["app", "name", "app.kubernetes.io/name"]);
    assert_eq!(settings.options.namespace, None);
    assert_eq!(settings.options.parallel_passes, 16);
    assert!(settings.options.config_tracking && !settings.options.no_cross_namespace_refs);
    assert!(settings.leader_election);
    assert_eq!((settings.port, settings.lease_namespace, settings.kubeconfig), (8080, None, None));
    assert_eq!((settings.log_level, settings.log_format), (LogLevel::Info, LogFormat::Json));
    assert!(settings.warnings.is_empty());
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_one_counts() {
    let arguments =
        "--port=1 --gateway=a/b --enable-leader-election=false --port=2 --gateway=c/d --enable-leader-election";
    let settings = settings(arguments, &[]).unwrap();
    assert_eq!((settings.port, settings.leader_election), (2, true));
    assert_eq!(settings.options.gateways, [ObjectKey::new("a", "b"), ObjectKey::new("c", "d")]);
}

#[test]
fn the_arguments_of_a_flagger_deployment_are_taken_as_they_are() {
    let settings = settings(
        "-log-level=debug -mesh-provider=gatewayapi:v1 -metrics-server=http://prometheus.monitoring:9090 \
         -enable-config-tracking=false -namespace=shop -selector-labels=app,name -include-label-prefix=team,cost \
         -enable-leader-election=true -leader-election-namespace=shop-system -cluster-name=east -port=8081 \
         -no-cross-namespace-refs=true -threadiness=2 -zap-encoding=console -kubeconfig /etc/kubeconfig",
        &[],
    )
    .unwrap();
    let options = settings.options;
    assert_eq!(options.provider, Provider::GatewayApi);
    assert_eq!(options.metrics_server, "http://prometheus.monitoring:9090");
    assert_eq!(options.namespace.as_deref(), Some("shop"));
    assert_eq!(options.selector_labels, ["app", "name"]);
    assert_eq!(options.include_label_prefixes, ["team", "cost"]);
    assert_eq!(options.cluster_name.as_deref(), Some("east"));
    assert!(!options.config_tracking && options.no_cross_namespace_refs);
    assert_eq!(options.parallel_passes, 2);
    assert_eq!(settings.lease_namespace.as_deref(), Some("shop-system"));
    assert_eq!((settings.log_level, settings.log_format), (LogLevel::Debug, LogFormat::Text));
    assert_eq!((settings.port, settings.kubeconfig), (8081, Some("/etc/kubeconfig".into())));
    assert!(settings.warnings.is_empty());
}

#[test]
fn the_namespace_that_is_watched_has_the_lease_unless_another_is_named() {
    let lease = |arguments| settings(arguments, &[]).unwrap().lease_namespace;
    assert_eq!(lease("-namespace=shop").as_deref(), Some("shop"));
    assert_eq!(lease("-namespace=shop -leader-election-namespace=system").as_deref(), Some("system"));
    assert_eq!(lease("-namespace= -leader-election-namespace="), None);
}

#[test]
fn booleans_are_read_as_go_reads_them() {
    for (argument, expected) in [
        ("-enable-leader-election", true),
        ("-enable-leader-election=1", true),
        ("-enable-leader-election=TRUE", true),
        ("-enable-leader-election=f", false),
        ("--enable-leader-election=false", false),
    ] {
        assert_eq!(settings(argument, &[]).unwrap().leader_election, expected, "{argument}");
    }
    assert!(settings("-enable-leader-election=yes", &[]).unwrap_err().contains("give true or false"));
}

#[test]
fn serins_own_flags_are_read() {
    let options = settings(
        "--gateway projectcontour/contour --gateway=infra/public.gw --metrics-profile envoy --log-format text \
         -mesh-provider=kubernetes",
        &[],
    )
    .unwrap()
    .options;
    assert_eq!(options.gateways, [ObjectKey::new("projectcontour", "contour"), ObjectKey::new("infra", "public.gw")]);
    assert_eq!(options.metrics_profile.as_deref(), Some("envoy"));
    assert_eq!(options.provider, Provider::Kubernetes);
}

#[test]
fn flags_without_a_meaning_here_are_accepted_with_a_warning() {
    for (arguments, expected) in [
        (
            "-master=https://10.0.0.1",
            "--master is Flagger's and has no effect: the address of the API server comes from",
        ),
        ("-kubeconfig-qps=100", "--kubeconfig-qps is Flagger's and has no effect: the number of calls"),
        ("-kubeconfig-burst 250", "--kubeconfig-burst is Flagger's and has no effect: the number of calls"),
        (
            "-control-loop-interval=10s",
            "--control-loop-interval is Flagger's and has no effect: each Canary is looked at",
        ),
        ("-zap-replace-globals", "--zap-replace-globals is Flagger's and has no effect: there is one log"),
        ("-ingress-class=contour", "--ingress-class is Flagger's and has no effect: no Ingress is written"),
        ("-slack-user=flagger", "--slack-user is Flagger's and has no effect: alerts go where each Canary's"),
        ("-v=4", "--v is Flagger's and has no effect: the log follows --log-level"),
        ("-logtostderr -port=80", "--logtostderr is Flagger's and has no effect: the log follows"),
    ] {
        let warnings = settings(arguments, &[]).unwrap().warnings;
        assert!(matches!(warnings.as_slice(), [warning] if warning.starts_with(expected)), "{arguments}: {warnings:?}");
    }
}

#[test]
fn wrong_flags_are_refused_with_the_mend() {
    let slack = "create an AlertProvider of type slack and name it in each Canary's spec.analysis.alerts";
    for (arguments, variable, expected) in [
        (
            "-mesh-provider=istio",
            None,
            "--mesh-provider istio: this provider is not built in; use gatewayapi:v1 (gatewayapi:v1beta1 means the same) or kubernetes",
        ),
        (
            "-metrics-server=prometheus:9090",
            None,
            "--metrics-server prometheus:9090: give a URL, for example http://prometheus:9090",
        ),
        ("-metrics-server=http://", None, "--metrics-server http://: give a URL, for example http://prometheus:9090"),
        ("-selector-labels=,", None, "--selector-labels ,: name at least one label key, for example app"),
        ("--gateway contour", None, "--gateway contour: give NAMESPACE/NAME, for example projectcontour/contour"),
        ("--gateway a/b/c", None, "--gateway a/b/c: give NAMESPACE/NAME, for example projectcontour/contour"),
        ("--gateway /b", None, "--gateway /b: give NAMESPACE/NAME, for example projectcontour/contour"),
        (
            "-kubeconfig-service-mesh=/mesh",
            None,
            "--kubeconfig-service-mesh is not supported: routes are written in the cluster of --kubeconfig; run Serin in the cluster that has the routes",
        ),
        ("-slack-url=https://hooks", None, &format!("--slack-url is not supported: {slack}")),
        ("", Some("SLACK_TOKEN"), &format!("the environment variable SLACK_TOKEN is not supported: {slack}")),
        (
            "-msteams-url=https://teams",
            None,
            "--msteams-url is not supported: create an AlertProvider of type msteams and name it in each Canary's spec.analysis.alerts",
        ),
        (
            "",
            Some("EVENT_WEBHOOK_URL"),
            "the environment variable EVENT_WEBHOOK_URL is not supported: create an AlertProvider of type webhook and name it in each Canary's spec.analysis.alerts",
        ),
    ] {
        let environment: Vec<_> = variable.into_iter().map(|name| (name, "https://example.com")).collect();
        assert_eq!(settings(arguments, &environment).unwrap_err(), expected, "{arguments}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let errors = settings("-mesh-provider=linkerd -slack-url=x --gateway y -metrics-server=z", &[]).unwrap_err();
    assert_eq!(errors.lines().count(), 4, "{errors}");
}

#[test]
fn an_empty_value_means_not_set() {
    let empty = "-slack-url= -event-webhook= -kubeconfig= -cluster-name= -include-label-prefix= -slack-user=";
    let settings = settings(empty, &[("SLACK_URL", "https://hooks"), ("MSTEAMS_URL", "")]).unwrap();
    assert_eq!(settings.options.cluster_name, None);
    assert_eq!(settings.kubeconfig, None);
    assert!(settings.warnings.is_empty());
}

#[test]
fn values_out_of_range_are_refused() {
    for arguments in ["-threadiness=0", "-threadiness=257", "-port=65536", "-log-level=loud", "-no-such-flag"] {
        assert!(settings(arguments, &[]).is_err(), "{arguments}");
    }
}

/// A process of three tasks: each runs until told to, or as the test says.
fn process<C>(controller: impl FnOnce(CancellationToken) -> C) -> (Process, CancellationToken)
where
    C: Future<Output = Result<(), ControllerError>> + Send + 'static,
{
    let released = CancellationToken::new();
    let release = released.clone();
    let lease = Task::start("leader election", |stop| async move {
        stop.cancelled().await;
        release.cancel();
        Ok(())
    });
    let server = Task::start("HTTP server", async |stop: CancellationToken| {
        stop.cancelled().await;
        Ok(())
    });
    (Process { server, lease, controller: Task::start("controller", controller) }, released)
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_finishes_the_passes_and_then_gives_the_lease_back() {
    let (process, released) = process(async |stop: CancellationToken| {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        Ok(())
    });
    let start = tokio::time::Instant::now();
    let run = tokio::spawn(process.run_until(std::future::ready(())));
    tokio::time::sleep(Duration::from_millis(8900)).await;
    assert!(!released.is_cancelled(), "the lease was given back while passes were running");
    run.await.unwrap().unwrap();
    assert!(released.is_cancelled());
    assert!(start.elapsed() < Duration::from_millis(9100));
}

#[tokio::test(start_paused = true)]
async fn passes_that_do_not_end_are_abandoned_with_the_lease_kept() {
    let (process, released) = process(async |_| std::future::pending().await);
    let error = process.run_until(std::future::ready(())).await.unwrap_err().to_string();
    assert_eq!(error, "passes were still running 10 s after the order to stop; they were abandoned");
    assert!(!released.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_ends_the_process_at_once_even_while_it_drains() {
    for told_to_stop in [true, false] {
        let (mut process, _) = process(async |_| std::future::pending().await);
        process.lease = Task::start("leader election", async |_| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(LeaseError::Taken { holder: "serin-1".to_owned() })
        });
        let start = tokio::time::Instant::now();
        let signal = async {
            if !told_to_stop {
                std::future::pending::<()>().await;
            }
        };
        let error = process.run_until(signal).await.unwrap_err().to_string();
        assert_eq!(error, "lost leadership: the Lease serin-leader-election is held by serin-1 now");
        assert_eq!(start.elapsed().as_secs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_task_dies_in_silence() {
    let (process, _) = process(async |_| panic!("a bug"));
    let error = process.run_until(std::future::pending()).await.unwrap_err().to_string();
    assert!(error.starts_with("the task of the controller failed: task "), "{error}");
    let (process, _) = self::process(async |_| Ok(()));
    let error = process.run_until(std::future::pending()).await.unwrap_err().to_string();
    assert_eq!(error, "the task of the controller ended without being told to");
}
