//! What is done with everything that comes from outside, each as a function of bytes that must come back: the fuzz
//! targets call them without end, and `tests/fuzz_corpus` on each file of the corpora and on a number of mutations.
//!
//! A target panics where a promise is broken. Bytes that it can't use say nothing and are let pass.

pub mod alerts;
pub mod answers;
pub mod durations;
pub mod leases;
pub mod manifests;
pub mod mutation;
pub mod objects;
pub mod templates;

/// One target.
pub struct Target {
    /// Its name, which is that of its corpus too.
    pub name: &'static str,
    /// What is done with some bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "alerts", run: alerts::run },
    Target { name: "answers", run: answers::run },
    Target { name: "durations", run: durations::run },
    Target { name: "leases", run: leases::run },
    Target { name: "manifests", run: manifests::run },
    Target { name: "objects", run: objects::run },
    Target { name: "templates", run: templates::run },
];
