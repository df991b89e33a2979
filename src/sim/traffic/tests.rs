//! What is counted where, over changes of the load.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Counted, Place, Traffic};
use crate::sim::load::{Behaviour, Load};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn load(service: &str, pods: &[&str], requests_per_second: f64, error_share: f64) -> Load {
    Load {
        namespace: "default".into(),
        service: service.into(),
        port: 80,
        workload: "web".into(),
        ready_pods: pods.iter().map(ToString::to_string).collect(),
        requests_per_second,
        behaviour: Behaviour { version: "1".into(), error_share, latency_milliseconds: 20.0 },
    }
}

fn traffic() -> Traffic {
    Traffic::new(Duration::from_secs(3600))
}

fn assert_counted(traffic: &Traffic, seconds: i64, expected: (f64, f64, f64)) {
    let Counted { succeeded, failed, refused } = traffic.counted(at(seconds), "default", "web-canary", 80);
    let differences = [succeeded - expected.0, failed - expected.1, refused - expected.2];
    assert!(differences.iter().all(|difference| difference.abs() < 1e-6), "{succeeded} {failed} {refused}");
}

/// What this pod counted in its present life.
fn of_pod(traffic: &Traffic, pod: &str, seconds: i64) -> Option<f64> {
    let place = Place::Pod { namespace: "default".into(), pod: pod.into() };
    let life = traffic.places.get(&place)?.lives.last()?;
    let milliseconds = at(seconds).timestamp_millis();
    life.lives_at(milliseconds).then(|| life.flows.iter().map(|flow| flow.line.at(milliseconds)).sum())
}

#[test]
fn requests_succeed_fail_or_are_refused() {
    let mut traffic = traffic();
    traffic.set(at(0), &[load("web-canary", &["a"], 10.0, 0.25)]);
    assert_counted(&traffic, 10, (75.0, 25.0, 0.0));
    traffic.set(at(10), &[load("web-canary", &[], 10.0, 0.25)]);
    assert_counted(&traffic, 20, (75.0, 25.0, 100.0));
    traffic.set(at(20), &[load("web-canary", &["a"], 0.0, 0.25)]);
    assert_counted(&traffic, 30, (75.0, 25.0, 100.0));
    traffic.set(at(30), &[]);
    traffic.set(at(40), &[load("web-canary", &["a"], 1.0, 0.0)]);
    // What really happened is not lost when counters begin at zero.
    assert_counted(&traffic, 50, (85.0, 25.0, 100.0));
    assert_eq!(traffic.counted(at(50), "default", "web-primary", 80), Counted::default());
}

#[test]
fn nothing_that_really_happened_is_forgotten() {
    let mut traffic = traffic();
    for hour in 0..48 {
        traffic.set(at(hour * 3600), &[load("web-canary", &["a"], if hour % 2 == 0 { 1.0 } else { 2.0 }, 0.0)]);
        traffic.restart_gateway(at(hour * 3600 + 1));
    }
    assert_counted(&traffic, 48 * 3600, (24.0 * 3600.0 * 3.0, 0.0, 0.0));
    let kept: usize = traffic.places.values().map(|counters| counters.lives.len()).sum();
    assert!(kept < 8, "{kept} lives are kept");
}

#[test]
fn pods_share_the_requests_of_all_their_services() {
    let mut traffic = traffic();
    traffic.set(at(0), &[load("web", &["a", "b"], 4.0, 0.0), load("web-primary", &["a"], 3.0, 0.0)]);
    assert_eq!(of_pod(&traffic, "a", 10), Some(50.0));
    assert_eq!(of_pod(&traffic, "b", 10), Some(20.0));
}

#[test]
fn counters_begin_at_zero_after_a_restart_and_end_with_the_pod() {
    let mut traffic = traffic();
    let two = [load("web", &["a", "b"], 4.0, 0.0)];
    traffic.set(at(0), &two);
    traffic.restart_pod(at(10), "default", "a");
    assert_eq!(of_pod(&traffic, "a", 12), Some(4.0));
    assert_eq!(of_pod(&traffic, "b", 12), Some(24.0));
    traffic.set(at(20), &[load("web", &["b"], 4.0, 0.0)]);
    assert_eq!(of_pod(&traffic, "a", 20), None);
    assert_eq!(of_pod(&traffic, "b", 22), Some(48.0));
    traffic.set(at(30), &two);
    assert_eq!(of_pod(&traffic, "a", 31), Some(2.0));
}

#[test]
fn loads_that_make_no_sense_count_as_none() {
    let mut traffic = traffic();
    for requests_per_second in [f64::NAN, f64::INFINITY, -1.0] {
        traffic.set(at(0), &[load("web-canary", &["a"], requests_per_second, 0.0)]);
        assert_counted(&traffic, 10, (0.0, 0.0, 0.0));
    }
    traffic.set(at(10), &[load("web-canary", &["a"], 1.0, 7.0)]);
    assert_counted(&traffic, 20, (0.0, 10.0, 0.0));
    // The clock went back: time did not.
    traffic.set(at(5), &[load("web-canary", &["a"], 2.0, 0.0)]);
    assert_counted(&traffic, 20, (20.0, 0.0, 0.0));
}
