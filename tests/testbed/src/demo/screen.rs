//! What the demo prints, with the time since its start. The screen itself is that of `serin demo`.

#[path = "../../../../src/cli/demo/screen.rs"]
mod terminal;

use std::io::Stdout;
use std::time::{Duration, Instant};

pub use terminal::Tone;
use terminal::{Look, bar};

/// How often the status is shown on a terminal, and how often where every line stays.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Columns of the bar of a weight.
const BAR: usize = 20;

/// Standard output, as a terminal or as a file. Nobody may be reading any more; what the demo does is the same.
pub struct Screen {
    started: Instant,
    terminal: terminal::Screen<Stdout>,
    last_status: Option<Instant>,
}

impl Screen {
    pub fn new() -> Self {
        let terminal = terminal::Screen::new(std::io::stdout(), Look::of_stdout());
        Self { started: Instant::now(), terminal, last_status: None }
    }

    /// Prints lines that stay.
    pub fn say(&mut self, tone: Tone, text: &str) {
        let _ = self.terminal.say(tone, text);
    }

    /// Prints one thing that happened, with its time since the start.
    pub fn tell(&mut self, tone: Tone, kind: &str, text: &str) {
        let before = format!("{:7.1} s  {kind:<7} ", self.started.elapsed().as_secs_f64());
        let _ = self.terminal.tell(&before, tone, text);
    }

    /// Whether it is time for `show_status`.
    pub fn wants_status(&self) -> bool {
        let interval = if self.terminal.look().is_live { LIVE_INTERVAL } else { PLAIN_INTERVAL };
        self.last_status.is_none_or(|last| last.elapsed() >= interval)
    }

    /// Shows the state of things: in place of the last one on a terminal, else as one more line.
    pub fn show_status(&mut self, lines: Vec<String>) {
        self.last_status = Some(Instant::now());
        if self.terminal.look().is_live {
            let _ = self.terminal.show(lines);
        } else {
            self.tell(Tone::Plain, "now", &lines.join(" | "));
        }
    }

    /// Takes the state of things away.
    pub fn end_status(&mut self) {
        self.last_status = None;
        let _ = self.terminal.show(Vec::new());
    }
}

/// A share of the whole, 0 to 100, as a bar.
pub fn weight_bar(percent: i64) -> String {
    let (filled, empty) = bar(i32::try_from(percent).unwrap_or_default(), BAR);
    filled + &empty
}
