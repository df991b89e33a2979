//! Many numbers made one.

use std::collections::BTreeMap;

use super::Sample;
use super::expression::{Aggregate, Grouping};
use super::labels::Labels;

/// The aggregate of each group, in the order of the groups' labels.
pub fn aggregate(operator: Aggregate, grouping: &Grouping, samples: Vec<Sample>) -> Vec<Sample> {
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        let group = match grouping {
            Grouping::By(names) => sample.labels.only(names),
            Grouping::Without(names) => sample.labels.without(names),
        };
        groups.entry(group).or_default().push(sample.value);
    }
    let aggregated = groups.into_iter().map(|(labels, values)| Sample { labels, value: of_numbers(operator, &values) });
    aggregated.collect()
}

/// The aggregate of numbers, of which there is at least one.
pub fn of_numbers(operator: Aggregate, values: &[f64]) -> f64 {
    match operator {
        Aggregate::Sum => sum(values),
        Aggregate::Avg => sum(values) / values.len() as f64,
        // A number wins over what is none.
        Aggregate::Min => values.iter().copied().fold(f64::NAN, f64::min),
        Aggregate::Max => values.iter().copied().fold(f64::NAN, f64::max),
        Aggregate::Count => values.len() as f64,
    }
}

/// The sum, with what rounding loses kept apart (Kahan's method as Neumaier improved it), as Prometheus adds.
fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        if next.is_infinite() {
            lost = 0.0;
        } else if sum.abs() >= value.abs() {
            lost += (sum - next) + value;
        } else {
            lost += (value - next) + sum;
        }
        sum = next;
    }
    sum + lost
}
