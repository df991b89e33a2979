//! Flagger's template language: the subset of Go's `text/template` that `MetricTemplate`s use.
//!
//! Supported are text, comments, trim markers (`{{-`, `-}}`), pipelines, parentheses, string, raw string, number and
//! boolean literals, variables (`$v := ...`, `$v = ...`), `if`/`else if`/`else`/`end`, Flagger's functions (`name`,
//! `namespace`, `target`, `service`, `ingress`, `route`, `interval`, `variables`) and Go's `printf`, `print`,
//! `println`, `len`, `index`, `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `and`, `or` and `not`. As in Flagger, a field that
//! `variables` does not have is an error (`missingkey=error`), while `index` of a missing key is empty, as in Go.
//!
//! There are no loops, and size, nesting and everything that a rendering produces are bounded, so a hostile template
//! ends in an error, not in a hang or an overflow.

mod evaluate;
mod format;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Subject;

/// Longest template in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of parentheses and of `if` blocks, together.
pub const NESTING_MAX: usize = 32;
/// Most bytes that one rendering may produce, intermediate strings included.
pub const RENDERED_BYTES_MAX: usize = 1024 * 1024;

/// Longest message about a template, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 400;

/// Where something stands in a template; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// What is wrong with a template, where, and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", position.line, position.column)]
pub struct TemplateError {
    /// Where.
    pub position: Position,
    /// What, and the mend.
    pub message: String,
}

impl TemplateError {
    fn at(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: shortened(message.into()) }
    }
}

/// A message that repeats a long name, without the middle of it: what is wrong comes before, and the mend behind.
fn shortened(message: String) -> String {
    let count = message.chars().count();
    if count <= MESSAGE_CHARACTERS_MAX {
        return message;
    }
    let half = MESSAGE_CHARACTERS_MAX / 2;
    message.chars().take(half).chain("...".chars()).chain(message.chars().skip(count - half)).collect()
}

/// What a template can refer to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The Canary and what belongs to it.
    pub subject: &'a Subject,
    /// Window of the query, for example `1m`.
    pub interval: &'a str,
    /// `templateVariables` of the metric.
    pub variables: &'a BTreeMap<String, String>,
}

/// A template that was parsed.
#[derive(Clone, Debug)]
pub struct Template {
    nodes: Vec<parser::Node>,
}

/// Parses a template. Unknown functions and variables, and calls with a wrong number of arguments, are found here.
pub fn parse(text: &str) -> Result<Template, TemplateError> {
    if text.len() > TEMPLATE_BYTES_MAX {
        let message = format!("the template has {} bytes; at most {TEMPLATE_BYTES_MAX} are allowed", text.len());
        return Err(TemplateError::at(Position { line: 1, column: 1 }, message));
    }
    let tokens = lexer::tokens(text)?;
    Ok(Template { nodes: parser::parse(tokens)? })
}

impl Template {
    /// Fills in the template.
    pub fn render(&self, context: &Context<'_>) -> Result<String, TemplateError> {
        evaluate::render(&self.nodes, context)
    }
}
