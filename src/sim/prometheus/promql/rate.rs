//! How fast a counter grows, from samples that do not reach the edges of the range.

use super::Point;
use super::expression::Milliseconds;

/// The limits of a range: the start does not belong to it, the end does.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub start_milliseconds: i64,
    pub end_milliseconds: i64,
}

impl Range {
    pub fn before(end_milliseconds: i64, length: Milliseconds) -> Self {
        Self { start_milliseconds: end_milliseconds.saturating_sub(length), end_milliseconds }
    }

    fn seconds(self) -> f64 {
        seconds(self.end_milliseconds - self.start_milliseconds)
    }
}

/// `rate()`: the increase in a second.
pub fn rate(points: &[Point], range: Range) -> Option<f64> {
    let (difference, factor) = extrapolated(points, range, true)?;
    // Divided first, as Prometheus does: the last digit matters to ceil() and floor().
    Some(difference * (factor / range.seconds()))
}

/// `increase()`: of a counter, over the whole range.
pub fn increase(points: &[Point], range: Range) -> Option<f64> {
    extrapolated(points, range, true).map(|(difference, factor)| difference * factor)
}

/// `delta()`: the difference of a gauge over the whole range.
pub fn delta(points: &[Point], range: Range) -> Option<f64> {
    extrapolated(points, range, false).map(|(difference, factor)| difference * factor)
}

/// `irate()`: from the last two samples alone.
pub fn irate(points: &[Point]) -> Option<f64> {
    let [.., before, last] = points else { return None };
    // After a reset the counter began at zero.
    let increase = if last.value < before.value { last.value } else { last.value - before.value };
    let seconds = seconds(last.at_milliseconds - before.at_milliseconds);
    (seconds > 0.0).then(|| increase / seconds)
}

/// The difference between the first and the last sample, and by how much it grows for what is missing at the edges. An edge is reached if it is
/// at most 1.1 times the average distance of samples away; else the series is taken to begin or end half of that
/// distance beyond its samples. A counter is not taken to have been below zero.
fn extrapolated(points: &[Point], range: Range, is_counter: bool) -> Option<(f64, f64)> {
    let [first, .., last] = points else { return None };
    let mut difference = last.value - first.value;
    if is_counter {
        // What was counted before a reset was counted nonetheless.
        let pairs = points.iter().zip(points.iter().skip(1));
        difference +=
            pairs.filter(|(before, after)| after.value < before.value).map(|(before, _)| before.value).sum::<f64>();
    }
    let sampled = seconds(last.at_milliseconds - first.at_milliseconds);
    let average = sampled / (points.len() - 1) as f64;
    let reach = |distance: f64| if distance >= average * 1.1 { average / 2.0 } else { distance };
    let mut to_start = reach(seconds(first.at_milliseconds - range.start_milliseconds));
    let to_end = reach(seconds(range.end_milliseconds - last.at_milliseconds));
    if is_counter && difference > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / difference));
    }
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    Some((difference, factor))
}

fn seconds(milliseconds: Milliseconds) -> f64 {
    milliseconds as f64 / 1000.0
}
