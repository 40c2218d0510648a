//! A file that appears once the process is ready, with the addresses it got as JSON.
//!
//! Whoever starts a process on free ports waits for this file. It is written beside its place and renamed, so that
//! a reader never sees half of it, and removed at the end.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{process::Process, readiness::Status};

/// The ready file of a process. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Removes what an earlier process left, and writes the file from a supervised task whenever the process is
    /// ready and something changed.
    pub(crate) fn start(path: &Path, process: &Process) -> anyhow::Result<Self> {
        remove(path)
            .with_context(|| format!("cannot remove the old ready file {}", path.display()))?;
        process.spawn("ready_file", keep(path.to_owned(), process.clone()));
        Ok(Self(path.to_owned()))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the ready file stays behind");
        }
    }
}

async fn keep(path: PathBuf, process: Process) -> anyhow::Result<()> {
    let drain = process.drain();
    let mut changes = process.readiness().subscribe();
    let mut written = false;
    loop {
        let status = changes.borrow_and_update().clone();
        if status.is_ready() {
            write(&path, &status)
                .with_context(|| format!("cannot write the ready file {}", path.display()))?;
            if !written {
                tracing::info!("ready");
                written = true;
            }
        }
        tokio::select! {
            changed = changes.changed() => changed.context("readiness is gone")?,
            () = drain.started() => return Ok(()),
        }
    }
}

fn write(path: &Path, status: &Status) -> io::Result<()> {
    let text = serde_json::json!({ "admin": status.admin, "listeners": status.listeners });
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    std::fs::write(&beside, format!("{text}\n"))?;
    std::fs::rename(&beside, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
