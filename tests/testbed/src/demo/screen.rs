//! What the demo prints: lines that stay, and below them, on a terminal, a status that changes in place.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the status is shown on a terminal, and how often where every line stays.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How a text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Heading,
    Plain,
    Faint,
    Move,
    Good,
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

/// Standard output, as a terminal or as a file.
pub struct Screen {
    started: Instant,
    is_live: bool,
    has_color: bool,
    status_lines: usize,
    last_status: Option<Instant>,
}

impl Screen {
    pub fn new() -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_live = io::stdout().is_terminal() && env::var("TERM").is_ok_and(|terminal| terminal != "dumb");
        Self {
            started: Instant::now(),
            is_live,
            has_color: is_live && !is_set("NO_COLOR"),
            status_lines: 0,
            last_status: None,
        }
    }

    /// Prints lines that stay.
    pub fn say(&mut self, tone: Tone, text: &str) {
        let mut out = self.clear_status();
        for line in text.lines() {
            out += &self.colored(tone, line);
            out.push('\n');
        }
        print(&out);
    }

    /// Prints one thing that happened, with its time since the start.
    pub fn tell(&mut self, tone: Tone, kind: &str, text: &str) {
        let line = format!("{:7.1} s  {kind:<7} {text}", self.started.elapsed().as_secs_f64());
        self.say(tone, &line);
    }

    /// Whether it is time for `show_status`.
    pub fn wants_status(&self) -> bool {
        let interval = if self.is_live { LIVE_INTERVAL } else { PLAIN_INTERVAL };
        self.last_status.is_none_or(|last| last.elapsed() >= interval) || (self.is_live && self.status_lines == 0)
    }

    /// Shows the state of things: in place of the last one on a terminal, else as one more line.
    pub fn show_status(&mut self, lines: &[String]) {
        self.last_status = Some(Instant::now());
        if !self.is_live {
            return self.tell(Tone::Plain, "now", &lines.join(" | "));
        }
        let mut out = self.clear_status();
        // Lines that are too long end at the margin: a wrapped one could not be taken back.
        out += "\x1b[?7l";
        for line in lines {
            out += line;
            out.push('\n');
        }
        out += "\x1b[?7h";
        self.status_lines = lines.len();
        print(&out);
    }

    fn clear_status(&mut self) -> String {
        match std::mem::take(&mut self.status_lines) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    fn colored(&self, tone: Tone, text: &str) -> String {
        if self.has_color && tone != Tone::Plain {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }
}

fn print(text: &str) {
    // Nobody may be reading any more; what the demo does is the same.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// A share of the whole, 0 to 100, as a bar.
pub fn bar(percent: i64) -> String {
    let filled = (percent.clamp(0, 100) as usize).div_ceil(5);
    format!("{}{}", "█".repeat(filled), "░".repeat(20 - filled))
}
