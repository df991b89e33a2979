//! Changes to an input that keep its shape: bytes alone do not get past a parser.
//!
//! An input that is JSON, or JSON behind a first line of its own, is changed as a tree. The same seed makes the same
//! change.

use serde_json::{Map, Value, json};

/// The change of an input by a seed; `None` where it is no JSON and its bytes have to do.
pub fn mutated(input: &[u8], seed: u64) -> Option<Vec<u8>> {
    let (head, body) = parts(input)?;
    let mut value: Value = body;
    let mut random = Random(seed);
    for _ in 0..=random.below(3) {
        change(&mut value, &mut random);
    }
    let mut output = head.to_vec();
    serde_json::to_writer(&mut output, &value).ok()?;
    Some(output)
}

/// A change of the bytes themselves: some are taken away, doubled, moved, or replaced by what means something somewhere.
pub fn spliced(input: &[u8], seed: u64) -> Vec<u8> {
    const TOKENS: [&str; 16] =
        ["{{", "}}", "(", ")", "|", "$x", ":=", "\"", "`", "\n", "if ", "else", "end", "%", "99999999999", "\u{1f600}"];
    let mut random = Random(seed);
    let mut output = input.to_vec();
    for _ in 0..=random.below(4) {
        let start = random.below(output.len() + 1);
        let end = start + random.below((output.len() - start).min(16) + 1);
        let replacement = match random.below(4) {
            0 => Vec::new(),
            1 => output[start..end].repeat(2),
            2 => TOKENS[random.below(TOKENS.len())].as_bytes().to_vec(),
            _ => vec![(random.next() & 0xff) as u8],
        };
        output.splice(start..end, replacement);
    }
    output
}

/// Changes the first `size` bytes of libFuzzer's buffer, of which `limit` can be used, and gives the new size; `None`
/// where libFuzzer's own way is as good.
pub fn mutate_in_place(buffer: &mut [u8], size: usize, limit: usize, seed: u32) -> Option<usize> {
    if seed.is_multiple_of(4) {
        return None;
    }
    let output = mutated(buffer.get(..size)?, u64::from(seed))?;
    buffer.get_mut(..output.len()).filter(|_| output.len() <= limit)?.copy_from_slice(&output);
    Some(output.len())
}

/// The first line, if it is not part of the JSON, and the JSON.
fn parts(input: &[u8]) -> Option<(&[u8], Value)> {
    if let Ok(value) = serde_json::from_slice(input) {
        return Some((&[], value));
    }
    let end = input.iter().position(|byte| *byte == b'\n')? + 1;
    let (head, body) = input.split_at_checked(end)?;
    Some((head, serde_json::from_slice(body).ok()?))
}

/// Numbers from a seed (splitmix64, Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One change somewhere in the tree.
fn change(root: &mut Value, random: &mut Random) {
    let donor = pick(root, random).clone();
    let place = random.below(size(root));
    let Some(node) = nth(root, &mut { place }) else { return };
    match random.below(8) {
        0 => *node = donor,
        1 => *node = json!([node.take()]),
        2..=4 => alter(node, random, donor),
        _ => *node = nasty(random),
    }
}

fn pick<'a>(root: &'a Value, random: &mut Random) -> &'a Value {
    let mut place = random.below(size(root));
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        if place == 0 {
            return node;
        }
        place -= 1;
        match node {
            Value::Array(items) => stack.extend(items),
            Value::Object(fields) => stack.extend(fields.values()),
            _ => {}
        }
    }
    root
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

/// The node at a place, counted from the root.
fn nth<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, place)),
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, place)),
        _ => None,
    }
}

/// A change inside of a node.
fn alter(node: &mut Value, random: &mut Random, donor: Value) {
    match node {
        Value::Object(fields) => alter_fields(fields, random, donor),
        Value::Array(items) => {
            let place = random.below(items.len() + 1);
            match random.below(3) {
                0 if place < items.len() => drop(items.remove(place)),
                1 if place < items.len() => {
                    let twin = items[place].clone();
                    items.push(twin);
                }
                _ => items.insert(place, donor),
            }
        }
        Value::String(text) => alter_text(text, random),
        Value::Number(number) => {
            let near = [-1, 1, -100, 100][random.below(4)];
            *node = number.as_i64().map_or_else(|| json!(near), |number| json!(number.wrapping_add(near)));
        }
        Value::Bool(truth) => *truth = !*truth,
        Value::Null => *node = donor,
    }
}

fn alter_fields(fields: &mut Map<String, Value>, random: &mut Random, donor: Value) {
    let Some(key) = fields.keys().nth(random.below(fields.len())).cloned() else {
        fields.insert("name".to_owned(), donor);
        return;
    };
    let value = fields.remove(&key);
    match random.below(3) {
        0 => {}
        1 => {
            let mut other = key;
            alter_text(&mut other, random);
            fields.insert(other, value.unwrap_or_default());
        }
        _ => drop(fields.insert(key, donor)),
    }
}

fn alter_text(text: &mut String, random: &mut Random) {
    let addition = ["-primary", "-canary", "/", ".", "0", "é", "{{", "\n", "\"", "]"][random.below(10)];
    let characters: Vec<char> = text.chars().collect();
    let place = random.below(characters.len() + 1);
    let (start, end) = characters.split_at(place);
    *text = match random.below(3) {
        0 => start.iter().collect(),
        1 => start.iter().chain(end.iter().skip(1)).collect(),
        _ => format!("{}{addition}{}", String::from_iter(start), String::from_iter(end)),
    };
}

/// What has broken programs before: the edges of numbers, calendars and lengths.
fn nasty(random: &mut Random) -> Value {
    let numbers = [0, -1, 1, 99, 100, 101, 65536, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN];
    let fractions = [0.5, -0.0, 1e308, -1e308, 1e-320, 1e18];
    let texts = [
        "",
        "0",
        "x",
        "frontend",
        "frontend-primary",
        "True",
        "False",
        "Progressing",
        "Promoting",
        "Finalising",
        "Failed",
        "1s",
        "8783h",
        "9223372036854775807s",
        "1970-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "+262142-12-31T23:59:59Z",
        "-262143-01-01T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "http://",
        "\u{0}",
        "\u{202e}\u{1f600}",
    ];
    match random.below(10) {
        0..=3 => json!(numbers[random.below(numbers.len())]),
        4 => json!(fractions[random.below(fractions.len())]),
        5..=7 => json!(texts[random.below(texts.len())]),
        8 => json!("x".repeat(1 << random.below(10))),
        _ => [Value::Null, json!(true), json!(false), json!({}), json!([]), json!(u64::MAX)][random.below(6)].clone(),
    }
}
