//! What users met: requests, and how many of them failed.

use std::ops::Sub;

use super::rollout::Rollout;
use crate::api::checked::ObjectKey;
use crate::sim::installation::Installation;

/// Requests, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// All of them.
    pub all: f64,
    /// Those that failed.
    pub failed: f64,
}

impl Requests {
    /// The share that failed, 0 to 1.
    pub fn failing_share(self) -> f64 {
        if self.all > 0.0 { self.failed / self.all } else { 0.0 }
    }

    /// `12 of 3,456`.
    pub fn text(self) -> String {
        format!("{} of {}", whole(self.failed), whole(self.all))
    }
}

impl Sub for Requests {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { all: self.all - before.all, failed: self.failed - before.failed }
    }
}

/// The requests of one application until now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Of its users.
    pub users: Requests,
    /// Of whoever got the canary.
    pub canary: Requests,
}

impl Tally {
    /// Counts what was sent to a rollout's Services.
    pub fn of(rollout: &Rollout, installation: &Installation) -> Self {
        let Rollout { service, port, is_apart, .. } = rollout;
        let count = |suffix: &str| {
            let service = ObjectKey::new(&service.namespace, format!("{}{suffix}", service.name));
            let counted = installation.counted(&service, *port);
            let failed = counted.failed + counted.refused;
            Requests { all: counted.succeeded + failed, failed }
        };
        let canary = count("-canary");
        let [mut users, primary] = [count(""), count("-primary")];
        // Whoever asks a canary that no traffic goes to is a tester.
        for part in [primary, if *is_apart { Requests::default() } else { canary }] {
            users.all += part.all;
            users.failed += part.failed;
        }
        Self { users, canary }
    }
}

/// A whole number, with its thousands apart.
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0.0, "0"), (12.4, "12"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(whole(number), text);
        }
    }
}
