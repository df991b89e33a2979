//! Plans from seeds.

use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

use super::plan::{Begins, Checks, Crash, Edit, Happening, Outage, Plan, Quality, Shape, Side, Strategy, What};
use crate::api::checked::{OnError, OnNoData};

/// Most happenings of a world, beside the first release.
const HAPPENINGS_MAX: usize = 5;
/// The time in which they begin, from the moment the world is set up.
const SPAN_MILLISECONDS: u64 = 60_000;
/// One in so many worlds gets a last good release: it costs as much as two thirds of a world, and rarely shows what the
/// world did not.
const LAST_RELEASE_ONE_IN: u32 = 32;

impl Plan {
    /// So many seeds in a row make worlds of one shape. The first begins empty, all others with a Canary that is
    /// initialized: making one is half of the work, and what happens in between is all the same.
    pub const FAMILY: u64 = 32;

    /// The plan of a seed: always the same.
    pub fn generate(seed: u64) -> Self {
        let shape = Chance(Rng::with_seed(!(seed / Self::FAMILY))).shape();
        let begins = if seed.is_multiple_of(Self::FAMILY) { Begins::Empty } else { Begins::Initialized };
        let mut chance = Chance(Rng::with_seed(seed));
        let ends_with_release = chance.one_in(LAST_RELEASE_ONE_IN);
        let mut happenings = vec![chance.happening(3_000, |chance| chance.release(2..=4))];
        for _ in 0..chance.few(HAPPENINGS_MAX) {
            let happening = chance.happening(SPAN_MILLISECONDS, Chance::what);
            happenings.extend(chance.companion(&happening));
            happenings.push(happening);
        }
        happenings.sort_by_key(|happening| happening.at);
        Self { seed, begins, shape, happenings, ends_with_release }
    }
}

struct Chance(Rng);

impl Chance {
    fn one_in(&mut self, count: u32) -> bool {
        self.0.u32(0..count) == 0
    }

    /// From 1 to so many, most often few: what happens costs time, and most defects need little to happen.
    fn few(&mut self, most: usize) -> usize {
        self.0.usize(1..=most).min(self.0.usize(1..=most))
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(0..choices.len())].clone()
    }

    fn seconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.0.u64(from * 1000..=to * 1000))
    }

    fn happening(&mut self, within_milliseconds: u64, what: impl FnOnce(&mut Self) -> What) -> Happening {
        let at = Duration::from_millis(self.0.u64(0..within_milliseconds));
        Happening { at, what: what(self) }
    }

    /// What makes a fault matter that would hardly ever be met by chance: of Services, little is written.
    fn companion(&mut self, happening: &Happening) -> Option<Happening> {
        let What::ServicesRefused(lasts) = &happening.what else { return None };
        let later = self.0.u64(0..=u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        Some(Happening { at: happening.at + Duration::from_millis(later), what: What::EditService })
    }

    fn shape(&mut self) -> Shape {
        Shape {
            strategy: self.strategy(),
            interval_seconds: self.0.u32(5..=10),
            threshold: self.0.u32(1..=3),
            deadline_seconds: self.pick(&[20, 40, 60]),
            hold_timeout_seconds: self.pick(&[15, 30, 60]),
            checks: Checks {
                on_no_data: self.pick(&[OnNoData::Fail, OnNoData::Fail, OnNoData::Hold, OnNoData::Pass]),
                on_error: self.pick(&[OnError::Hold, OnError::Hold, OnError::Hold, OnError::Fail]),
                has_template: self.one_in(4),
            },
            has_config: self.one_in(3),
            has_autoscaler: self.one_in(6),
            reverts_on_deletion: self.one_in(4),
            skips_analysis: self.one_in(20),
            has_gitops: self.one_in(6),
            elects_leader: self.one_in(14),
            has_broken_neighbour: self.one_in(20),
            pods_ready_after: self.seconds(0, 4),
            route_accepted_after: self.seconds(0, 2),
        }
    }

    fn strategy(&mut self) -> Strategy {
        match self.0.u32(0..10) {
            0 => Strategy::RoutedIterations(self.0.u32(1..=3)),
            1 => Strategy::Iterations(self.0.u32(1..=3)),
            _ => Strategy::Weights(self.weights(), self.pick(&[0, 0, 0, 50])),
        }
    }

    fn weights(&mut self) -> Vec<u32> {
        self.pick(&[vec![50], vec![20, 60], vec![10, 50, 100], vec![1, 99], vec![100], vec![30, 60]])
    }

    /// One of these images: the world begins with the first, and may go back to it.
    fn release(&mut self, images: RangeInclusive<u32>) -> What {
        let quality = self.pick(&[
            Quality::Good,
            Quality::Good,
            Quality::Good,
            Quality::Failing,
            Quality::Failing,
            Quality::Slow,
            Quality::NeverReady,
            Quality::Crashing,
        ]);
        What::Release(self.0.u32(images), quality)
    }

    fn what(&mut self) -> What {
        match self.0.u32(0..100) {
            0..=10 => self.release(1..=4),
            11..=14 => What::Configure(self.0.u32(1..=3)),
            15..=23 => What::Edit(self.edit()),
            24..=38 => self.by_hand(),
            39..=43 => self.crashing_pods(),
            44..=54 => What::Prometheus(self.metrics_outage(), self.seconds(2, 60)),
            55..=56 => What::Receivers(self.receivers_outage(), self.seconds(2, 60)),
            57..=59 => What::GatewayStops(self.seconds(2, 50)),
            60..=61 => What::ControllerManagerStops(self.seconds(2, 30)),
            62..=70 => self.api_fault(),
            71..=77 => self.watch_fault(),
            _ => self.process_fault(),
        }
    }

    fn edit(&mut self) -> Edit {
        match self.0.u32(0..8) {
            0 => Edit::Interval(self.0.u32(5..=10)),
            1 => Edit::Threshold(self.0.u32(1..=3)),
            2 | 3 => Edit::Weights(self.weights()),
            4 => Edit::SkipAnalysis(self.0.bool()),
            5 | 6 => Edit::Suspend(self.0.bool()),
            _ => Edit::Unusable(self.0.bool()),
        }
    }

    fn by_hand(&mut self) -> What {
        match self.0.u32(0..9) {
            0 => What::DeleteCanary(self.seconds(0, 20)),
            1 => What::DeleteTarget(self.seconds(0, 20)),
            2 | 3 => What::EditRoute(self.0.u32(0..=100)),
            4 => What::DeleteRoute,
            5 | 6 => What::DeletePrimary,
            7 => What::EditService,
            _ => What::ScaleTarget(self.0.u32(0..=3)),
        }
    }

    fn crashing_pods(&mut self) -> What {
        let side = self.pick(&[Side::Canary, Side::Primary]);
        let back = if self.one_in(4) { self.seconds(60, 120) } else { self.seconds(1, 30) };
        What::CrashPods(side, Some(back))
    }

    fn metrics_outage(&mut self) -> Outage {
        // Neither as long as the controller waits, nor longer by a hair: who comes first at the same time is chance.
        let slow = Outage::Slow(self.pick(&[1, 2, 4, 6, 8]));
        self.pick(&[
            Outage::Refused,
            Outage::Hangs,
            slow,
            Outage::Status(503),
            Outage::Status(422),
            Outage::Page,
            Outage::Empty,
            Outage::NotANumber,
            Outage::TwoSeries,
            Outage::Partial,
            Outage::Unscraped,
        ])
    }

    fn receivers_outage(&mut self) -> Outage {
        self.pick(&[Outage::Refused, Outage::Hangs, Outage::Slow(4), Outage::Status(500), Outage::Status(404)])
    }

    fn api_fault(&mut self) -> What {
        let (share, time) = (self.pick(&[1, 2, 5]), self.seconds(1, 20));
        match self.0.u32(0..7) {
            0 | 1 => What::ApiAnswers(self.pick(&[409, 410, 429, 500, 503, 504]), share, time),
            2 => What::ApiBreaks(share, time),
            3 => What::ApiLosesAnswers(share, time),
            4 => What::ServicesRefused(time),
            _ => What::ApiSlow(self.seconds(0, 12), time),
        }
    }

    fn watch_fault(&mut self) -> What {
        let time = self.seconds(1, 30);
        match self.0.u32(0..6) {
            0..=2 => What::WatchesLag(self.seconds(0, 10), time),
            3 => What::WatchesLose(time),
            4 => What::WatchesRepeat(time),
            _ => What::Compaction,
        }
    }

    fn process_fault(&mut self) -> What {
        match self.0.u32(0..20) {
            0..=10 => {
                What::CrashAtWrite(self.0.u32(1..=20), self.pick(&[Crash::Before, Crash::Unanswered, Crash::After]))
            }
            11..=13 => What::LateWrite(self.0.u32(1..=20), self.seconds(11, 60)),
            14 | 15 => What::Freeze(self.seconds(1, 40)),
            16 => What::StealLease(self.seconds(1, 30)),
            17 => What::ClockJumps(self.pick(&[-3600, -30, -5, 5, 30, 3600])),
            _ => What::Kill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_plan_and_another_one_another() {
        assert_eq!(Plan::generate(7), Plan::generate(7));
        let plans: Vec<Plan> = (0..50).map(Plan::generate).collect();
        assert!(plans.windows(2).all(|pair| pair[0].happenings != pair[1].happenings));
    }
}
