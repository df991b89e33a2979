//! Labels: what tells one series from another.

use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

/// The label that holds the name of the metric.
pub const NAME: &str = "__name__";

/// A text that is part of the program, or shared by many labels.
#[derive(Clone, Debug)]
pub enum Text {
    /// Part of the program.
    Constant(&'static str),
    /// Shared.
    Shared(Arc<str>),
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Constant(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        str::cmp(self, other)
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Constant(text)
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

/// Names and values, in the order of the names, none of them empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Vec<(Text, Text)>);

impl Labels {
    /// From pairs in any order. A label without a value is no label.
    pub fn new(mut pairs: Vec<(Text, Text)>) -> Self {
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        Self(pairs)
    }

    /// The value of a label; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| **known == *name).map_or("", |(_, value)| value)
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Those labels alone.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        self.filtered(|name| names.iter().any(|kept| kept == name))
    }

    /// All but those labels and the metric's name.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        self.filtered(|name| name != NAME && !names.iter().any(|dropped| dropped == name))
    }

    /// All but those labels.
    #[must_use]
    pub(super) fn named_without(&self, names: &[String]) -> Self {
        self.filtered(|name| !names.iter().any(|dropped| dropped == name))
    }

    /// All but the metric's name.
    #[must_use]
    pub(super) fn without_name(mut self) -> Self {
        self.0.retain(|(name, _)| **name != *NAME);
        self
    }

    fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }
}
