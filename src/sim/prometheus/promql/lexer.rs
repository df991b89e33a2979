//! A query as words.

use super::{Milliseconds, ParseError};

/// A word, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub token: Token,
    pub position: usize,
}

/// The words of `PromQL`.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Number(f64),
    Duration(Milliseconds),
    Text(String),
    /// A name or a keyword: which one is known only from where it stands.
    Name(String),
    Symbol(&'static str),
    End,
}

/// Longer ones come first, so that `<=` is not `<`.
const SYMBOLS: [&str; 22] = [
    "=~", "!~", "==", "!=", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", "=", "<", ">", "+", "-", "*", "/", "%", "^",
];
/// Understood to be refused by name.
const FOREIGN: [&str; 2] = ["@", ":"];

/// Splits a query into words; the last one is [`Token::End`].
pub fn words(text: &str) -> Result<Vec<Word>, ParseError> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = without_blanks(rest);
        let position = text.len() - rest.len();
        let (token, length) = word(rest).map_err(|message| ParseError::at(text, position, message))?;
        let is_end = token == Token::End;
        words.push(Word { token, position });
        if is_end {
            return Ok(words);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// Skips blanks and comments.
fn without_blanks(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        if !text.starts_with('#') {
            return text;
        }
        text = text.find('\n').and_then(|end| text.get(end..)).unwrap_or_default();
    }
}

/// The first word, and its length in bytes.
fn word(text: &str) -> Result<(Token, usize), String> {
    let Some(first) = text.chars().next() else { return Ok((Token::End, 0)) };
    let second_is_digit = text.chars().nth(1).is_some_and(|second| second.is_ascii_digit());
    if first.is_ascii_digit() || (first == '.' && second_is_digit) {
        return number(text);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        return Ok((Token::Name(text.get(..length).unwrap_or_default().to_owned()), length));
    }
    if matches!(first, '"' | '\'' | '`') {
        return quoted(text, first);
    }
    let known = SYMBOLS.iter().chain(&FOREIGN).find(|symbol| text.starts_with(**symbol));
    known.map(|symbol| (Token::Symbol(symbol), symbol.len())).ok_or_else(|| format!("unexpected character: {first:?}"))
}

/// A number or a duration.
fn number(text: &str) -> Result<(Token, usize), String> {
    let is_exponent = |index: usize| {
        let before = text.get(..index).unwrap_or_default();
        before.ends_with(['e', 'E']) && !before.starts_with("0x")
    };
    let end = text
        .char_indices()
        .find(|(index, c)| !(c.is_ascii_alphanumeric() || *c == '.' || (matches!(c, '+' | '-') && is_exponent(*index))))
        .map_or(text.len(), |(index, _)| index);
    let written = text.get(..end).unwrap_or_default();
    let hexadecimal = written.strip_prefix("0x").or_else(|| written.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) => u32::from_str_radix(digits, 16).ok().map(f64::from),
        // Rust reads words like `1inf` as no number either.
        None => written.parse().ok(),
    };
    match (value, duration(written)) {
        (Some(value), _) => Ok((Token::Number(value), end)),
        (None, Some(milliseconds)) => Ok((Token::Duration(milliseconds), end)),
        (None, None) => Err(format!("bad number or duration syntax: {written:?}")),
    }
}

/// Units, from the longest to the shortest: each may come once, in this order.
const UNITS: [(&str, Milliseconds); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration such as `1h30m`.
pub fn duration(text: &str) -> Option<Milliseconds> {
    let mut rest = text;
    let mut sum: Milliseconds = 0;
    let mut allowed = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: Milliseconds = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let index = allowed.iter().position(|(unit, _)| Some(*unit) == rest.get(..letters))?;
        sum = sum.checked_add(number.checked_mul(allowed.get(index)?.1)?)?;
        allowed = allowed.get(index + 1..)?;
        rest = rest.get(letters..)?;
    }
    (!text.is_empty()).then_some(sum)
}

/// A string in quotes, with Go's escapes, or in backquotes, without.
fn quoted(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            end if end == quote => return Ok((Token::Text(content), index + 1)),
            '\n' if quote != '`' => break,
            '\\' if quote != '`' => {
                let escaped = characters.next().map(|(_, escaped)| escaped);
                content.push(unescape(escaped, quote).ok_or_else(|| format!("unknown escape sequence in {text:?}"))?);
            }
            other => content.push(other),
        }
    }
    Err("unterminated quoted string".to_owned())
}

fn unescape(escaped: Option<char>, quote: char) -> Option<char> {
    match escaped? {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        '\\' => Some('\\'),
        other => (other == quote).then_some(quote),
    }
}
