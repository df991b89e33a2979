//! `serin crd`: the custom resource definitions as YAML.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::api::crd;

/// Print the custom resource definitions, or write them into a directory.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct CrdArgs {
    /// Write one file for each definition into this directory, instead of printing them
    #[arg(long, alias = "output", value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
}

/// Runs `serin crd`. Exit code 2 means that nothing, or not everything, could be written.
#[allow(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments by value")]
pub fn run(args: CrdArgs, out: &mut dyn Write) -> ExitCode {
    match write(&args, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be told to whoever closed standard error too.
            let _ = writeln!(std::io::stderr(), "serin crd: {error}");
            ExitCode::from(2)
        }
    }
}

/// The definitions by file name, each as YAML.
pub fn files() -> Result<Vec<(String, String)>, serde_saphyr::SerializeError> {
    crd::all().iter().map(|crd| Ok((format!("{}.yaml", crd.spec.names.plural), yaml(crd)?))).collect()
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::SerializeError> {
    serde_saphyr::to_string(crd)
}

fn write(args: &CrdArgs, out: &mut dyn Write) -> Result<(), Error> {
    let files = files()?;
    let Some(directory) = &args.directory else {
        for (_, yaml) in files {
            write!(out, "---\n{yaml}")?;
        }
        return Ok(());
    };
    for (name, yaml) in files {
        let path = directory.join(name);
        std::fs::write(&path, yaml).map_err(|source| Error::File { path: path.display().to_string(), source })?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// Why the definitions could not be written.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The definitions have no YAML form.
    #[error("cannot turn a definition into YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// Standard output is gone.
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
    /// A file can't be written.
    #[error("cannot write {path}: {source}; does the directory exist?")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}
