//! How long answers take: a fixed distribution around the application's latency, so that quantiles are known beforehand.

/// The quotient of the 99th percentile and the median.
const SPREAD: f64 = 2.0;

/// The shape of a log-logistic distribution whose 99th percentile is `SPREAD` times its median: from the distribution
/// function `1 / (1 + (x / median)^-shape)` follows `shape = ln 99 / ln SPREAD`.
fn shape() -> f64 {
    99_f64.ln() / SPREAD.ln()
}

/// The share of answers that took at most `bound_milliseconds`, where half of them take `median_milliseconds` or less,
/// and 99 of 100 twice that or less. A median of zero means that no answer takes any time.
pub(in crate::sim) fn share_within(bound_milliseconds: f64, median_milliseconds: f64) -> f64 {
    if median_milliseconds <= 0.0 {
        return 1.0;
    }
    1.0 / (1.0 + (bound_milliseconds / median_milliseconds).powf(-shape()))
}

/// The mean of the distribution: `median * (pi / shape) / sin(pi / shape)`.
pub(in crate::sim) fn mean_milliseconds(median_milliseconds: f64) -> f64 {
    let angle = std::f64::consts::PI / shape();
    median_milliseconds.max(0.0) * angle / angle.sin()
}

#[cfg(test)]
mod tests {
    use super::{mean_milliseconds, share_within};

    #[test]
    fn the_median_and_the_99th_percentile_are_as_promised() {
        for (bound, median, expected) in [
            (100.0, 100.0, 0.5),
            (200.0, 100.0, 0.99),
            (14.0, 7.0, 0.99),
            (50.0, 100.0, 0.01),
            (0.5, 0.0, 1.0),
            (f64::INFINITY, 100.0, 1.0),
        ] {
            let share = share_within(bound, median);
            assert!((share - expected).abs() < 1e-12, "{bound} of {median}: {share}");
        }
    }

    #[test]
    fn the_mean_is_a_little_above_the_median() {
        assert!((mean_milliseconds(100.0) - 103.843).abs() < 0.001, "{}", mean_milliseconds(100.0));
        assert!(mean_milliseconds(0.0).abs() < f64::EPSILON);
    }
}
