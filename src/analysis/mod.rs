//! Judging numbers. Every check answers pass, fail or inconclusive; not knowing is not failing.

mod bounds;
mod combine;

pub use bounds::judge;
pub use combine::{Conclusion, conclude};

/// What a metrics backend answered to one check.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Name of the check that this answers.
    pub check: String,
    /// The number, or why there is none.
    pub answer: Answer,
    /// Number of requests in the window, where the backend could tell.
    pub sample_size: Option<f64>,
}

/// The number, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number; never NaN, may be infinite.
    Value(f64),
    /// The backend works and has no number for this. The text says what was found instead.
    NoData(String),
    /// The backend, the template or a secret failed. The text names it and the mend.
    Error(String),
}
