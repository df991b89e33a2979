//! The connection to the API server: how long a request may take, how often it is tried, and how many run at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::{Body, ClientBuilder, DynBody};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::Semaphore;
use tower::buffer::BufferLayer;
use tower::{BoxError, Layer, Service, ServiceExt};

/// Time for one call: waiting for its turn, all tries and the whole answer. Watches have none.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries of one call.
const TRIES: u32 = 4;
/// Pause before the second try; each further one is five times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause. A server that asks for a longer one gets it from the pass's own backoff instead.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Calls that run at the same time; watches don't count.
const PARALLEL_CALLS: usize = 64;
/// Requests that wait for the connection pool; more wait outside.
const QUEUE: usize = 1024;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file named by `--kubeconfig` can't be used.
    #[error("cannot use the kubeconfig {}: {source}; correct --kubeconfig, or leave it out to run in a cluster", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// Neither a kubeconfig nor a service account was found.
    #[error(
        "found no way to reach a cluster; set --kubeconfig or KUBECONFIG, or run in a pod with a service account: {0}"
    )]
    Nowhere(#[from] Box<InferConfigError>),
    /// The configuration is readable and makes no client: certificates, keys or a proxy.
    #[error("the cluster configuration is not usable: {0}")]
    Unusable(#[from] Box<kube::Error>),
}

/// A call that took too long.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: no complete answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
pub struct CallTimeout {
    method: Method,
    path: String,
}

/// Requests to the API server so far, by verb as RBAC names them. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct ApiRequests(Family<VerbLabels, Counter>);

/// Label of [`ApiRequests`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerbLabels {
    verb: &'static str,
}

impl ApiRequests {
    /// The counters by verb, for a registry.
    pub fn family(&self) -> Family<VerbLabels, Counter> {
        self.0.clone()
    }

    pub(crate) fn count(&self, verb: &'static str) {
        self.0.get_or_create(&VerbLabels { verb }).inc();
    }
}

/// A client for the cluster of `kubeconfig`, or else of `KUBECONFIG`, `~/.kube/config` or the pod's service account,
/// whichever is there first. Doesn't connect yet. Every try of every request is counted in `requests`.
///
/// Answers 429 and 503 are tried again; so are 504 and broken connections where repeating can't do harm. kube's own
/// retries are off: they go on for minutes.
pub async fn connect(kubeconfig: Option<&Path>, requests: ApiRequests) -> Result<Client, ClientError> {
    let mut config = load(kubeconfig).await?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.headers.push((USER_AGENT, HeaderValue::from_static(concat!("serin/", env!("CARGO_PKG_VERSION")))));
    let builder = ClientBuilder::try_from(config).map_err(Box::new)?;
    Ok(builder.with_layer(&BufferLayer::<Request<Body>>::new(QUEUE)).with_layer(&CallLayer::new(requests)).build())
}

/// A client over any connection, with the time limits, tries and counting of [`connect`]. The connection must be ready
/// for a request at any time.
pub fn over<S>(connection: S, default_namespace: &str, requests: ApiRequests) -> Client
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    ClientBuilder::new(connection, default_namespace).with_layer(&CallLayer::new(requests)).build()
}

async fn load(kubeconfig: Option<&Path>) -> Result<Config, ClientError> {
    let Some(path) = kubeconfig else {
        return Config::infer().await.map_err(|error| ClientError::Nowhere(Box::new(error)));
    };
    let unusable = |source| ClientError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(unusable)
}

/// Puts [`Calls`] around a connection.
#[derive(Clone)]
struct CallLayer {
    turns: Arc<Semaphore>,
    requests: ApiRequests,
}

impl CallLayer {
    fn new(requests: ApiRequests) -> Self {
        Self { turns: Arc::new(Semaphore::new(PARALLEL_CALLS)), requests }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, turns: self.turns.clone(), requests: self.requests.clone() }
    }
}

/// Sends watches straight on, and everything else with a turn, a time limit and a number of tries.
#[derive(Clone)]
struct Calls<S> {
    inner: S,
    turns: Arc<Semaphore>,
    requests: ApiRequests,
}

type Answer = Result<Response<Box<DynBody>>, BoxError>;

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let calls = self.clone();
        if is_watch(&request) {
            return Box::pin(calls.send(request));
        }
        let timeout = CallTimeout { method: request.method().clone(), path: request.uri().path().to_owned() };
        let call = calls.unary(request);
        Box::pin(async { tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| Err(timeout.into())) })
    }
}

impl<S> Calls<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError> + Clone,
{
    async fn send(self, request: Request<Body>) -> Answer {
        self.requests.count(verb(&request));
        self.inner.oneshot(request).await
    }

    async fn unary(self, mut request: Request<Body>) -> Answer {
        let _turn = self.turns.clone().acquire_owned().await?;
        let repeatable = is_repeatable(&request);
        let mut attempt = 1;
        loop {
            let again = copy(&request);
            let answer = whole(self.clone().send(request).await).await;
            let (Some(next), Some(pause)) = (again, pause_before_retry(attempt, repeatable, &answer)) else {
                return answer;
            };
            tokio::time::sleep(pause).await;
            request = next;
            attempt += 1;
        }
    }
}

/// Reads the body to its end, so that the time limit holds for it too and a connection that breaks in the middle is
/// tried again. The client reads it whole in any case.
async fn whole(answer: Answer) -> Answer {
    let (parts, body) = answer?.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, Box::new(Full::new(bytes).map_err(|never| match never {}))))
}

/// How long to wait before the next try; `None` where this answer is the last one.
fn pause_before_retry<B>(attempt: u32, repeatable: bool, answer: &Result<Response<B>, BoxError>) -> Option<Duration> {
    if attempt >= TRIES {
        return None;
    }
    let pause = FIRST_PAUSE.saturating_mul(5u32.saturating_pow(attempt - 1)).min(LONGEST_PAUSE);
    let Ok(response) = answer else {
        return repeatable.then_some(pause);
    };
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
        // The request may have been carried out.
        StatusCode::GATEWAY_TIMEOUT if repeatable => {}
        _ => return None,
    }
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let pause = asked.map_or(pause, |seconds| pause.max(Duration::from_secs(seconds)));
    (pause <= LONGEST_PAUSE).then_some(pause)
}

/// Whether sending this twice does the same as sending it once: all but creation and JSON patches.
fn is_repeatable(request: &Request<Body>) -> bool {
    match *request.method() {
        Method::GET | Method::PUT | Method::DELETE => true,
        Method::PATCH => request.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().starts_with(b"application/apply-patch")
                || kind.as_bytes().starts_with(b"application/merge-patch")
        }),
        _ => false,
    }
}

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

fn is_watch<B>(request: &Request<B>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")))
}

/// The verb of a request as RBAC and the audit log name it.
fn verb<B>(request: &Request<B>) -> &'static str {
    match *request.method() {
        Method::GET if is_watch(request) => "watch",
        Method::GET if is_collection(request.uri().path()) => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Whether a path ends in a resource's plural name rather than an object's: `/api/VERSION/...` and
/// `/apis/GROUP/VERSION/...`, with `namespaces/NAMESPACE` before namespaced resources.
fn is_collection(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let skipped = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return false,
    };
    let rest: Vec<_> = parts.skip(skipped).collect();
    match rest.as_slice() {
        ["namespaces", _, rest @ ..] | rest => rest.len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    const OBJECT: &str = "/apis/apps/v1/namespaces/default/deployments/frontend";

    fn request(method: &str, path: &str, content_type: &str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(b"{}".to_vec()))
            .unwrap()
    }

    fn body(text: &str) -> Box<DynBody> {
        Box::new(Full::from(text.to_owned()).map_err(|never| match never {}))
    }

    /// What the server does with one try.
    #[derive(Clone, Copy)]
    enum Try {
        Answers(u16),
        Asks(u16, &'static str),
        Breaks,
        Hangs,
    }
    use Try::{Answers, Asks, Breaks, Hangs};

    /// Name, request, what the server does, status or error, tries, seconds.
    type Row<'a> = (&'a str, Request<Body>, &'a [Try], &'a str, usize, f64);

    /// Sends one request to a server that does as told, in virtual time: the status or error, the number of tries,
    /// the seconds it took.
    async fn send(request: Request<Body>, script: &[Try]) -> (String, usize, f64) {
        let script = Arc::new(Mutex::new(script.to_vec()));
        let total = script.lock().unwrap().len();
        let left = script.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            let next = left.lock().unwrap().remove(0);
            async move {
                match next {
                    Answers(status) => Ok(Response::builder().status(status).body(body("{}")).unwrap()),
                    Asks(status, after) => {
                        Ok(Response::builder().status(status).header(RETRY_AFTER, after).body(body("{}")).unwrap())
                    }
                    Breaks => Err(BoxError::from("connection reset")),
                    Hangs => std::future::pending().await,
                }
            }
        });
        let start = Instant::now();
        let calls = CallLayer::new(ApiRequests::default()).layer(server);
        let answer = match calls.oneshot(request).await {
            Ok(response) => response.status().as_u16().to_string(),
            Err(error) => error.to_string(),
        };
        let tries = total - script.lock().unwrap().len();
        (answer, tries, start.elapsed().as_secs_f64())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_tried_again_where_it_may_help_and_cannot_harm() {
        let get = || request("GET", OBJECT, "");
        let create = || request("POST", "/apis/apps/v1/namespaces/default/deployments", "application/json");
        let apply = || request("PATCH", OBJECT, "application/apply-patch+yaml");
        let json_patch = || request("PATCH", OBJECT, "application/json-patch+json");
        let table: [Row<'_>; 15] = [
            ("success", get(), &[Answers(200)], "200", 1, 0.0),
            ("not found is an answer", get(), &[Answers(404)], "404", 1, 0.0),
            ("conflict is an answer", apply(), &[Answers(409)], "409", 1, 0.0),
            ("an internal error is an answer", get(), &[Answers(500)], "500", 1, 0.0),
            ("busy once", get(), &[Answers(429), Answers(200)], "200", 2, 0.05),
            ("down for long", get(), &[Answers(503); 4], "503", 4, 1.55),
            ("busy means not done", create(), &[Answers(429), Answers(201)], "201", 2, 0.05),
            ("late and repeatable", apply(), &[Answers(504), Answers(200)], "200", 2, 0.05),
            ("late and perhaps done", create(), &[Answers(504)], "504", 1, 0.0),
            ("broken and repeatable", apply(), &[Breaks, Answers(200)], "200", 2, 0.05),
            ("broken and perhaps done", create(), &[Breaks], "connection reset", 1, 0.0),
            ("broken JSON patch", json_patch(), &[Breaks], "connection reset", 1, 0.0),
            ("the server says when", get(), &[Asks(429, "2"), Answers(200)], "200", 2, 2.0),
            ("the server asks for too much", get(), &[Asks(429, "60")], "429", 1, 0.0),
            ("nonsense is ignored", get(), &[Asks(429, "soon"), Answers(200)], "200", 2, 0.05),
        ];
        for (name, request, script, answer, tries, seconds) in table {
            let got = send(request, script).await;
            assert_eq!((got.0.as_str(), got.1), (answer, tries), "{name}");
            assert!((got.2 - seconds).abs() < 0.02, "{name}: took {} s instead of {seconds} s", got.2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_after_ten_seconds_with_its_name() {
        let (answer, _, seconds) = send(request("GET", OBJECT, ""), &[Hangs]).await;
        assert_eq!(answer, format!("GET {OBJECT}: no complete answer from the API server within 10 s"));
        assert!((10.0..10.1).contains(&seconds), "{seconds}");
    }

    fn stuck_body(_: Request<Body>) -> std::future::Ready<Answer> {
        let stuck = axum::body::Body::from_stream(futures::stream::pending::<Result<String, BoxError>>());
        std::future::ready(Ok(Response::new(Box::new(stuck.map_err(BoxError::from)))))
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_limit_holds_for_the_body_of_a_call_and_not_for_a_watch() {
        let calls = CallLayer::new(ApiRequests::default()).layer(tower::service_fn(stuck_body));
        let call = calls.clone().oneshot(request("GET", OBJECT, "")).await;
        assert!(call.err().unwrap().is::<CallTimeout>());
        let watch = calls.oneshot(request("GET", "/apis/apps/v1/deployments?watch=true", "")).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(3600), watch.into_body().collect()).await;
        assert!(read.is_err(), "the watch ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_calls_runs_64_at_a_time_beside_the_watches() {
        let running = Arc::new(Mutex::new((0, 0)));
        let seen = running.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            let seen = seen.clone();
            async move {
                let now = {
                    let mut seen = seen.lock().unwrap();
                    seen.0 += 1;
                    seen.0
                };
                tokio::time::sleep(Duration::from_secs(1)).await;
                let mut seen = seen.lock().unwrap();
                seen.1 = seen.1.max(now);
                seen.0 -= 1;
                Ok::<_, BoxError>(Response::new(body("{}")))
            }
        });
        let calls = CallLayer::new(ApiRequests::default()).layer(server);
        let storm = (0..200).map(|_| calls.clone().oneshot(request("GET", OBJECT, "")));
        assert!(futures::future::join_all(storm).await.iter().all(Result::is_ok));
        assert_eq!(running.lock().unwrap().1, PARALLEL_CALLS);
    }

    #[test]
    fn verbs_are_those_of_rbac() {
        for (method, path, expected) in [
            ("GET", OBJECT, "get"),
            ("GET", "/apis/apps/v1/namespaces/default/deployments/frontend/scale", "get"),
            ("GET", "/api/v1/namespaces/default", "get"),
            ("GET", "/api/v1/namespaces", "list"),
            ("GET", "/api/v1/namespaces/default/services?limit=500", "list"),
            ("GET", "/apis/flagger.app/v1beta1/canaries", "list"),
            ("GET", "/apis/flagger.app/v1beta1/canaries?watch=true&resourceVersion=7", "watch"),
            ("GET", "/version", "get"),
            ("POST", "/apis/apps/v1/namespaces/default/deployments", "create"),
            ("PUT", OBJECT, "update"),
            ("PATCH", OBJECT, "patch"),
            ("DELETE", OBJECT, "delete"),
        ] {
            assert_eq!(verb(&request(method, path, "")), expected, "{method} {path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_try_is_counted() {
        let requests = ApiRequests::default();
        let busy = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, BoxError>(Response::builder().status(429).body(body("{}")).unwrap())
        });
        CallLayer::new(requests.clone()).layer(busy).oneshot(request("GET", OBJECT, "")).await.unwrap();
        assert_eq!(requests.0.get_or_create(&VerbLabels { verb: "get" }).get(), u64::from(TRIES));
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let error =
            connect(Some(Path::new("/nowhere/config")), ApiRequests::default()).await.err().unwrap().to_string();
        assert!(error.starts_with("cannot use the kubeconfig /nowhere/config: "), "{error}");
        assert!(error.ends_with("correct --kubeconfig, or leave it out to run in a cluster"), "{error}");
    }
}
