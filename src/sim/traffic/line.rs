//! A counter that grows evenly between changes, so that it costs nothing while time passes.

use std::collections::VecDeque;

/// Most changes that one counter remembers; older ones are forgotten first.
const POINTS_MAX: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Point {
    at_milliseconds: i64,
    /// What was counted until then.
    count: f64,
    /// What is counted from then on.
    per_millisecond: f64,
}

/// A cumulative count as a piecewise linear function of time.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Line {
    points: VecDeque<Point>,
}

impl Line {
    /// From `at_milliseconds` on, the count grows by `per_second`. Times must not decrease.
    pub(in crate::sim) fn set(&mut self, at_milliseconds: i64, per_second: f64) {
        let per_millisecond = per_second / 1000.0;
        match self.points.back_mut() {
            None if per_second <= 0.0 => return,
            Some(last) if last.per_millisecond.to_bits() == per_millisecond.to_bits() => return,
            Some(last) if last.at_milliseconds == at_milliseconds => {
                last.per_millisecond = per_millisecond;
                return;
            }
            _ => {}
        }
        let count = self.at(at_milliseconds);
        self.points.push_back(Point { at_milliseconds, count, per_millisecond });
        if self.points.len() > POINTS_MAX {
            self.points.pop_front();
        }
    }

    /// What was counted until this time.
    pub(in crate::sim) fn at(&self, at_milliseconds: i64) -> f64 {
        let after = self.points.partition_point(|point| point.at_milliseconds <= at_milliseconds);
        match after.checked_sub(1).and_then(|index| self.points.get(index)) {
            Some(point) => point.count + point.per_millisecond * (at_milliseconds - point.at_milliseconds) as f64,
            None => 0.0,
        }
    }

    /// Drops what is needed only for times before this one.
    pub(in crate::sim) fn forget(&mut self, before_milliseconds: i64) {
        while self.points.get(1).is_some_and(|second| second.at_milliseconds <= before_milliseconds) {
            self.points.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    fn approximately(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn counts_follow_the_rate_of_each_time() {
        let mut line = Line::default();
        line.set(1_000, 10.0);
        line.set(3_000, 0.0);
        line.set(5_000, 4.0);
        for (at, expected) in [(0, 0.0), (1_000, 0.0), (2_000, 10.0), (3_000, 20.0), (4_999, 20.0), (6_500, 26.0)] {
            assert!(approximately(line.at(at), expected), "at {at}: {}", line.at(at));
        }
        line.forget(4_000);
        assert_eq!(line.points.len(), 2);
        assert!(approximately(line.at(6_500), 26.0));
    }

    #[test]
    fn a_rate_that_stays_needs_no_memory() {
        let mut line = Line::default();
        line.set(0, 0.0);
        assert!(line.points.is_empty());
        for at in 0..100 {
            line.set(at, 5.0);
        }
        assert_eq!(line.points.len(), 1);
    }
}
