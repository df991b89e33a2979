//! The arithmetic of a rolling update: how many pods of each revision there shall be next.
//!
//! Source: `pkg/controller/deployment/rolling.go` and `NewRSNewReplicas` in `util/deployment_util.go` of Kubernetes. What
//! the real controller does in several passes, one write each, is one here.

use serde_json::Value;

/// One revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// How many pods it shall have.
    pub wanted: usize,
    /// How many of them are available.
    pub available: usize,
}

/// How far a rolling update may go beyond and below the wanted number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many pods there may be above it.
    pub surge: usize,
    /// How many may be unavailable.
    pub unavailable: usize,
}

impl Side {
    /// A revision with so many wanted and available pods. More than wanted count as on their way out.
    pub fn new(wanted: usize, available: usize) -> Self {
        Self { wanted, available: available.min(wanted) }
    }

    /// Wants no more than so many; those that are not available go first.
    fn limit(&mut self, most: usize) {
        *self = Self::new(self.wanted.min(most), self.available);
    }
}

impl Bounds {
    /// Reads `maxSurge`, of which a percentage is rounded up, and `maxUnavailable`, of which one is rounded down. If both
    /// come to nothing, one pod may be unavailable.
    pub fn of(rolling_update: &Value, replicas: usize) -> Self {
        let number = |field: &str, round_up: usize| match rolling_update.get(field) {
            Some(Value::String(text)) => {
                let percent: usize = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
                (percent.saturating_mul(replicas) + round_up) / 100
            }
            Some(number) => number.as_u64().map_or(0, |number| number as usize),
            None => (25 * replicas + round_up) / 100,
        };
        let (surge, unavailable) = (number("maxSurge", 99), number("maxUnavailable", 0));
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { surge, unavailable: unavailable.min(replicas) }
    }
}

/// Goes as far as the bounds allow before more pods are available. The new revision grows as far as the surge allows; the
/// old ones, the oldest first, shrink by what is unhealthy in them, and then by what the available pods allow; that makes
/// room for the new one again.
pub fn advance(replicas: usize, bounds: Bounds, new: &mut Side, old: &mut [Side]) {
    loop {
        let before = (*new, all(new, old));
        grow(replicas, bounds, new, old);
        shrink(replicas, bounds, new, old);
        if (*new, all(new, old)) == before {
            return;
        }
    }
}

fn all(new: &Side, old: &[Side]) -> usize {
    new.wanted + old.iter().map(|side| side.wanted).sum::<usize>()
}

fn grow(replicas: usize, bounds: Bounds, new: &mut Side, old: &[Side]) {
    let room = (replicas + bounds.surge).saturating_sub(all(new, old));
    new.wanted += room.min(replicas.saturating_sub(new.wanted));
    new.limit(replicas);
}

fn shrink(replicas: usize, bounds: Bounds, new: &Side, old: &mut [Side]) {
    let minimum = replicas - bounds.unavailable.min(replicas);
    let unavailable_new = new.wanted - new.available;
    let most = all(new, old).saturating_sub(minimum + unavailable_new);
    if most == 0 {
        return;
    }
    let mut unhealthy = most;
    for side in old.iter_mut() {
        let removed = (side.wanted - side.available).min(unhealthy);
        side.limit(side.wanted - removed);
        unhealthy -= removed;
    }
    let available = new.available + old.iter().map(|side| side.available).sum::<usize>();
    let mut spare = available.saturating_sub(minimum);
    for side in old {
        let removed = side.wanted.min(spare);
        side.limit(side.wanted - removed);
        spare -= removed;
    }
}

/// Brings the sum of all revisions to `replicas` in the middle of a rollout. The real controller keeps their proportions;
/// here the largest grows or shrinks, one pod at a time.
pub fn rescale(replicas: usize, sides: &mut [Side]) {
    let sum = |sides: &[Side]| sides.iter().map(|side| side.wanted).sum::<usize>();
    while sum(sides) != replicas {
        let grows = sum(sides) < replicas;
        let Some(largest) = sides.iter_mut().max_by_key(|side| side.wanted) else { return };
        if grows {
            largest.wanted += 1;
        } else {
            largest.wanted -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_round_in_the_direction_that_keeps_the_update_going() {
        let cases = [
            (json!({}), 4, (1, 1)),
            (json!({}), 1, (1, 0)),
            (json!({"maxSurge": "25%", "maxUnavailable": "25%"}), 10, (3, 2)),
            (json!({"maxSurge": 0, "maxUnavailable": 0}), 3, (0, 1)),
            (json!({"maxSurge": 2, "maxUnavailable": "0%"}), 3, (2, 0)),
            (json!({"maxSurge": 0, "maxUnavailable": 9}), 3, (0, 3)),
        ];
        for (rolling_update, replicas, (surge, unavailable)) in cases {
            assert_eq!(Bounds::of(&rolling_update, replicas), Bounds { surge, unavailable }, "{rolling_update}");
        }
    }

    #[test]
    fn an_update_goes_as_far_as_its_bounds() {
        // Wanted and available of the new revision and of the old one; replicas, surge, unavailable; wanted afterwards.
        let cases = [
            ("the new one surges", [0, 0, 4, 4], [4, 1, 0], [1, 4]),
            ("and takes the place of those that may be unavailable", [0, 0, 4, 4], [4, 1, 1], [2, 3]),
            ("not before the new ones are there", [1, 0, 4, 4], [4, 1, 0], [1, 4]),
            ("then one for one", [1, 1, 4, 4], [4, 1, 0], [2, 3]),
            ("without surge the old one shrinks first", [0, 0, 2, 2], [2, 0, 1], [1, 1]),
            ("unhealthy old pods make room", [0, 0, 2, 0], [2, 0, 1], [1, 1]),
            ("unhealthy new pods don't take old ones with them", [2, 0, 4, 4], [5, 1, 1], [2, 4]),
            ("all done", [4, 4, 0, 0], [4, 1, 1], [4, 0]),
            ("scaled to zero", [2, 1, 1, 1], [0, 0, 0], [0, 0]),
        ];
        for (name, [wanted, available, old_wanted, old_available], [replicas, surge, unavailable], expected) in cases {
            let mut new = Side::new(wanted, available);
            let mut old = [Side::new(old_wanted, old_available)];
            advance(replicas, Bounds { surge, unavailable }, &mut new, &mut old);
            assert_eq!([new.wanted, old[0].wanted], expected, "{name}");
        }
    }

    #[test]
    fn rescaling_changes_the_sum_alone() {
        let side = |wanted| Side::new(wanted, wanted);
        for (before, replicas, after) in
            [([3, 1], 6, [5, 1]), ([3, 1], 2, [1, 1]), ([3, 1], 0, [0, 0]), ([2, 0], 2, [2, 0])]
        {
            let mut sides = before.map(side);
            rescale(replicas, &mut sides);
            assert_eq!(sides.map(|side| side.wanted), after, "{before:?} to {replicas}");
        }
    }
}
