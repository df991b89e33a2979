//! The core against a small pure world: tables that read like data, and random worlds that must keep the promises.

mod adoption;
mod canaries;
mod clocks;
mod crashes;
mod mutants;
mod people;
mod promises;
mod random;
mod refusals;
mod revisions;
mod sequences;
mod world;
