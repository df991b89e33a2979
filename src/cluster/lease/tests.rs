use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn held(resource_version: u64, holder: &str, duration_seconds: u64) -> LeaseView {
    LeaseView {
        resource_version: resource_version.to_string(),
        holder: holder.to_owned(),
        duration: Duration::from_secs(duration_seconds),
    }
}

#[test]
fn a_lease_is_taken_when_it_is_free_and_renewed_when_it_is_ours() {
    let start = Instant::now();
    let wait = |seconds| Step::Wait { until: start + Duration::from_secs(seconds) };
    // What is there; what was seen before (version, anybody else seen); seconds since it was seen first.
    let table = [
        ("absent", None, (None, false), 0, Step::Create),
        ("absent after we had it", None, (Some(4), false), 0, Step::Create),
        ("deleted under another", None, (None, true), 14, wait(15)),
        ("deleted under another long ago", None, (None, true), 15, Step::Create),
        ("ours", Some(held(5, "me", 15)), (Some(5), false), 1, Step::Renew),
        ("ours, by an answer that got lost", Some(held(5, "me", 15)), (None, true), 0, Step::Renew),
        ("released", Some(held(5, "", 15)), (Some(5), true), 0, Step::TakeOver),
        ("another's, seen first", Some(held(5, "she", 15)), (None, false), 0, wait(15)),
        ("another's, fresh", Some(held(5, "she", 15)), (Some(5), true), 14, wait(15)),
        ("another's, stale", Some(held(5, "she", 15)), (Some(5), true), 15, Step::TakeOver),
        ("another's with a longer duration", Some(held(5, "she", 60)), (Some(5), true), 59, wait(60)),
        ("another's with a longer duration, stale", Some(held(5, "she", 60)), (Some(5), true), 60, Step::TakeOver),
        ("another's with a shorter duration", Some(held(5, "she", 1)), (Some(5), true), 14, wait(15)),
        ("another's without a duration", Some(held(5, "she", 0)), (Some(5), true), 15, Step::TakeOver),
        ("another's with a senseless duration", Some(held(5, "she", 1 << 40)), (Some(5), true), 3600, Step::TakeOver),
    ];
    for (name, lease, (version, other_seen), seconds, expected) in table {
        let resource_version = version.map(|version: u64| version.to_string());
        let mut observed = Observation { resource_version, since: start, other_seen };
        let now = start + Duration::from_secs(seconds);
        observed.see(lease.as_ref(), "me", now);
        assert_eq!(evaluate(lease.as_ref(), "me", &observed, 15 * SECOND, now), expected, "{name}");
    }
}

#[test]
fn a_change_counts_from_when_we_saw_it_whatever_the_holder_wrote() {
    let start = Instant::now();
    let mut candidate = Candidate::new("me".to_owned(), Timing::default(), start);
    let look = |candidate: &mut Candidate, version, seconds| {
        candidate.step(Some(&held(version, "she", 15)), start + Duration::from_secs(seconds))
    };
    let wait = |seconds| Step::Wait { until: start + Duration::from_secs(seconds) };
    assert_eq!(look(&mut candidate, 1, 0), wait(15));
    assert_eq!(look(&mut candidate, 1, 14), wait(15));
    assert_eq!(look(&mut candidate, 2, 16), wait(31), "renewed meanwhile");
    assert_eq!(look(&mut candidate, 2, 31), Step::TakeOver);
}

#[test]
fn a_claim_counts_transitions_and_keeps_what_others_wrote() {
    let time = |second| DateTime::from_timestamp(second, 0).unwrap();
    let json = |lease: &Lease| serde_json::to_value(lease).unwrap();
    let first = claim(None, Step::Create, "she", Timing::default(), time(0));
    assert_eq!(
        json(&first)["spec"],
        json!({"holderIdentity": "she", "leaseDurationSeconds": 15, "leaseTransitions": 0,
               "acquireTime": "1970-01-01T00:00:00.000000Z", "renewTime": "1970-01-01T00:00:00.000000Z"})
    );
    let mut stored = first;
    stored.metadata.resource_version = Some("7".to_owned());
    stored.metadata.labels = Some([("team".to_owned(), "web".to_owned())].into());
    let renewed = claim(Some(stored), Step::Renew, "she", Timing::default(), time(2));
    assert_eq!(
        json(&renewed)["metadata"],
        json!({"name": LEASE_NAME, "resourceVersion": "7", "labels": {"team": "web"}})
    );
    assert_eq!(json(&renewed)["spec"]["acquireTime"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(json(&renewed)["spec"]["renewTime"], "1970-01-01T00:00:02.000000Z");
    let taken = claim(Some(renewed), Step::TakeOver, "me", Timing::default(), time(20));
    assert_eq!(
        json(&taken)["spec"],
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 1,
               "acquireTime": "1970-01-01T00:00:20.000000Z", "renewTime": "1970-01-01T00:00:20.000000Z"})
    );
}

#[test]
fn every_process_has_an_identity_of_its_own() {
    assert_ne!(identity("serin-0"), identity("serin-0"));
    assert!(identity("serin-0").starts_with("serin-0_"));
}

/// What one of the candidates does next. Every request takes effect, and is answered, at moments of their own.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Time goes on for everybody.
    Pass(u64),
    /// The candidate reads and decides; a write that follows is sent and stays on its way.
    Look(usize),
    /// The candidate's write reaches the server.
    Arrive(usize),
    /// The candidate gets the answer to its write.
    Learn(usize),
    /// The answer gets lost.
    Forget(usize),
    /// Somebody deletes the Lease, once.
    Delete,
    /// The leader has finished and gives the Lease back.
    Release(usize),
}

/// A write on its way.
struct Sent {
    holder: String,
    from_version: Option<String>,
    time: Instant,
    accepted: Option<bool>,
}

struct World {
    now: Instant,
    lease: Option<LeaseView>,
    version: u64,
    candidates: Vec<Option<Candidate>>,
    writes: HashMap<usize, Sent>,
    /// Whether a process that ended comes back, under a new name and knowing nothing.
    restarts: Option<usize>,
    deletable: bool,
}

impl World {
    fn new(count: usize, timing: Timing) -> Self {
        let now = Instant::now();
        let candidates = (0..count).map(|n| Some(Candidate::new(n.to_string(), timing, now))).collect();
        Self { now, lease: None, version: 0, candidates, writes: HashMap::new(), restarts: None, deletable: true }
    }

    fn put(&mut self, holder: &str) {
        self.version += 1;
        self.lease = Some(held(self.version, holder, 15));
    }

    fn end(&mut self, n: usize) {
        self.candidates[n] = self.restarts.as_mut().map(|restarts| {
            *restarts += 1;
            Candidate::new(format!("{n}, restart {restarts}"), Timing::default(), self.now)
        });
    }

    fn act(&mut self, act: Move) {
        match act {
            Move::Pass(seconds) => self.now += Duration::from_secs(seconds),
            Move::Delete if self.deletable => {
                self.deletable = false;
                self.lease = None;
            }
            Move::Delete => {}
            Move::Look(n) => self.look(n),
            Move::Arrive(n) => {
                let current = self.lease.as_ref().map(|lease| lease.resource_version.clone());
                let Some(sent @ Sent { accepted: None, .. }) = self.writes.get_mut(&n) else { return };
                let accepted = sent.from_version == current;
                sent.accepted = Some(accepted);
                if accepted {
                    let holder = sent.holder.clone();
                    self.put(&holder);
                }
            }
            Move::Learn(n) => {
                let Some(Sent { accepted: Some(_), .. }) = self.writes.get(&n) else { return };
                let Some(sent) = self.writes.remove(&n) else { return };
                if let Some(candidate) = &mut self.candidates[n]
                    && candidate.me == sent.holder
                    && sent.accepted == Some(true)
                {
                    candidate.wrote(sent.time);
                }
            }
            Move::Forget(n) => drop(self.writes.remove(&n)),
            Move::Release(n) => self.release(n),
        }
    }

    fn look(&mut self, n: usize) {
        let Some(candidate) = &mut self.candidates[n] else { return };
        if self.writes.contains_key(&n) {
            return;
        }
        if candidate.is_overdue(self.now) {
            return self.end(n);
        }
        match candidate.step(self.lease.as_ref(), self.now) {
            Step::Wait { .. } if candidate.until.is_some() => self.end(n),
            Step::Wait { .. } => {}
            _ => {
                let from_version = self.lease.as_ref().map(|lease| lease.resource_version.clone());
                let sent = Sent { holder: candidate.me.clone(), from_version, time: self.now, accepted: None };
                self.writes.insert(n, sent);
            }
        }
    }

    fn release(&mut self, n: usize) {
        let Some(candidate) = &self.candidates[n] else { return };
        let me = candidate.me.clone();
        if candidate.until.is_some() && !self.writes.contains_key(&n) {
            if self.lease.as_ref().is_some_and(|lease| lease.holder == me) {
                self.put("");
            }
            self.end(n);
        }
    }

    fn leaders(&self) -> Vec<&str> {
        let leads = |candidate: &&Candidate| candidate.until.is_some_and(|until| self.now < until);
        self.candidates.iter().flatten().filter(leads).map(|candidate| candidate.me.as_str()).collect()
    }
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0u64..8).prop_map(Move::Pass),
        8 => (0usize..3).prop_map(Move::Look),
        6 => (0usize..3).prop_map(Move::Arrive),
        6 => (0usize..3).prop_map(Move::Learn),
        1 => (0usize..3).prop_map(Move::Forget),
        1 => (0usize..3).prop_map(Move::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn there_never_are_two_leaders(moves in prop::collection::vec(any_move(), 1..150)) {
        let mut world = World { restarts: Some(0), ..World::new(3, Timing::default()) };
        for act in moves {
            world.act(act);
            prop_assert!(world.leaders().len() <= 1, "{:?} lead after {act:?}", world.leaders());
        }
    }

    #[test]
    fn a_lease_that_is_deleted_makes_no_second_leader_among_those_who_knew_it(
        moves in prop::collection::vec(prop_oneof![20 => any_move(), 1 => Just(Move::Delete)], 1..150),
    ) {
        let mut world = World::new(3, Timing::default());
        for act in [Move::Look(0), Move::Arrive(0), Move::Learn(0), Move::Look(1), Move::Look(2)] {
            world.act(act);
        }
        for act in moves {
            world.act(act);
            prop_assert!(world.leaders().len() <= 1, "{:?} lead after {act:?}", world.leaders());
        }
    }
}

/// The world above can show two leaders: it does as soon as a leader trusts itself for longer than the others wait.
#[test]
fn a_leader_that_trusted_itself_for_too_long_would_be_found_out() {
    let careless = Timing { renew_deadline: 60 * SECOND, ..Timing::default() };
    let mut world = World::new(2, careless);
    let take = |n| [Move::Look(n), Move::Arrive(n), Move::Learn(n)];
    for act in take(0).into_iter().chain([Move::Look(1), Move::Pass(15)]).chain(take(1)) {
        world.act(act);
    }
    assert_eq!(world.leaders(), ["0", "1"]);
}

/// An API server with room for one Lease, which can be cut off.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    requests: Arc<Mutex<Vec<Method>>>,
}

impl Server {
    fn answer(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        self.requests.lock().unwrap().push(method.clone());
        let mut lease = self.lease.lock().unwrap();
        let version = lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let failure =
            |code, reason| (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason}));
        let mut store = || {
            let mut new: Value = serde_json::from_slice(body).unwrap();
            let next = version.as_ref().map_or(0, |version| version.as_str().unwrap().parse::<u64>().unwrap()) + 1;
            new["metadata"]["resourceVersion"] = json!(next.to_string());
            *lease = Some(new.clone());
            (200, new)
        };
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method.as_str(), &version) {
            ("GET" | "PUT", None) => failure(404, "NotFound"),
            ("GET", Some(_)) => (200, lease.clone().unwrap()),
            ("POST", None) => store(),
            ("PUT", Some(version)) if sent["metadata"]["resourceVersion"] == *version => store(),
            _ => failure(409, "Conflict"),
        }
    }

    /// A client that gets no answers while the switch says so.
    fn client(&self, cut_off: watch::Receiver<bool>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, mut cut_off) = (server.clone(), cut_off.clone());
            async move {
                cut_off.wait_for(|cut_off| !cut_off).await.map_err(tower::BoxError::from)?;
                let (parts, body) = request.into_parts();
                let (status, body) = server.answer(&parts.method, &body.collect_bytes().await?);
                let body = Body::from(serde_json::to_vec(&body).unwrap());
                Ok::<_, tower::BoxError>(Response::builder().status(status).body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }
}

struct Process {
    leadership: watch::Receiver<Leadership>,
    cut_off: watch::Sender<bool>,
    stop: CancellationToken,
    end: tokio::task::JoinHandle<Result<(), LeaseError>>,
}

fn start(server: &Server, name: &str) -> Process {
    let (cut_off, switch) = watch::channel(false);
    let (sender, leadership) = watch::channel(Leadership::Unknown { reason: String::new() });
    let stop = CancellationToken::new();
    let elector = Elector::new(server.client(switch), "serin", name.to_owned(), Timing::default(), sender);
    let end = tokio::spawn(elector.run(stop.clone()));
    Process { leadership, cut_off, stop, end }
}

impl Process {
    fn leads(&self) -> bool {
        self.leadership.borrow().is_leader_now()
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_process_leads_soon_after_the_first_one_leaves() {
    let server = Server::default();
    let first = start(&server, "first");
    tokio::time::sleep(SECOND).await;
    let second = start(&server, "second");
    tokio::time::sleep(60 * SECOND).await;
    assert!(first.leads() && !second.leads());
    assert!(matches!(&*second.leadership.borrow(), Leadership::Standby { holder } if holder == "first"));
    first.stop.cancel();
    first.end.await.unwrap().unwrap();
    assert!(!matches!(&*first.leadership.borrow(), leadership if leadership.is_leader_now()));
    tokio::time::sleep(3 * SECOND).await;
    assert!(second.leads());
    assert_eq!(server.lease.lock().unwrap().as_ref().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_the_next_one_starts() {
    let server = Server::default();
    let first = start(&server, "first");
    tokio::time::sleep(SECOND).await;
    let second = start(&server, "second");
    tokio::time::sleep(20 * SECOND).await;
    first.cut_off.send_replace(true);
    let mut seconds_without_leader = 0.0;
    while !second.leads() {
        tokio::time::sleep(SECOND / 10).await;
        assert!(!(first.leads() && second.leads()));
        seconds_without_leader += if first.leads() { 0.0 } else { 0.1 };
    }
    assert!((3.0..9.0).contains(&seconds_without_leader), "{seconds_without_leader}");
    let lost = first.end.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        lost,
        "lost leadership: the Lease serin-leader-election was not renewed within 10 s (no answer in time); check that \
         the API server answers, then let the process restart"
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_ends() {
    let server = Server::default();
    let first = start(&server, "first");
    tokio::time::sleep(5 * SECOND).await;
    {
        let mut lease = server.lease.lock().unwrap();
        let lease = lease.as_mut().unwrap();
        lease["metadata"]["resourceVersion"] = json!("1000");
        lease["spec"]["holderIdentity"] = json!("thief");
    }
    let lost = first.end.await.unwrap().unwrap_err().to_string();
    assert_eq!(lost, "lost leadership: the Lease serin-leader-election is held by thief now");
    assert!(!first.leadership.borrow().is_leader_now());
}

#[tokio::test(start_paused = true)]
async fn a_leader_renews_with_one_request() {
    let server = Server::default();
    let leader = start(&server, "only");
    tokio::time::sleep(20 * SECOND + SECOND / 2).await;
    assert!(leader.leads());
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!(requests[..2], [Method::GET, Method::POST]);
    assert_eq!(requests[2..], vec![Method::PUT; 10]);
}

#[tokio::test]
async fn without_election_one_always_leads() {
    assert!(Leadership::uncontested().is_leader_now());
}
