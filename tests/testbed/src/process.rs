//! A program that a test starts, stops, freezes and starts again, with its output in a file.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What to run: everything that is needed to run it again.
#[derive(Clone, Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    clear_environment: bool,
    log_path: PathBuf,
}

impl Launch {
    /// A program whose standard output and error are appended to `log_path`.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log_path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            clear_environment: false,
            log_path: log_path.into(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts from an empty environment instead of this process's own.
    #[must_use]
    pub fn clear_environment(mut self) -> Self {
        self.clear_environment = true;
        self
    }

    /// The command, ready to spawn.
    pub(crate) fn command(&self) -> Result<Command> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log_path)
            .with_context(|| format!("opening the log {}", self.log_path.display()))?;
        let mut command = Command::new(&self.program);
        if self.clear_environment {
            command.env_clear();
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the log")?)
            .stderr(log);
        Ok(command)
    }

    /// Runs it.
    pub fn spawn(self) -> Result<Process> {
        let child = self.spawn_child()?;
        Ok(Process { launch: self, child })
    }

    fn spawn_child(&self) -> Result<Child> {
        self.command()?.spawn().with_context(|| format!("starting {} ({})", self.name, self.program.display()))
    }
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
}

impl Process {
    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// Its process id, in the testbed's own process namespace.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM); does not wait.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Freezes it (SIGSTOP): it holds its connections and its leases but does nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen program go on (SIGCONT).
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Whether it still runs (or is frozen).
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself; an error after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().context("waiting for a process")? {
                return Ok(status);
            }
            anyhow::ensure!(Instant::now() < deadline, "{} did not end within {timeout:?}", self.name());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end, and kills it when it has not after `grace`.
    pub fn stop(&mut self, grace: Duration) {
        if self.is_running() && self.terminate().and_then(|()| self.wait(grace)).is_err() {
            self.kill();
        }
    }

    /// Runs it again with the same arguments; kills it first if it still runs. The log goes on.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = self.launch.spawn_child()?;
        Ok(())
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map_or_else(|error| format!("(no log: {error})"), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Where its output goes.
    pub fn log_path(&self) -> &Path {
        &self.launch.log_path
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id()).context("a process id")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("sending {signal} to {}", self.name()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
