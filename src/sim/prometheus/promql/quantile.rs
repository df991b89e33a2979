//! Quantiles of classic histograms.

/// Differences of this relative size between buckets are errors of rounding.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// The largest value in it.
    pub upper_bound: f64,
    /// How many values are not above that.
    pub count: f64,
}

/// `histogram_quantile()`: the bound under which the share `quantile` of the values lies, taken to be spread evenly in
/// their bucket. NaN if the share is NaN, if nothing was counted, if there is no bucket `+Inf` or no other; in the last
/// bucket the bound of the one before; without end for shares below 0 or above 1.
pub fn bucket_quantile(quantile: f64, buckets: Vec<Bucket>) -> f64 {
    if quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    let buckets = growing(buckets);
    let [lower @ .., last] = buckets.as_slice() else { return f64::NAN };
    let Some(highest) = lower.last() else { return f64::NAN };
    if last.upper_bound != f64::INFINITY || last.count == 0.0 {
        return f64::NAN;
    }
    let rank = quantile * last.count;
    let index = lower.partition_point(|bucket| bucket.count < rank || rank.is_nan());
    let Some(bucket) = lower.get(index) else { return highest.upper_bound };
    let below = match index.checked_sub(1).and_then(|index| lower.get(index)) {
        Some(below) => *below,
        None if bucket.upper_bound <= 0.0 => return bucket.upper_bound,
        None => Bucket { upper_bound: 0.0, count: 0.0 },
    };
    let share = (rank - below.count) / (bucket.count - below.count);
    below.upper_bound + (bucket.upper_bound - below.upper_bound) * share
}

/// The buckets in their order, those with the same bound added up, and none with less than the one before.
fn growing(mut buckets: Vec<Bucket>) -> Vec<Bucket> {
    buckets.sort_by(|left, right| left.upper_bound.total_cmp(&right.upper_bound));
    buckets.dedup_by(|bucket, kept| {
        let is_same = bucket.upper_bound.total_cmp(&kept.upper_bound).is_eq();
        if is_same {
            kept.count += bucket.count;
        }
        is_same
    });
    let mut before: Option<f64> = None;
    for bucket in &mut buckets {
        match before {
            Some(count) if bucket.count < count || is_almost(bucket.count, count) => bucket.count = count,
            _ => before = Some(bucket.count),
        }
    }
    buckets
}

fn is_almost(left: f64, right: f64) -> bool {
    let sum = left.abs() + right.abs();
    left != 0.0 && right != 0.0 && (left - right).abs() / sum < SMALL_DIFFERENCE
}
