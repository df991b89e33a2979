//! The rules of the house, each a function from one file to what it breaks.

use crate::source::{NamePath, Source};

/// Rooms without async, clock, randomness, logging, files or network: what they do depends on their arguments alone.
const PURE_ROOMS: [&str; 5] = ["analysis", "api", "rollout", "routing", "workload"];

/// Which rooms a room may import: the arrows of ARCHITECTURE.md.
const ARROWS: [(&str, &str); 15] = [
    ("api", ""),
    ("analysis", "api"),
    ("rollout", "api analysis"),
    ("workload", "api analysis rollout"),
    ("routing", "api analysis rollout"),
    ("clock", ""),
    ("outbound", ""),
    ("metrics", "api analysis clock outbound"),
    ("alerts", "api analysis clock outbound"),
    ("cluster", "api analysis rollout workload routing clock"),
    ("server", "api analysis rollout clock cluster"),
    ("controller", "api analysis rollout workload routing clock outbound metrics alerts cluster server"),
    ("sim", "api analysis rollout workload routing clock outbound metrics alerts cluster server controller"),
    ("cli", "api analysis rollout workload routing clock outbound metrics alerts cluster server controller sim"),
    ("main", "cli"),
];

/// Words that no pure room has.
const IMPURE_WORDS: [&str; 6] = ["async", "await", "tokio", "reqwest", "tracing", "rand"];
/// The parts of the standard library that reach outside.
const IMPURE_STD: [&str; 7] = ["env", "fs", "io", "net", "process", "thread", "time"];
/// The types in them that do not.
const PURE_STD: [&str; 4] = ["Duration", "IpAddr", "Ipv4Addr", "Ipv6Addr"];

/// The types and modules of `kube` that send requests.
const KUBE_REQUESTS: [&str; 6] = ["Api", "Client", "Config", "client", "config", "runtime"];
/// Files outside of `cluster` that may name `kube::Client`, to hand one on, and nothing else.
const CLIENT_CARRIERS: [&str; 2] = ["cli/controller.rs", "controller/run.rs"];
/// The file that runs kube's loop, and so may name its `runtime`.
const LOOP: &str = "controller/run.rs";

/// What of `reqwest` opens no connections.
const REQWEST_WORDS: [&str; 4] = ["Method", "StatusCode", "Url", "header"];

/// What may print: the command line, and the process's log.
const PRINTERS: [&str; 2] = ["cli", "main"];
const LOG: &str = "controller/logs.rs";
const PRINTING_MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["common", "helper", "helpers", "manager", "managers", "misc", "shared", "util", "utils"];

/// A function fits on a screen.
const FUNCTION_LINES: usize = 70;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Breach {
    pub rule: &'static str,
    pub place: String,
    pub what: String,
}

/// A line, and what is wrong on it.
type Finding = (usize, String);
type Rule = fn(&Source) -> Vec<Finding>;

const RULES: [(&str, Rule); 8] = [
    ("pure rooms do nothing but compute", purity),
    ("imports point one way", arrows),
    ("only cluster talks to Kubernetes", requests),
    ("only outbound sends HTTP to others", outbound),
    ("only clock.rs reads the clock", clock),
    ("only cli prints", printing),
    ("a module's name says what is inside", names),
    ("a function fits on a screen", function_length),
];

/// Everything that a file breaks.
pub fn check(file: &Source) -> Vec<Breach> {
    let breaches = RULES.into_iter().flat_map(|(rule, findings)| {
        let place = |line| format!("src/{}:{line}", file.path);
        findings(file).into_iter().map(move |(line, what)| Breach { rule, place: place(line), what })
    });
    breaches.collect()
}

/// The rooms that a map of the house leaves out. `mark` is how the map writes a room.
pub fn map_breaches(rooms: &[&str], map: &str, mark: impl Fn(&str) -> String) -> Vec<String> {
    rooms.iter().filter(|room| !map.contains(&mark(room))).map(|room| format!("{room} is not on the map")).collect()
}

fn purity(file: &Source) -> Vec<Finding> {
    if !PURE_ROOMS.contains(&file.room()) {
        return Vec::new();
    }
    let words = file.words().filter(|(_, word)| IMPURE_WORDS.contains(&word.as_str()));
    let paths = file.paths().into_iter().filter(|path| {
        let (first, second, last) = ends(path);
        (first == "std" && IMPURE_STD.contains(&second) && !PURE_STD.contains(&last))
            || sends_requests(path)
            || last == "now"
    });
    words.chain(paths.map(|path| written(&path))).collect()
}

fn arrows(file: &Source) -> Vec<Finding> {
    let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == file.room()) else {
        return if file.path == "lib.rs" { Vec::new() } else { vec![(1, "a room without arrows: add it".to_owned())] };
    };
    let imports = file.paths().into_iter().filter(|path| {
        let (first, room, _) = ends(path);
        matches!(first, "crate" | "serin") && room != file.room() && !allowed.split(' ').any(|allowed| allowed == room)
    });
    imports.map(|path| written(&path)).collect()
}

fn requests(file: &Source) -> Vec<Finding> {
    // The simulation is the other end of those requests.
    if matches!(file.room(), "cluster" | "sim") {
        return Vec::new();
    }
    let carries = CLIENT_CARRIERS.contains(&file.path.as_str());
    let is_allowed = |path: &NamePath| {
        (carries && path.segments == ["kube", "Client"])
            || (file.path == LOOP && path.segments.starts_with(&["kube".to_owned(), "runtime".to_owned()]))
    };
    file.paths()
        .into_iter()
        .filter(|path| sends_requests(path) && !is_allowed(path))
        .map(|path| written(&path))
        .collect()
}

fn outbound(file: &Source) -> Vec<Finding> {
    if file.room() == "outbound" {
        return Vec::new();
    }
    let connections = file.paths().into_iter().filter(|path| {
        let (first, second, _) = ends(path);
        first == "reqwest" && !REQWEST_WORDS.contains(&second)
    });
    connections.map(|path| written(&path)).collect()
}

fn clock(file: &Source) -> Vec<Finding> {
    if file.path == "clock.rs" {
        return Vec::new();
    }
    let paths = file.paths();
    // tokio's clock can be paused by a test; it is for time-outs.
    let has_tokio_instant = paths.iter().any(|path| path.segments.join("::") == "tokio::time::Instant");
    let readings = paths.into_iter().filter(|path| {
        let joined = path.segments.join("::");
        let is_reading = joined.ends_with("::now");
        let is_ours = joined.ends_with("clock::now");
        let is_tokio = joined.ends_with("time::Instant::now") && joined.starts_with("tokio")
            || (joined == "Instant::now" && has_tokio_instant);
        is_reading && !is_ours && !is_tokio
    });
    readings.map(|path| written(&path)).collect()
}

fn printing(file: &Source) -> Vec<Finding> {
    if PRINTERS.contains(&file.room()) || file.path == LOG {
        return Vec::new();
    }
    let macros = file.macros().into_iter().filter(|(_, name)| PRINTING_MACROS.contains(&name.as_str()));
    let streams = file.paths().into_iter().filter(|path| {
        let last = ends(path).2;
        path.segments.iter().any(|segment| segment == "io") && matches!(last, "stdout" | "stderr")
    });
    macros.chain(streams.map(|path| written(&path))).collect()
}

fn names(file: &Source) -> Vec<Finding> {
    let parts = file.path.trim_end_matches(".rs").split('/');
    parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| (1, part.to_owned())).collect()
}

fn function_length(file: &Source) -> Vec<Finding> {
    let long = file.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES);
    long.map(|function| (function.line, format!("{} has {} lines", function.name, function.lines))).collect()
}

fn sends_requests(path: &NamePath) -> bool {
    let (first, second, _) = ends(path);
    // `kube::api` has types for everybody, and `Api`.
    let third = path.segments.get(2).map_or("", String::as_str);
    match first {
        "kube" => KUBE_REQUESTS.contains(&second) || (second == "api" && third == "Api"),
        "kube_client" | "kube_runtime" => true,
        _ => false,
    }
}

/// The first, the second and the last segment.
fn ends(path: &NamePath) -> (&str, &str, &str) {
    let at = |index: usize| path.segments.get(index).map_or("", String::as_str);
    (at(0), at(1), at(path.segments.len() - 1))
}

fn written(path: &NamePath) -> Finding {
    (path.line, path.segments.join("::"))
}
