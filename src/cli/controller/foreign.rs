//! Flags of Flagger that Serin doesn't have. A Deployment's arguments move over as they are: what means nothing here is
//! accepted with a warning; what asked for something that would be missed is refused, with what to do instead.

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use super::flags::FlagError;

/// Why a flag of Flagger means nothing here.
const MEANINGLESS: [(&str, &str); 24] = [
    ("master", "the address of the API server comes from the kubeconfig"),
    ("kubeconfig-qps", "the number of calls at the same time is limited instead"),
    ("kubeconfig-burst", "the number of calls at the same time is limited instead"),
    ("control-loop-interval", "each Canary is looked at when it changes and when its next check is due"),
    ("zap-replace-globals", "there is one log"),
    ("ingress-annotations-prefix", "no Ingress is written"),
    ("ingress-class", "no Ingress is written"),
    ("slack-proxy-url", NO_GLOBAL_ALERTS),
    ("slack-user", NO_GLOBAL_ALERTS),
    ("slack-channel", NO_GLOBAL_ALERTS),
    ("msteams-proxy-url", NO_GLOBAL_ALERTS),
    ("add_dir_header", KLOG),
    ("alsologtostderr", KLOG),
    ("log_backtrace_at", KLOG),
    ("log_dir", KLOG),
    ("log_file", KLOG),
    ("log_file_max_size", KLOG),
    ("logtostderr", KLOG),
    ("one_output", KLOG),
    ("skip_headers", KLOG),
    ("skip_log_headers", KLOG),
    ("stderrthreshold", KLOG),
    ("v", KLOG),
    ("vmodule", KLOG),
];
const NO_GLOBAL_ALERTS: &str = "alerts go where each Canary's spec.analysis.alerts says";
const KLOG: &str = "the log follows --log-level and --log-format";

/// Flags that would be missed, the environment variable that does the same, and what to do instead.
const UNSUPPORTED: [(&str, Option<&str>, &str); 5] = [
    (
        "kubeconfig-service-mesh",
        None,
        "routes are written in the cluster of --kubeconfig; run Serin in the cluster that has the routes",
    ),
    ("slack-url", Some("SLACK_URL"), SLACK),
    ("slack-token", Some("SLACK_TOKEN"), SLACK),
    (
        "msteams-url",
        Some("MSTEAMS_URL"),
        "create an AlertProvider of type msteams and name it in each Canary's spec.analysis.alerts",
    ),
    (
        "event-webhook",
        Some("EVENT_WEBHOOK_URL"),
        "create an AlertProvider of type webhook and name it in each Canary's spec.analysis.alerts",
    ),
];
const SLACK: &str = "create an AlertProvider of type slack and name it in each Canary's spec.analysis.alerts";

/// The flags of the two tables that were given, with their values. Hidden from the help.
#[derive(Clone, Debug, Default)]
pub struct ForeignArgs {
    given: Vec<(&'static str, String)>,
}

impl ForeignArgs {
    /// Refuses what would be missed, and says in words what else is not heeded.
    pub fn check(&self, environment: impl Fn(&str) -> Option<String>, errors: &mut Vec<FlagError>) -> Vec<String> {
        let value = |flag| self.given.iter().find(|(name, _)| *name == flag).map(|(_, value)| value.as_str());
        for (flag, variable, mend) in UNSUPPORTED {
            // A flag beats its variable, also where it is empty, which is how a Helm chart says "not set".
            let from_environment = || variable.filter(|variable| environment(variable).is_some_and(|v| !v.is_empty()));
            let given = match value(flag) {
                Some("") => None,
                Some(_) => Some(format!("--{flag}")),
                None => from_environment().map(|variable| format!("the environment variable {variable}")),
            };
            errors.extend(given.map(|given| FlagError::Unsupported { given, mend }));
        }
        let ignored = |(flag, reason): &(&'static str, &str)| {
            let value = value(flag)?;
            (!value.is_empty()).then(|| format!("--{flag} is Flagger's and has no effect: {reason}"))
        };
        MEANINGLESS.iter().filter_map(ignored).collect()
    }
}

fn flags() -> impl Iterator<Item = &'static str> {
    let unsupported = UNSUPPORTED.iter().map(|(flag, _, _)| *flag);
    MEANINGLESS.iter().map(|(flag, _)| *flag).chain(unsupported)
}

impl Args for ForeignArgs {
    fn augment_args(command: Command) -> Command {
        let hidden = |flag| Arg::new(flag).long(flag).hide(true).num_args(0..=1).default_missing_value("true");
        command.args(flags().map(hidden))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ForeignArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = flags().filter_map(|flag| Some((flag, matches.get_one::<String>(flag)?.clone()))).collect();
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
