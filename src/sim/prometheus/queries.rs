//! Queries that were read before. The same few come again and again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::promql::{Expression, ParseError, parse};

/// Most queries that are remembered.
const QUERIES_MAX: usize = 1024;

type Read = Result<Arc<Expression>, ParseError>;

/// Queries by their text. Clones share what they remember, so that many simulated clusters read a query once.
#[derive(Clone, Debug, Default)]
pub struct Queries {
    read: Arc<Mutex<BTreeMap<String, Read>>>,
}

impl Queries {
    /// Reads a query.
    pub(super) fn parse(&self, text: &str) -> Read {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(text) {
            return known.clone();
        }
        if read.len() == QUERIES_MAX {
            read.clear();
        }
        let result = parse(text).map(Arc::new);
        read.insert(text.to_owned(), result.clone());
        result
    }
}
