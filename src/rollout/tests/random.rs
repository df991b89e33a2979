//! Random worlds with random faults keep every promise, and settle once the faults stop.

use proptest::prelude::{
    BoxedStrategy, Just, ProptestConfig, Strategy as _, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::test_runner::RngSeed;

use super::canaries::{blue_green, weighted};
use super::world::{Build, Conditions, Metrics, World, image};
use crate::api::checked::{Check, OnError, OnNoData, Strategy, ValidatedCanary};
use crate::api::status::Phase;

/// What may happen at any time.
#[derive(Clone, Debug)]
enum Happening {
    TimePasses(i64),
    Applied(Build),
    Metrics(Metrics),
    CrashAfter(usize),
    PodsLost(Option<i64>),
    PodsSlow(Option<i64>),
    PrimaryLost(Option<i64>),
    PrimarySlow(Option<i64>),
    PrimaryRecreates(bool),
    PrimaryDeleted,
    DataPlane(Option<i64>),
    RouteEdited(i32),
    RouteDeleted,
    CacheStops,
    CacheGoesOn,
    Suspended(bool),
    Skipping(bool),
    Planned(Vec<i32>, i32),
    Interval(i64),
    Threshold(i32),
    Obstacle(bool),
    Invalid(bool),
    TargetDeleted,
}

fn build() -> BoxedStrategy<Build> {
    (1..4_u32, 1..3_u32).prop_map(|(image, config)| Build { image, config }).boxed()
}

fn delay() -> BoxedStrategy<Option<i64>> {
    prop_oneof![4 => (0..20_i64).prop_map(Some), 1 => Just(Some(90)), 1 => Just(None)].boxed()
}

fn metrics() -> BoxedStrategy<Metrics> {
    prop_oneof![Just(Metrics::Good), Just(Metrics::Bad), Just(Metrics::Empty), Just(Metrics::Down)].boxed()
}

fn plan() -> BoxedStrategy<Vec<i32>> {
    proptest::collection::btree_set(1..=100_i32, 1..5).prop_map(|weights| weights.into_iter().collect()).boxed()
}

fn happening() -> BoxedStrategy<Happening> {
    use Happening as H;
    prop_oneof![
        8 => (1..40_i64).prop_map(H::TimePasses),
        4 => build().prop_map(H::Applied),
        2 => metrics().prop_map(H::Metrics),
        4 => (0..6_usize).prop_map(H::CrashAfter),
        1 => delay().prop_map(H::PodsLost),
        1 => delay().prop_map(H::PodsSlow),
        1 => delay().prop_map(H::PrimaryLost),
        1 => delay().prop_map(H::PrimarySlow),
        1 => any::<bool>().prop_map(H::PrimaryRecreates),
        1 => Just(H::PrimaryDeleted),
        1 => delay().prop_map(H::DataPlane),
        1 => (0..=100_i32).prop_map(H::RouteEdited),
        1 => Just(H::RouteDeleted),
        1 => Just(H::CacheStops),
        1 => Just(H::CacheGoesOn),
        1 => any::<bool>().prop_map(H::Suspended),
        1 => any::<bool>().prop_map(H::Skipping),
        1 => (plan(), 0..60_i32).prop_map(|(steps, promotion)| H::Planned(steps, promotion)),
        1 => (1..30_i64).prop_map(H::Interval),
        1 => (1..5_i32).prop_map(H::Threshold),
        1 => any::<bool>().prop_map(H::Obstacle),
        1 => any::<bool>().prop_map(H::Invalid),
        1 => Just(H::TargetDeleted),
    ]
    .boxed()
}

fn check() -> BoxedStrategy<Check> {
    let no_data = prop_oneof![Just(OnNoData::Fail), Just(OnNoData::Hold), Just(OnNoData::Pass)];
    let error = prop_oneof![3 => Just(OnError::Hold), 1 => Just(OnError::Fail)];
    (no_data, error, proptest::bool::weighted(0.2))
        .prop_map(|(on_no_data, on_error, dry_run)| Check {
            on_no_data,
            on_error,
            dry_run,
            ..weighted(&[]).analysis.checks.remove(0)
        })
        .boxed()
}

fn canary() -> BoxedStrategy<ValidatedCanary> {
    let strategy = prop_oneof![
        3 => (plan(), 0..60_i32).prop_map(|(steps, promotion_step)| {
            let mut canary = weighted(&[]);
            canary.analysis.strategy = Strategy::Weighted { steps, promotion_step };
            canary
        }),
        1 => (1..4_i32).prop_map(blue_green),
    ];
    (strategy, proptest::collection::vec(check(), 0..3))
        .prop_map(|(mut canary, checks)| {
            canary.analysis.checks = checks;
            for (index, check) in canary.analysis.checks.iter_mut().enumerate() {
                check.name = format!("check-{index}");
            }
            canary
        })
        .boxed()
}

/// How a world begins.
#[derive(Clone, Debug)]
enum Start {
    New,
    Initialized,
    Adopted(Phase, i32, Build),
}

fn start() -> BoxedStrategy<Start> {
    let phases = proptest::sample::select(vec![
        Phase::New,
        Phase::Initializing,
        Phase::Initialized,
        Phase::Waiting,
        Phase::Progressing,
        Phase::WaitingPromotion,
        Phase::Promoting,
        Phase::Finalising,
        Phase::Succeeded,
        Phase::Failed,
    ]);
    let adopted =
        (phases, 0..=100_i32, build()).prop_map(|(phase, weight, primary)| Start::Adopted(phase, weight, primary));
    prop_oneof![1 => Just(Start::New), 6 => Just(Start::Initialized), 3 => adopted].boxed()
}

fn begin(start: &Start, canary: ValidatedCanary) -> World {
    match *start {
        Start::New => World::new(canary, image(1)),
        Start::Initialized => World::initialized(canary, image(1)),
        Start::Adopted(phase, weight, primary) => {
            // A first primary is made with the configuration that is there.
            let first = matches!(phase, Phase::New | Phase::Initializing);
            let config = if first { 1 } else { primary.config };
            let mut world = World::adopted(canary, phase, weight, image(1), Build { config, ..primary });
            world.run_seconds(0);
            world
        }
    }
}

fn happens(world: &mut World, happening: Happening) {
    use Happening as H;
    match happening {
        H::TimePasses(seconds) => world.run_seconds(seconds),
        H::Applied(build) => world.apply(build),
        H::Metrics(metrics) => world.conditions.metrics = metrics,
        H::CrashAfter(writes) => world.conditions.crash_after = Some(writes),
        H::PodsLost(back_after) => world.lose_pods(back_after),
        H::PodsSlow(after) => world.conditions.pods_ready_after = after,
        H::PrimaryLost(back_after) => world.break_primary(back_after),
        H::PrimarySlow(after) => world.conditions.primary_ready_after = after,
        H::PrimaryRecreates(recreates) => world.conditions.primary_recreates = recreates,
        H::PrimaryDeleted => world.primary = None,
        H::DataPlane(after) => world.conditions.route_applied_after = after,
        H::RouteEdited(weight) => world.edit_route(weight),
        H::RouteDeleted => world.route = None,
        H::CacheStops => world.freeze_target(),
        H::CacheGoesOn => world.stale_target = None,
        H::Suspended(suspended) => world.edit(|canary| canary.suspended = suspended),
        H::Skipping(skips) => world.edit(|canary| canary.skip_analysis = skips),
        H::Planned(steps, promotion_step) => world.edit(|canary| {
            if matches!(canary.analysis.strategy, Strategy::Weighted { .. }) {
                canary.analysis.strategy = Strategy::Weighted { steps, promotion_step };
            }
        }),
        H::Interval(seconds) => world.edit(|canary| canary.analysis.interval_seconds = seconds),
        H::Threshold(checks) => world.edit(|canary| canary.analysis.threshold = checks),
        H::Obstacle(present) => world.conditions.obstacle = present.then(|| "ConfigMap app is gone".to_owned()),
        H::Invalid(invalid) => world.conditions.invalid = invalid.then(|| "spec.service.port: 0 is no port".to_owned()),
        H::TargetDeleted => world.target = None,
    }
}

/// Everything works again, and people mended what only they can mend.
fn faults_stop(world: &mut World) {
    world.stale_target = None;
    world.conditions = Conditions { metrics: world.conditions.metrics, ..Conditions::default() };
    world.edit(|canary| canary.suspended = false);
    if world.target.is_none() {
        world.apply(image(1));
    }
    world.lose_pods(Some(2));
    world.break_primary(Some(2));
    if let Some(route) = &mut world.route {
        route.applied_at = Some(world.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        // The same worlds each time: a change is judged by what it changes. Other seeds: PROPTEST_RNG_SEED=N.
        rng_seed: match ProptestConfig::default().rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            given @ RngSeed::Fixed(_) => given,
        },
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_promise_is_kept(
        start in start(),
        canary in canary(),
        happenings in proptest::collection::vec(happening(), 1..40),
        deleted in proptest::bool::weighted(0.1),
    ) {
        let mut world = begin(&start, canary);
        for happening in happenings {
            happens(&mut world, happening);
        }
        if deleted {
            world.edit(|canary| (canary.deleting, canary.has_finalizer) = (true, true));
        }
        faults_stop(&mut world);
        world.settle();
        prop_assert_eq!(&world.promises.broken, &[]);
        prop_assert!(!deleted || (world.gone && world.reverted));
    }
}
