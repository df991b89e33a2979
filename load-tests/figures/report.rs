//! The figures as a table, and as JSON in `target/figures.json`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One figure.
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub value: f64,
    /// The highest value that is good, where there is one.
    pub goal: Option<f64>,
    /// What it is made of.
    pub detail: Value,
}

/// All figures so far.
pub struct Report {
    figures: Vec<(Figure, Value)>,
}

impl Report {
    pub fn new() -> Self {
        Self { figures: Vec::new() }
    }

    /// Adds a figure, says it, and notes how busy the machine is.
    pub fn add(&mut self, figure: Figure) {
        println!("{}\n    {}", row(&figure), figure.detail);
        self.figures.push((figure, load_average()));
    }

    /// Says all figures and writes them to the file.
    pub fn finish(&self) -> Result<()> {
        println!("\n{:<52} {:>10}    {:<10} goal", "figure", "value", "unit");
        for (figure, _) in &self.figures {
            println!("{}", row(figure));
        }
        let cores = std::thread::available_parallelism().map(std::num::NonZero::get).context("the number of cores")?;
        let figures: Vec<Value> = self.figures.iter().map(|(figure, load)| to_json(figure, load)).collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/figures.json");
        let text = serde_json::to_string_pretty(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cores": cores,
            "figures": figures,
        }))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("\nwith details in {}", path.display());
        Ok(())
    }
}

fn row(figure: &Figure) -> String {
    let goal = figure.goal.map_or_else(String::new, |goal| {
        format!("at most {goal}: {}", if figure.value <= goal { "met" } else { "NOT MET" })
    });
    format!("{:<52} {:>10.3}    {:<10} {goal}", figure.name, figure.value, figure.unit)
}

fn to_json(figure: &Figure, load: &Value) -> Value {
    json!({
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "goal": figure.goal,
        "load_average": load,
        "detail": figure.detail,
    })
}

/// The machine's load of the last minute: other work makes every time longer.
fn load_average() -> Value {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse::<f64>().ok()).map_or(Value::Null, Value::from)
}

/// The middle of these numbers; 0 for none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.get((sorted.len().max(1) - 1) / 2), sorted.get(sorted.len() / 2)) else {
        return 0.0;
    };
    f64::midpoint(*low, *high)
}

/// The highest of these numbers; 0 for none.
pub fn highest(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(0.0, f64::max)
}
