//! A file that appears once the process is ready, with the addresses it got and its number as JSON.
//!
//! Whoever starts a process on free ports waits for this file. It is written beside its place and renamed, so that
//! a reader never sees half of it, and removed at the end, unless another process has written its own meanwhile.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;

use crate::{process::Process, readiness::Status};

/// The ready file of a process. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct ReadyFile {
    path: PathBuf,
    /// What was written last.
    written: Arc<Mutex<Option<Identity>>>,
}

/// A file among all of its file system.
type Identity = (u64, u64);

impl ReadyFile {
    /// Removes what an earlier process left, unless this one follows it, and writes the file from a supervised task
    /// whenever the process is ready and something changed.
    pub(crate) fn start(
        path: &Path,
        is_following: bool,
        process: &Process,
    ) -> anyhow::Result<Self> {
        if !is_following {
            remove(path)
                .with_context(|| format!("cannot remove the old ready file {}", path.display()))?;
        }
        let written = Arc::new(Mutex::new(None));
        process.spawn("ready_file", keep(path.to_owned(), written.clone(), process.clone()));
        Ok(Self { path: path.to_owned(), written })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        let ours = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if ours.is_none() || identity(&self.path).ok() != ours {
            return;
        }
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the ready file stays behind");
        }
    }
}

async fn keep(
    path: PathBuf,
    ours: Arc<Mutex<Option<Identity>>>,
    process: Process,
) -> anyhow::Result<()> {
    let drain = process.drain();
    let mut changes = process.readiness().subscribe();
    let mut written = false;
    loop {
        let status = changes.borrow_and_update().clone();
        if status.is_ready() {
            let file = write(&path, &status)
                .with_context(|| format!("cannot write the ready file {}", path.display()))?;
            *ours.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
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

/// Writes the file, and says which one it is.
fn write(path: &Path, status: &Status) -> io::Result<Identity> {
    let text = serde_json::json!({
        "admin": status.admin,
        "listeners": status.listeners,
        "pid": std::process::id(),
    });
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    std::fs::write(&beside, format!("{text}\n"))?;
    let written = identity(&beside)?;
    std::fs::rename(&beside, path)?;
    Ok(written)
}

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
