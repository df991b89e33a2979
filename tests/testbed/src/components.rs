//! Where the real components are: built by the `build` script next to this crate.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

const VARIABLE: &str = "SERIN_TESTBED_COMPONENTS";

/// The path of each component, by its name.
#[derive(Clone, Debug)]
pub(crate) struct Components {
    /// Lines of `name=path`, as the build script prints them.
    text: String,
    paths: BTreeMap<String, PathBuf>,
}

impl Components {
    /// Builds what is missing; that takes ten minutes at first and no time after.
    pub(crate) fn build() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build");
        let output = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("running {}", script.display()))?;
        ensure!(output.status.success(), "the components could not be built");
        Ok(Self::parse(String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Those that the process outside has built.
    pub(crate) fn from_environment() -> Result<Self> {
        let text = env::var(VARIABLE).context("not inside a testbed: call serin_testbed::enter() first in main")?;
        Ok(Self::parse(text))
    }

    /// Tells them to a command that is about to start inside.
    pub(crate) fn hand_down(&self, command: &mut Command) {
        command.env(VARIABLE, &self.text);
    }

    /// The path of one component.
    pub(crate) fn path(&self, name: &str) -> Result<&Path> {
        self.paths.get(name).map(PathBuf::as_path).with_context(|| format!("the build script knows no {name}"))
    }

    fn parse(text: String) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let paths = pairs.map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect();
        Self { text, paths }
    }
}
