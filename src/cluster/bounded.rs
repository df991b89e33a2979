//! Reading JSON of any depth.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How many levels of an object are kept. The kinds that Serin reads have about twenty; what is deeper can only be in a
/// free-form field of a Canary, which Serin does not look into.
const LEVELS: usize = 64;

/// Reads a value, and `null` for what is deeper than [`LEVELS`]. The JSON library refuses a text with more than 128 levels
/// as a whole, so that one Canary that nests more would hide all others of its watch. What an [`Outline`] leaves out is
/// skipped.
#[derive(Clone, Copy)]
pub struct Bounded {
    levels: usize,
    outline: &'static Outline,
}

/// Which fields of an object, or of the objects in a list, are read.
pub struct Outline {
    /// Fields of which only a part may be read.
    pub named: &'static [(&'static str, &'static Outline)],
    /// Whether all other fields are read, as a whole.
    pub with_others: bool,
}

impl Outline {
    /// Everything.
    pub const WHOLE: Self = Self { named: &[], with_others: true };

    fn of(&self, field: &str) -> Option<&'static Self> {
        let named = self.named.iter().find(|(name, _)| *name == field);
        named.map(|(_, outline)| *outline).or(self.with_others.then_some(&Self::WHOLE))
    }
}

impl Bounded {
    /// For an object.
    pub fn object(outline: &'static Outline) -> Self {
        Self { levels: LEVELS, outline }
    }

    fn inside(self, outline: &'static Outline) -> Self {
        Self { levels: self.levels - 1, outline }
    }
}

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.levels == 0 {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element_seed(self.inside(self.outline))? {
            list.push(entry);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            match self.outline.of(&name) {
                Some(outline) => {
                    fields.insert(name, entries.next_value_seed(self.inside(outline))?);
                }
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        read_part(text, &Outline::WHOLE)
    }

    fn read_part(text: &str, outline: &'static Outline) -> Value {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = Bounded::object(outline).deserialize(&mut deserializer).unwrap();
        deserializer.end().unwrap();
        value
    }

    #[test]
    fn what_is_not_too_deep_is_read_as_it_is() {
        for value in [
            json!(null),
            json!({"a": [1, -1, 1.5, true, null, "text", {"b": {}}], "c": u64::MAX, "d": "\u{e9}\n", "": []}),
        ] {
            assert_eq!(read(&value.to_string()), value);
        }
    }

    #[test]
    fn what_an_outline_leaves_out_is_skipped_whatever_it_is() {
        static INNER: Outline = Outline { named: &[("a", &Outline::WHOLE)], with_others: false };
        static OUTER: Outline = Outline { named: &[("part", &INNER)], with_others: true };
        for (text, expected) in [
            (r#"{"part": {"a": {"b": 1}, "b": [{}]}, "b": 2}"#, json!({"part": {"a": {"b": 1}}, "b": 2})),
            (r#"{"part": [{"a": 1}, {"b": 1}, 3]}"#, json!({"part": [{"a": 1}, {}, 3]})),
            (r#"{"part": null, "a": 1}"#, json!({"part": null, "a": 1})),
            ("[]", json!([])),
        ] {
            assert_eq!(read_part(text, &OUTER), expected, "{text}");
        }
    }

    #[test]
    fn what_is_too_deep_is_left_out_and_hides_nothing_beside_it() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(5000), close.repeat(5000));
            let value = read(&format!("{{\"deep\": {deep}, \"beside\": 1}}"));
            assert_eq!(value["beside"], 1);
            let mut levels = 0;
            let mut inner = &value["deep"];
            while let Some(next) = inner.get(0).or_else(|| inner.get("a")) {
                (inner, levels) = (next, levels + 1);
            }
            assert_eq!((levels, inner), (LEVELS - 1, &Value::Null));
        }
    }
}
