//! Reading Rust text just well enough for the rules: no comments, no literals, no tests; paths and functions.

/// One file of `src/`, without comments, the content of literals, and test modules. Line numbers are those of the file.
pub struct Source {
    /// Path below `src/`, with `/`.
    pub path: String,
    /// The code that is left.
    pub code: String,
}

/// A path such as `kube::api::Patch`, from an import or from an expression; groups are taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct NamePath {
    pub line: usize,
    pub segments: Vec<String>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub line: usize,
    pub name: String,
    /// From the `fn` to the closing brace.
    pub lines: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: without_test_modules(&without_comments_and_literals(text)) }
    }

    /// The top-level module that the file belongs to: `api` for `api/canary.rs`, `clock` for `clock.rs`.
    pub fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Every path of two segments and more. `super::` and `self::` are resolved to `crate::`.
    pub fn paths(&self) -> Vec<NamePath> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let continues_a_path = at > 0 && tokens[at - 1].text == "::";
            if tokens[at].is_name() && !continues_a_path {
                at = self.read_path(&tokens, at, &[], &mut found);
            } else {
                at += 1;
            }
        }
        found.retain(|path| path.segments.len() > 1);
        found
    }

    /// Every word, with its line.
    pub fn words(&self) -> impl Iterator<Item = (usize, String)> {
        tokens(&self.code).into_iter().filter(Token::is_name).map(|token| (token.line, token.text))
    }

    /// Every macro that is called, without its `!`.
    pub fn macros(&self) -> Vec<(usize, String)> {
        tokens(&self.code)
            .windows(3)
            .filter(|next| next[0].is_name() && next[1].text == "!" && next[2].text != "=")
            .map(|next| (next[0].line, next[0].text.clone()))
            .collect()
    }

    pub fn functions(&self) -> Vec<Function> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let Some(name) = tokens.get(at + 1).filter(|name| token.text == "fn" && name.is_name()) else { continue };
            let body = tokens[at..].iter().position(|token| token.text == "{" || token.text == ";");
            let Some(open) = body.map(|offset| at + offset).filter(|open| tokens[*open].text == "{") else { continue };
            let lines = tokens[closing(&tokens, open)].line - token.line + 1;
            found.push(Function { line: token.line, name: name.text.clone(), lines });
        }
        found
    }

    /// Reads the path that starts at `at`, after `prefix`; returns where the text goes on.
    fn read_path(&self, tokens: &[Token], at: usize, prefix: &[String], found: &mut Vec<NamePath>) -> usize {
        let mut segments = prefix.to_vec();
        let mut next = at;
        loop {
            segments.push(tokens[next].text.clone());
            let is = |offset: usize, text: &str| tokens.get(next + offset).is_some_and(|token| token.text == text);
            if is(1, "::") && is(2, "{") {
                return self.read_group(tokens, next + 3, &segments, found);
            }
            if !(is(1, "::") && tokens.get(next + 2).is_some_and(Token::is_name)) {
                break;
            }
            next += 2;
        }
        found.push(NamePath { line: tokens[at].line, segments: self.resolved(segments) });
        next + 1
    }

    fn read_group(&self, tokens: &[Token], at: usize, prefix: &[String], found: &mut Vec<NamePath>) -> usize {
        let mut next = at;
        while next < tokens.len() && tokens[next].text != "}" {
            next = if tokens[next].is_name() { self.read_path(tokens, next, prefix, found) } else { next + 1 };
        }
        next + 1
    }

    fn resolved(&self, segments: Vec<String>) -> Vec<String> {
        let mut here: Vec<&str> = self.path.trim_end_matches(".rs").split('/').collect();
        if matches!(here.last(), Some(&("mod" | "lib" | "main"))) {
            here.pop();
        }
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        let starts_here = segments.first().is_some_and(|segment| segment == "self");
        if ups == 0 && !starts_here {
            return segments;
        }
        let kept = here.len().saturating_sub(ups);
        let rest = segments.into_iter().skip(if starts_here { 1 } else { ups });
        std::iter::once("crate").chain(here.into_iter().take(kept)).map(str::to_owned).chain(rest).collect()
    }
}

#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { line: index + 1, text: rest[..length].to_owned() });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The index of the brace that closes the one at `open`; the last token if none does.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at,
            "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len() - 1
}

/// Blanks every `#[cfg(test)] mod name { ... }`.
fn without_test_modules(code: &str) -> String {
    let mut lines: Vec<&str> = code.lines().collect();
    let tokens = tokens(code);
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    for at in 0..tokens.len().saturating_sub(attribute.len()) {
        let is_attribute = tokens[at..].iter().zip(attribute).all(|(token, part)| token.text == part);
        let rest = &tokens[at..];
        let item = rest.iter().position(|token| token.text == "{" || token.text == ";");
        let Some(open) = item.map(|offset| at + offset).filter(|_| is_attribute) else { continue };
        let is_module = tokens[at..open].iter().any(|token| token.text == "mod");
        if is_module && tokens[open].text == "{" {
            let last = tokens[closing(&tokens, open)].line;
            lines[tokens[at].line - 1..last].fill("");
        }
    }
    lines.join("\n")
}

/// Blanks comments and what stands between quotes, line by line the same.
fn without_comments_and_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !after_word) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push(' ');
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of `r"..."`, `r#"..."#`, `br"..."` and so on.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let content = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - content.len();
    Some(content.find(&end).map_or(text.len(), |length| start + length + end.len()))
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; 1, the quote alone, where it starts a lifetime.
fn character(text: &str) -> usize {
    let mut following = text.chars().skip(1);
    match (following.next(), following.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, text: &str) -> Vec<String> {
        Source::new(path, text).paths().into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn paths_are_taken_apart_and_resolved() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("api/mod.rs", "use kube::Client;", &["kube::Client"]),
            ("api/mod.rs", "use crate::{api::Phase, clock};", &["crate::api::Phase", "crate::clock"]),
            ("api/mod.rs", "use a::{self, b::{C, d::E}, F};", &["a::self", "a::b::C", "a::b::d::E", "a::F"]),
            ("api/mod.rs", "use super::clock;", &["crate::clock"]),
            ("api/status.rs", "use super::super::clock::now;", &["crate::clock::now"]),
            ("api/status.rs", "use super::checked::Severity;", &["crate::api::checked::Severity"]),
            ("api/mod.rs", "pub use self::status::Phase;", &["crate::api::status::Phase"]),
            ("clock.rs", "fn f() { let x = Utc::now(); }", &["Utc::now"]),
            ("api/mod.rs", "fn f(x: Vec<kube::Client>) -> a::B<c::D> {}", &["kube::Client", "a::B", "c::D"]),
        ];
        for (path, text, expected) in cases {
            assert_eq!(&paths(path, text), expected, "{text}");
        }
    }

    #[test]
    fn comments_literals_and_tests_do_not_count() {
        let text = concat!(
            "// kube::Client\n/* a::b /* c::d */ e::f */\n",
            "const A: &str = \"g::h \\\" i::j\"; const B: &str = r#\"k::l \" m::n\"#; const C: char = '\"';\n",
            "fn f<'a>(x: &'a str) { o::p(x) }\n",
            "#[cfg(test)]\nmod tests {\n    use q::r;\n    fn g() { s::t() }\n}\n",
            "fn h() { u::v() }\n"
        );
        let found = Source::new("api/mod.rs", text).paths();
        let expected = [(4, "o::p"), (10, "u::v")];
        let found: Vec<_> = found.iter().map(|path| (path.line, path.segments.join("::"))).collect();
        assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn functions_are_measured_from_name_to_closing_brace() {
        let text = "trait T { fn a(&self); }\nfn b() -> u8 {\n    if x { 1 } else { 2 }\n}\nfn c() {}\n";
        let found: Vec<_> = Source::new("a.rs", text).functions().into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(found, [("b".to_owned(), 3), ("c".to_owned(), 1)]);
    }
}
