//! `tidegate backup create`: a consistent copy of everything the control plane keeps, while it runs.
//!
//! The file holds secrets: its owner alone may read it, and it stands there whole or not at all. Restoring and checking
//! one is done on the machine, by `tidegate-control`.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde_json::json;

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::Output,
};

/// What is done with backups.
#[derive(Subcommand)]
pub(super) enum BackupCommand {
    /// Fetch a backup into a file
    Create {
        /// The file; must not exist
        file: PathBuf,
    },
}

/// Runs a command on backups.
pub(super) async fn run(
    command: BackupCommand,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let BackupCommand::Create { file } = command;
    if file.exists() {
        let failure = Failure::new(Exit::Usage, format!("{} exists", file.display()));
        return Err(failure.with_hint("name a new file; a backup is never overwritten"));
    }
    let mut response = client.download("/v1/backup").await?;
    let beside = file.with_extension("part");
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("{}: {error}", beside.display()))
    };
    let mut open = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    let mut bytes = 0_u64;
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| {
            let _ = fs::remove_file(&beside);
            Failure::new(Exit::Unavailable, format!("the backup ended early: {error}"))
        })?;
        let Some(chunk) = chunk else { break };
        bytes += chunk.len() as u64;
        open.write_all(&chunk).map_err(failed)?;
    }
    open.sync_all().map_err(failed)?;
    fs::rename(&beside, &file).map_err(failed)?;
    out.print_line(&json!({"file": file, "bytes": bytes}), |_| written(&file, bytes))?;
    Ok(Exit::Ok)
}

fn written(file: &Path, bytes: u64) -> String {
    format!(
        "{bytes} bytes in {}; check it with: tidegate-control verify {}",
        file.display(),
        file.display()
    )
}
