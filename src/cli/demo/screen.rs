//! What a demo prints: lines that stay and, on a terminal, a panel below them that changes in place.
//!
//! The testbed's demo has this file too, so it knows nothing of Serin.

use std::env;
use std::io::{self, IsTerminal, Write};

/// How wide a terminal is that does not say it.
const COLUMNS: usize = 80;
/// The least that is left for text beside what is before it.
const COLUMNS_MIN: usize = 20;

/// How a text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A new part begins.
    Heading,
    /// As any other.
    Plain,
    /// For whoever wants to know more.
    Faint,
    /// Something moves.
    Move,
    /// Well.
    Good,
    /// Not well.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Heading => "1",
            Self::Plain => "0",
            Self::Faint => "2",
            Self::Move => "36",
            Self::Good => "32",
            Self::Bad => "31",
        }
    }
}

/// What the output can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// It is a terminal: what was printed can be replaced.
    pub is_live: bool,
    /// It shows colours.
    pub has_color: bool,
    /// How wide it is.
    pub columns: usize,
}

impl Look {
    /// A file or a pipe.
    pub const PLAIN: Self = Self { is_live: false, has_color: false, columns: usize::MAX };

    /// Standard output, with what `TERM`, `NO_COLOR` and `COLUMNS` say of it.
    pub fn of_stdout() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        if !io::stdout().is_terminal() || variable("TERM").is_none_or(|terminal| terminal == "dumb") {
            return Self::PLAIN;
        }
        let columns = variable("COLUMNS").and_then(|columns| columns.parse().ok()).unwrap_or(COLUMNS);
        Self { is_live: true, has_color: variable("NO_COLOR").is_none(), columns }
    }
}

/// An output that people look at.
pub struct Screen<W> {
    out: W,
    look: Look,
    panel: Vec<String>,
    /// How many lines of the panel stand there.
    drawn: usize,
}

impl<W: Write> Screen<W> {
    /// Nothing printed yet.
    pub fn new(out: W, look: Look) -> Self {
        Self { out, look, panel: Vec::new(), drawn: 0 }
    }

    /// What it can do.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Prints lines that stay.
    ///
    /// # Errors
    /// Nobody takes them any more.
    pub fn say(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        self.lay_out("", tone, text)
    }

    /// Prints a text that stays after what is `before` it; where it is wrapped, it goes on below itself.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub fn tell(&mut self, before: &str, tone: Tone, text: &str) -> io::Result<()> {
        self.lay_out(before, tone, text)
    }

    /// Shows the panel: on a terminal in place of the last one, and elsewhere not at all.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub fn show(&mut self, panel: Vec<String>) -> io::Result<()> {
        if !self.look.is_live || (panel == self.panel && self.drawn == panel.len()) {
            return Ok(());
        }
        self.panel = panel;
        self.emit(&[])
    }

    /// Text that is meant so.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.look.has_color && tone != Tone::Plain && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }

    fn lay_out(&mut self, before: &str, tone: Tone, text: &str) -> io::Result<()> {
        let indent = before.chars().count();
        let columns = self.look.columns.saturating_sub(indent).max(COLUMNS_MIN);
        let mut lines = Vec::new();
        for line in text.split('\n').flat_map(|line| wrap(line, columns)) {
            let margin = if lines.is_empty() { before.to_owned() } else { " ".repeat(indent) };
            lines.push(format!("{margin}{}", self.paint(tone, &line)));
        }
        self.emit(&lines)
    }

    /// Writes lines where the panel stood, and the panel below them, all at once so that nothing flickers.
    fn emit(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::new();
        if self.look.is_live {
            if self.drawn > 0 {
                text.extend(["\x1b[", &self.drawn.to_string(), "A\r"]);
            }
            // Without cursor, and cut off at the margin: a wrapped line could not be replaced.
            text += "\x1b[?25l";
            text.extend(lines.iter().flat_map(|line| [line, "\x1b[K\n"]));
            text += "\x1b[?7l";
            text.extend(self.panel.iter().flat_map(|line| [line, "\x1b[K\n"]));
            text += "\x1b[?7h\x1b[J\x1b[?25h";
            self.drawn = self.panel.len();
        } else {
            text.extend(lines.iter().flat_map(|line| [line, "\n"]));
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// A line in pieces of at most so many columns, broken between words. What is indented stays so.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    if line.chars().count() <= columns {
        return vec![line.to_owned()];
    }
    let indent: String = line.chars().take_while(|character| *character == ' ').collect();
    let mut lines = vec![indent.clone()];
    let mut is_empty = true;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let length = lines.last().map_or(0, |last| last.chars().count());
        if !is_empty && length + 1 + word.chars().count() > columns {
            lines.push(indent.clone());
            is_empty = true;
        }
        if let Some(last) = lines.last_mut() {
            if !is_empty {
                last.push(' ');
            }
            last.push_str(word);
            is_empty = false;
        }
    }
    lines
}

/// A share of the whole, 0 to 100, as a bar of so many columns; what is more than nothing shows.
pub fn bar(percent: i32, columns: usize) -> (String, String) {
    let share = usize::try_from(percent.clamp(0, 100)).unwrap_or_default();
    let filled = (share * columns).div_ceil(100);
    ("█".repeat(filled), "░".repeat(columns - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Look = Look { is_live: true, has_color: true, columns: 24 };

    #[test]
    fn lines_are_wrapped_between_words_below_themselves() {
        let cases: [(&str, usize, &[&str]); 5] = [
            ("", 10, &[""]),
            ("short", 10, &["short"]),
            ("one two three", 8, &["one two", "three"]),
            ("  one two three", 8, &["  one", "  two", "  three"]),
            ("unbreakable words", 4, &["unbreakable", "words"]),
        ];
        for (text, columns, expected) in cases {
            assert_eq!(wrap(text, columns), expected, "{text}");
        }
    }

    #[test]
    fn a_bar_shows_whatever_is_more_than_nothing() {
        for (percent, filled) in [(-1, 0), (0, 0), (1, 1), (5, 1), (50, 10), (99, 20), (100, 20), (101, 20)] {
            let (full, empty) = bar(percent, 20);
            assert_eq!((full.chars().count(), empty.chars().count()), (filled, 20 - filled), "{percent}");
        }
    }

    fn printed(look: Look, print: impl Fn(&mut Screen<&mut Vec<u8>>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut Screen::new(&mut out, look)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn where_nothing_can_be_replaced_there_are_only_lines() {
        let text = printed(Look::PLAIN, |screen| {
            screen.show(vec!["panel".to_owned()])?;
            screen.tell("1 s  ", Tone::Bad, "a text that is longer than any line should be, and stays in one line")
        });
        assert_eq!(text, "1 s  a text that is longer than any line should be, and stays in one line\n");
    }

    #[test]
    fn on_a_terminal_lines_come_above_the_panel() {
        let text = printed(LIVE, |screen| {
            screen.show(vec!["panel".to_owned(), "of two".to_owned()])?;
            screen.tell("1 s  ", Tone::Good, "all is well with this application")?;
            screen.show(Vec::new())
        });
        let expected = "\x1b[?25l\x1b[?7lpanel\x1b[K\nof two\x1b[K\n\x1b[?7h\x1b[J\x1b[?25h\
            \x1b[2A\r\x1b[?25l1 s  \x1b[32mall is well with\x1b[0m\x1b[K\n     \x1b[32mthis application\x1b[0m\x1b[K\n\
            \x1b[?7lpanel\x1b[K\nof two\x1b[K\n\x1b[?7h\x1b[J\x1b[?25h\
            \x1b[2A\r\x1b[?25l\x1b[?7l\x1b[?7h\x1b[J\x1b[?25h";
        assert_eq!(text, expected);
    }
}
