//! Go's `fmt`: values as text, and `printf`.

use std::iter::Peekable;
use std::str::Chars;

use super::evaluate::Value;

/// Largest width and precision of a verb.
const WIDTH_MAX: usize = 64;

/// A value as Go's `%v` writes it.
pub(super) fn display(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::Bool(truth) => truth.to_string(),
        Value::Map(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Go's shortest form: an exponent below 1e-4 and from 1e21 on.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

/// Go's `printf` with the verbs `%s %d %v %q %f %t %%`, the flags `-` and `0`, width and precision. Go writes
/// complaints such as `%!d(string=x)` into the text; here they are errors. At most `limit` bytes are produced.
pub(super) fn printf(arguments: &[Value<'_>], limit: usize) -> Result<String, String> {
    let Some((Value::String(format), rest)) = arguments.split_first() else {
        return Err("the first argument of `printf` must be a string".to_owned());
    };
    let mut values = rest.iter();
    let mut text = String::new();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let verb = Verb::parse(&mut characters)?;
        if verb.letter == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("`printf` has no argument left for `%{}`", verb.letter))?;
        text.push_str(&verb.apply(value)?);
        if text.len() > limit {
            return Err(format!("the template produces more than {} bytes", super::RENDERED_BYTES_MAX));
        }
    }
    match values.count() {
        0 => Ok(text),
        left => Err(format!("`printf` has {left} argument(s) more than its format uses")),
    }
}

/// One `%` of a format.
struct Verb {
    letter: char,
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

impl Verb {
    fn parse(characters: &mut Peekable<Chars<'_>>) -> Result<Self, String> {
        let mut verb = Self { letter: '%', left: false, zeros: false, width: 0, precision: None };
        while let Some(flag) = characters.next_if(|next| matches!(next, '-' | '0')) {
            verb.left |= flag == '-';
            verb.zeros |= flag == '0';
        }
        verb.width = number(characters)?.unwrap_or(0);
        if characters.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(characters)?.unwrap_or(0));
        }
        verb.letter = characters.next().ok_or("the format of `printf` ends in a lone `%`; write `%%`")?;
        Ok(verb)
    }

    fn apply(&self, value: &Value<'_>) -> Result<String, String> {
        let cut = |text: String| match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        };
        let text = match (self.letter, value) {
            ('q', Value::String(text)) => quote(&cut(text.to_string())),
            ('v' | 's', Value::String(text)) => cut(text.to_string()),
            ('v' | 's', Value::Map(_)) | ('v' | 'd', Value::Int(_)) | ('v' | 't', Value::Bool(_)) => display(value),
            ('v', Value::Float(number)) if self.precision.is_none() => float(*number),
            ('f', Value::Float(number)) => format!("{number:.*}", self.precision.unwrap_or(6)),
            ('s' | 'd' | 'v' | 'q' | 'f' | 't', _) => {
                return Err(format!("`%{}` of `printf` can't show {}; `%v` can", self.letter, value.kind()));
            }
            _ => return Err(format!("`printf` does not support `%{}`; use %s, %d, %v, %q, %f, %t or %%", self.letter)),
        };
        Ok(self.pad(text, value))
    }

    fn pad(&self, text: String, value: &Value<'_>) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            return text + &" ".repeat(missing);
        }
        if !self.zeros {
            return " ".repeat(missing) + &text;
        }
        match text.strip_prefix('-') {
            Some(digits) if !matches!(value, Value::String(_)) => format!("-{}{digits}", "0".repeat(missing)),
            _ => "0".repeat(missing) + &text,
        }
    }
}

fn number(characters: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, String> {
    let mut number = None;
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        let value = number.unwrap_or(0) * 10 + digit.to_digit(10).unwrap_or(0) as usize;
        if value > WIDTH_MAX {
            return Err(format!("widths and precisions of `printf` are limited to {WIDTH_MAX}"));
        }
        number = Some(value);
    }
    Ok(number)
}

/// Go's `%q`: an interpreted string literal.
fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|character| match character {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\t' => "\\t".to_owned(),
            '\r' => "\\r".to_owned(),
            control if control.is_control() => format!("\\u{:04x}", u32::from(control)),
            other => other.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
