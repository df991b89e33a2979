//! From text to tokens.

use super::{Position, TemplateError};

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Position,
    /// Whether white space stands before it: `variables.x` is a field, `variables .x` is an argument.
    pub(super) spaced: bool,
}

/// Kind of a token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Text outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A function or keyword.
    Word(String),
    /// `$name`; without the dollar sign.
    Variable(String),
    /// `.name`; without the dot, empty for a lone dot.
    Field(String),
    /// A quoted or raw string.
    String(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `|`
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// All tokens of a template; comments are dropped and trim markers are applied.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { rest: text, at: Position { line: 1, column: 1 }, tokens: Vec::new() };
    let mut trim = false;
    loop {
        let found = lexer.rest.find("{{");
        lexer.text(found.unwrap_or(lexer.rest.len()), trim);
        if found.is_none() {
            return Ok(lexer.tokens);
        }
        trim = lexer.action()?;
    }
}

struct Lexer<'a> {
    rest: &'a str,
    at: Position,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    /// Moves over `length` bytes, which end at a character boundary, and gives them.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        for character in taken.chars() {
            if character == '\n' {
                self.at = Position { line: self.at.line + 1, column: 1 };
            } else {
                self.at.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, at: Position, spaced: bool) {
        self.tokens.push(Token { kind, at, spaced });
    }

    /// The text before the next action, trimmed as the markers on its two sides say.
    fn text(&mut self, length: usize, trim_start: bool) {
        let at = self.at;
        let mut text = self.take(length);
        if trim_start {
            text = text.trim_start_matches(is_space);
        }
        if let Some(after) = self.rest.strip_prefix("{{-")
            && after.starts_with(is_space)
        {
            text = text.trim_end_matches(is_space);
        }
        if !text.is_empty() {
            self.push(Kind::Text(text.to_owned()), at, false);
        }
    }

    /// One action from `{{` to `}}`. Says whether the text behind it is to be trimmed.
    fn action(&mut self) -> Result<bool, TemplateError> {
        let open = self.at;
        self.take(2);
        if self.rest.strip_prefix('-').is_some_and(|after| after.starts_with(is_space)) {
            self.take(1);
            self.skip_space();
        }
        if self.rest.starts_with("/*") {
            return self.comment(open);
        }
        self.push(Kind::Open, open, false);
        loop {
            let spaced = self.skip_space();
            let at = self.at;
            if spaced && self.rest.starts_with("-}}") {
                self.take(3);
                self.push(Kind::Close, at, spaced);
                return Ok(true);
            }
            if self.rest.starts_with("}}") {
                self.take(2);
                self.push(Kind::Close, at, spaced);
                return Ok(false);
            }
            let kind = self.token(open)?;
            self.push(kind, at, spaced);
        }
    }

    fn comment(&mut self, open: Position) -> Result<bool, TemplateError> {
        let Some(end) = self.rest.find("*/") else {
            return Err(TemplateError::at(open, "the comment is not closed; end it with `*/}}`"));
        };
        self.take(end + 2);
        let trim = self.skip_space() && self.rest.starts_with('-');
        if trim {
            self.take(1);
        }
        if !self.rest.starts_with("}}") {
            return Err(TemplateError::at(self.at, "`}}` must follow the comment; a comment is an action of its own"));
        }
        self.take(2);
        Ok(trim)
    }

    fn skip_space(&mut self) -> bool {
        let length = self.rest.len() - self.rest.trim_start_matches(is_space).len();
        self.take(length);
        length > 0
    }

    fn token(&mut self, open: Position) -> Result<Kind, TemplateError> {
        let at = self.at;
        let mut characters = self.rest.chars();
        let Some(first) = characters.next() else {
            return Err(TemplateError::at(open, "the action is not closed; end it with `}}`"));
        };
        let second = characters.next();
        let single = |lexer: &mut Self, kind| {
            lexer.take(1);
            Ok(kind)
        };
        match first {
            '(' => single(self, Kind::LeftParen),
            ')' => single(self, Kind::RightParen),
            '|' => single(self, Kind::Pipe),
            '=' => single(self, Kind::Assign),
            ':' if second == Some('=') => {
                self.take(2);
                Ok(Kind::Declare)
            }
            '"' => self.quoted(),
            '`' => self.raw(),
            '$' => {
                self.take(1);
                Ok(Kind::Variable(self.word().to_owned()))
            }
            '.' if !second.is_some_and(|next| next.is_ascii_digit()) => {
                self.take(1);
                Ok(Kind::Field(self.word().to_owned()))
            }
            '+' | '-' | '.' | '0'..='9' => self.number(),
            _ if is_word(first) => Ok(Kind::Word(self.word().to_owned())),
            _ => Err(TemplateError::at(at, format!("unexpected character {first:?} in an action"))),
        }
    }

    fn word(&mut self) -> &'a str {
        let length = self.rest.find(|character| !is_word(character)).unwrap_or(self.rest.len());
        self.take(length)
    }

    /// An optional sign, then letters, digits and dots, with signs after an exponent mark.
    fn number(&mut self) -> Result<Kind, TemplateError> {
        let at = self.at;
        let mut previous = 'e';
        let mut length = 0;
        for character in self.rest.chars() {
            let sign = matches!(character, '+' | '-') && matches!(previous, 'e' | 'E');
            if !sign && character != '.' && !is_word(character) {
                break;
            }
            previous = character;
            length += character.len_utf8();
        }
        let text = self.take(length);
        if let Ok(number) = text.parse() {
            return Ok(Kind::Int(number));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Kind::Float(number)),
            _ => Err(TemplateError::at(at, format!("`{text}` is not a decimal number"))),
        }
    }

    fn raw(&mut self) -> Result<Kind, TemplateError> {
        let at = self.at;
        self.take(1);
        let Some(end) = self.rest.find('`') else {
            return Err(TemplateError::at(at, "the raw string is not closed; end it with a back quote"));
        };
        let text = self.take(end).to_owned();
        self.take(1);
        Ok(Kind::String(text))
    }

    fn quoted(&mut self) -> Result<Kind, TemplateError> {
        let open = self.at;
        self.take(1);
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.character() {
                Some('"') => return Ok(Kind::String(text)),
                Some('\\') => text.push(self.escape(at)?),
                Some(character) if character != '\n' => text.push(character),
                _ => return Err(TemplateError::at(open, "the string is not closed; end it with a double quote")),
            }
        }
    }

    fn character(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.take(character.len_utf8());
        Some(character)
    }

    /// The character behind a backslash, as in Go's interpreted strings (octal escapes excepted).
    fn escape(&mut self, at: Position) -> Result<char, TemplateError> {
        let digits = match self.character() {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some(same @ ('\\' | '"')) => return Ok(same),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        let code = self.rest.get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let Some(character) = code.and_then(char::from_u32) else {
            let message =
                "unknown escape in a string; write a literal backslash as `\\\\`, or use a raw `back-quoted` string";
            return Err(TemplateError::at(at, message));
        };
        self.take(digits);
        Ok(character)
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}
