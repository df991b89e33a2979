//! The folder that holds a running testbed's files: data, logs, keys.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use anyhow::{Context, Result};

/// Tells programs inside where the state folder is.
pub(crate) const STATE_VARIABLE: &str = "SERIN_TESTBED_STATE";

/// The folders to remove when a signal ends this process.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The folder; removed when dropped, unless it is to be kept.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    keep: bool,
}

impl StateDir {
    pub(crate) fn create(path: Option<PathBuf>, keep: bool) -> Result<Self> {
        let path = path.map_or_else(temporary_path, Ok)?;
        fs::create_dir_all(path.join("pods")).with_context(|| format!("creating {}", path.display()))?;
        let path = fs::canonicalize(&path).with_context(|| format!("the full path of {}", path.display()))?;
        if !keep {
            TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        }
        Ok(Self { path, keep })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing depends on it any more; the next boot empties the folder for temporary files.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn temporary_path() -> Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?;
    // Short: a Unix socket's path has at most 107 bytes.
    Ok(env::temp_dir().join(format!("serin-testbed.{}", now.as_nanos())))
}

/// Removes the folders of all testbeds of this process, as far as they are not to be kept.
pub(crate) fn remove_all() {
    for path in TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let _ = fs::remove_dir_all(path);
    }
}
