//! What one process counts from its start to its end.

use super::latency::mean_milliseconds;
use super::line::Line;

/// The code of requests that the gateway refuses because no pod is ready.
pub(in crate::sim) const REFUSED: u16 = 503;

/// Requests that are answered in one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::sim) struct Rate {
    pub(in crate::sim) code: u16,
    pub(in crate::sim) latency_milliseconds: f64,
    pub(in crate::sim) per_second: f64,
}

impl Rate {
    /// Whether both are of requests that are answered in the same way.
    pub(in crate::sim) fn is_alike(&self, other: &Self) -> bool {
        self.code == other.code && self.latency_milliseconds.to_bits() == other.latency_milliseconds.to_bits()
    }
}

/// The count of requests that were answered in one way.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Flow {
    pub(in crate::sim) code: u16,
    pub(in crate::sim) latency_milliseconds: f64,
    pub(in crate::sim) line: Line,
}

impl Flow {
    /// How long its requests took on average.
    pub(in crate::sim) fn mean_milliseconds(&self) -> f64 {
        mean_milliseconds(self.latency_milliseconds)
    }
}

/// One life of something that counts; after it the counters begin at zero.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Life {
    born_milliseconds: i64,
    died_milliseconds: Option<i64>,
    pub(in crate::sim) flows: Vec<Flow>,
    rates: Vec<Rate>,
}

impl Life {
    pub(in crate::sim) fn new(born_milliseconds: i64) -> Self {
        Self { born_milliseconds, died_milliseconds: None, flows: Vec::new(), rates: Vec::new() }
    }

    /// The rates from this time on; what is not named stops.
    pub(in crate::sim) fn set(&mut self, at_milliseconds: i64, rates: Vec<Rate>) {
        for flow in &mut self.flows {
            if !rates.iter().any(|rate| is_same(flow, rate)) {
                flow.line.set(at_milliseconds, 0.0);
            }
        }
        for rate in &rates {
            let known = self.flows.iter_mut().find(|flow| is_same(flow, rate));
            match known {
                Some(flow) => flow.line.set(at_milliseconds, rate.per_second),
                None if rate.per_second > 0.0 => {
                    let mut line = Line::default();
                    line.set(at_milliseconds, rate.per_second);
                    let Rate { code, latency_milliseconds, .. } = *rate;
                    self.flows.push(Flow { code, latency_milliseconds, line });
                }
                None => {}
            }
        }
        self.rates = rates;
    }

    /// Ends it; the result are the rates at its end.
    pub(in crate::sim) fn end(&mut self, at_milliseconds: i64) -> Vec<Rate> {
        self.died_milliseconds = Some(at_milliseconds);
        for flow in &mut self.flows {
            flow.line.set(at_milliseconds, 0.0);
        }
        std::mem::take(&mut self.rates)
    }

    pub(in crate::sim) fn is_over(&self) -> bool {
        self.died_milliseconds.is_some()
    }

    /// Whether it could be scraped at this time.
    pub(in crate::sim) fn lives_at(&self, at_milliseconds: i64) -> bool {
        self.born_milliseconds <= at_milliseconds && self.died_milliseconds.is_none_or(|died| at_milliseconds < died)
    }

    /// Whether it was over before this time.
    pub(in crate::sim) fn ended_before(&self, milliseconds: i64) -> bool {
        self.died_milliseconds.is_some_and(|died| died < milliseconds)
    }
}

fn is_same(flow: &Flow, rate: &Rate) -> bool {
    flow.code == rate.code && flow.latency_milliseconds.to_bits() == rate.latency_milliseconds.to_bits()
}
