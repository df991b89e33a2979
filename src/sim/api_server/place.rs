//! Where a value is in an object.

use std::fmt;

/// Where a value is in an object, as refusals name it. It is a chain, because a place is written down only where something
/// is wrong, and walked through always.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// The object itself.
    Top,
    /// A field.
    Field(&'a Self, &'a str),
    /// An entry of a list.
    Entry(&'a Self, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Field(Self::Top, name) => out.write_str(name),
            Self::Field(outer, name) => write!(out, "{outer}.{name}"),
            Self::Entry(outer, index) => write!(out, "{outer}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_in_refusals() {
        let spec = Place::Field(&Place::Top, "spec");
        let ports = Place::Field(&spec, "ports");
        let first = Place::Entry(&ports, 0);
        assert_eq!(Place::Field(&first, "name").to_string(), "spec.ports[0].name");
        assert_eq!(Place::Top.to_string(), "");
    }
}
