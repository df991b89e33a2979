//! Who owns which field: sets of fields, the operations on values that go by them, and the entries of
//! `metadata.managedFields`. The semantics are those of sigs.k8s.io/structured-merge-diff v6.

mod field_set;
mod ownership;
mod structured;
#[cfg(test)]
mod tests;

pub use field_set::FieldSet;
pub use ownership::{Conflict, Managers, Writer};
pub use structured::first_duplicate;
