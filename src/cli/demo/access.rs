//! The demo's cluster for kubectl: its API on a port of this machine, and a kubeconfig that leads there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::sim::api_server::{ApiServer, Caller};
use crate::sim::loopback::{self, LoopbackError};

/// Why kubectl can't be let in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No port.
    #[error(transparent)]
    Loopback(#[from] LoopbackError),
    /// The port has no address.
    #[error("cannot serve the Kubernetes API: {0}")]
    Address(#[source] io::Error),
    /// The file is not ours.
    #[error("{} is there already, and no kubeconfig of a demo; name another file", .0.display())]
    Taken(PathBuf),
    /// The file can't be written.
    #[error("cannot write the kubeconfig {}: {source}; name a file that can be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Lets kubectl in while it lives. The kubeconfig goes with it, since it leads nowhere then.
pub struct Access {
    path: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<Result<(), LoopbackError>>,
}

impl Access {
    /// Serves on a free port, and writes the kubeconfig.
    ///
    /// # Errors
    /// There is no port, or the file can't be written.
    pub async fn open(server: &ApiServer, path: &Path) -> Result<Self, AccessError> {
        let listener = loopback::bind(0).await?;
        let kubeconfig = loopback::kubeconfig(listener.local_addr().map_err(AccessError::Address)?);
        if fs::read_to_string(path).map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |text| !is_ours(&text))
        {
            return Err(AccessError::Taken(path.to_owned()));
        }
        fs::write(path, kubeconfig).map_err(|source| AccessError::Write { path: path.to_owned(), source })?;
        let stop = CancellationToken::new();
        let caller = Caller { user: "kubectl".to_owned(), ..Caller::default() };
        let task = tokio::spawn(loopback::serve(listener, server.clone(), caller, stop.clone()));
        Ok(Self { path: path.to_owned(), stop, task })
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a file is a kubeconfig that a demo left, because it was killed.
fn is_ours(text: &str) -> bool {
    text.contains(&format!("\"current-context\": \"{}\"", loopback::NAME))
}
