//! Waiting for something to become true.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What one look at the world says: the awaited value, or what was seen instead.
pub trait Observation {
    /// What is awaited.
    type Value;
    /// The value, or a description of what was seen instead.
    fn observed(self) -> Result<Self::Value, String>;
}

impl<T> Observation for Option<T> {
    type Value = T;
    fn observed(self) -> Result<T, String> {
        self.ok_or_else(|| "not yet".to_owned())
    }
}

impl<T, E: Display> Observation for Result<T, E> {
    type Value = T;
    fn observed(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// Calls `look` every 50 ms until it gives a value (`Some` or `Ok`).
///
/// A `look` that returns a `Result` says in its error what it saw instead; the last one is part of the timeout's message.
pub async fn wait_until<Look, Seen>(description: &str, timeout: Duration, mut look: Look) -> Result<Seen::Value>
where
    Look: AsyncFnMut() -> Seen,
    Seen: Observation,
{
    let deadline = Instant::now() + timeout;
    let mut last_seen = "nothing".to_owned();
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(remaining.max(POLL_INTERVAL), look()).await {
            Ok(answer) => match answer.observed() {
                Ok(value) => return Ok(value),
                Err(seen) => last_seen = seen,
            },
            Err(_) => last_seen = format!("no answer; before that: {last_seen}"),
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} for {description}; last seen: {last_seen}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
