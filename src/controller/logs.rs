//! Where the process's own words go: standard output, one line for each.

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object in each line.
    Json,
    /// For people.
    Text,
}

/// The least important level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What a pass saw and did.
    Debug,
    /// What changed.
    Info,
    /// What somebody may want to look at.
    Warn,
    /// What went wrong.
    Error,
}

impl LogLevel {
    /// What is logged at this level: the libraries below Serin only speak up at `debug` and beyond, and the client's
    /// request trace calls every answer of the 500s an error although it is retried, and reported where it matters.
    fn directives(self) -> &'static str {
        match self {
            Self::Trace => "trace,hyper=info,h2=info,rustls=info",
            Self::Debug => "info,serin=debug,kube_client::client::builder=off",
            Self::Info => "warn,serin=info,kube_client::client::builder=off",
            Self::Warn => "warn,kube_client::client::builder=off",
            Self::Error => "error,kube_client::client::builder=off",
        }
    }
}

/// The process has a log already.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the log: {0}")]
pub struct LogError(#[from] tracing_subscriber::util::TryInitError);

/// Sends the process's log, panics included, to standard output. Once in a process.
pub fn install(level: LogLevel, format: LogFormat) -> Result<(), LogError> {
    subscriber(level, format, std::io::stdout).try_init()?;
    std::panic::set_hook(Box::new(|panic| tracing::error!("panic: {panic}")));
    Ok(())
}

fn subscriber<W>(level: LogLevel, format: LogFormat, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(level.directives());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_current_span(false).finish()),
        LogFormat::Text => Box::new(lines.finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: LogLevel, format: LogFormat, say: impl FnOnce()) -> Vec<String> {
        let sink = Sink::default();
        let writer = sink.clone();
        tracing::subscriber::with_default(subscriber(level, format, move || writer.clone()), say);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn say() {
        tracing::debug!(target: "serin::test", "details");
        tracing::info!(target: "serin::test", canary = "frontend.default", "step taken");
        tracing::info!(target: "somebody_else", "chatter");
        tracing::error!(target: "kube_client::client::builder", "failed with status 503");
    }

    #[test]
    fn json_lines_carry_level_message_and_fields() {
        let lines = lines(LogLevel::Info, LogFormat::Json, say);
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "step taken");
        assert_eq!(line["canary"], "frontend.default");
    }

    #[test]
    fn each_level_lets_through_what_it_names() {
        for (level, expected) in
            [(LogLevel::Error, 0), (LogLevel::Warn, 0), (LogLevel::Info, 1), (LogLevel::Debug, 3), (LogLevel::Trace, 4)]
        {
            assert_eq!(lines(level, LogFormat::Text, say).len(), expected, "{level:?}");
        }
    }
}
