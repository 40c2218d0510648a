//! `tidegate backup`: a consistent copy of everything the control plane keeps, while it runs; and back.
//!
//! `create` asks the API. `verify` and `restore` are done on the machine where the files are, by the same code as
//! `tidegate-control verify` and `restore`; no server is asked. The file holds secrets: its owner alone may read it, and it
//! stands there whole or not at all. A restore shows what is in the backup and what is in the folder before it asks.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, or_dash},
};
use crate::offline::{self, Contents, Home, RestorePlan};

/// What is done with backups.
#[derive(Subcommand)]
pub(super) enum BackupCommand {
    /// Fetch a backup into a file; it holds no key files, those leave the machine by `tidegate-control backup` alone
    Create {
        /// The file; must not exist
        file: PathBuf,
    },
    /// Check a backup on this machine: its pages, the purge log without holes, the records, the audit log's chain; exit
    /// code 6 when something is wrong
    Verify {
        /// The file
        file: PathBuf,
    },
    /// Put a backup back on this machine, into the data folder of a control plane that does not run; exit code 8 when it does
    Restore {
        /// The file
        file: PathBuf,
        /// The data folder; a database that is there is kept beside
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

/// A file and what it holds.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    #[serde(flatten)]
    contents: Contents,
}

/// What was put where.
#[derive(Serialize)]
struct Restored<'a> {
    file: &'a Path,
    data: &'a Path,
    #[serde(flatten)]
    plan: RestorePlan,
}

/// Runs a command on backups.
pub(super) async fn run(
    command: BackupCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        BackupCommand::Create { file } => create(&file, &client()?, out).await,
        BackupCommand::Verify { file } => verify(&file, out),
        BackupCommand::Restore { file, data } => restore(&file, &data, consent, out).await,
    }
}

async fn create(file: &Path, client: &Client, out: &Output) -> Result<Exit, Failure> {
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
    fs::rename(&beside, file).map_err(failed)?;
    let name = file.display();
    out.print_line(&json!({"file": file, "bytes": bytes}), &name, |_| {
        format!("{bytes} bytes in {name}; check it with: tidegate backup verify {name}")
    })?;
    Ok(Exit::Ok)
}

fn verify(file: &Path, out: &Output) -> Result<Exit, Failure> {
    let contents = read(file)?;
    let checked = Checked { file, contents };
    let name = file.display();
    out.print_line(&checked, &name, |checked| {
        format!("{name}: {}, all in order", words(&checked.contents))
    })?;
    Ok(Exit::Ok)
}

async fn restore(
    file: &Path,
    data: &Path,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let home = Home::from(data);
    // Its own words first: what is wrong with the file has nothing to do with the folder.
    read(file)?;
    let plan = offline::plan_restore(&home, file)
        .map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    planned(&plan, file, data).iter().for_each(|line| out.note(line));
    offline::check_unused(&home).map_err(|error| {
        let failure = Failure::new(Exit::Refused, format!("{error:#}"));
        failure.with_hint("stop the control plane first")
    })?;
    let name = data.file_name().unwrap_or(data.as_os_str()).to_string_lossy();
    if !consent.confirm(&name)? {
        return Ok(Exit::Ok);
    }
    let reason = consent.reason.as_deref().unwrap_or_default();
    let done = offline::restore(&home, file, true, reason).await;
    done.map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    let restored = Restored { file, data, plan };
    out.print_line(&restored, data.display(), |_| {
        format!("{} restored into {}", file.display(), data.display())
    })?;
    out.note("start the control plane as the user whom the folder belongs to");
    Ok(Exit::Ok)
}

fn read(file: &Path) -> Result<Contents, Failure> {
    if !file.is_file() {
        return Err(Failure::new(
            Exit::Usage,
            format!("{}: there is no such file", file.display()),
        ));
    }
    offline::contents(file).map_err(|error| Failure::new(Exit::Invalid, format!("{error:#}")))
}

/// What a restore would do, line by line.
fn planned(plan: &RestorePlan, file: &Path, data: &Path) -> Vec<String> {
    let RestorePlan { backup, there, damage, keys_there } = plan;
    let mut lines = vec![format!("{} holds {}", file.display(), words(backup))];
    let name = data.display();
    lines.push(match (there, damage) {
        (None, None) => format!("{name} holds no state"),
        (Some(there), _) => format!("{name} holds {}; it is kept beside", words(there)),
        (None, Some(why)) => {
            format!("{name} holds a state that is damaged ({why}); it is kept beside")
        }
    });
    if let Some(there) = there
        && there.release > backup.release
    {
        let (newest, back) = (or_dash(there.release), or_dash(backup.release));
        lines.push(format!("nodes get the content of release {back} in the place of {newest}"));
    }
    if backup.keys.is_empty() && keys_there.is_empty() {
        lines.push("neither holds keys: every node has to be enrolled again".to_owned());
    }
    lines.push("what was changed or purged after the backup has to be done again".to_owned());
    lines
}

fn words(contents: &Contents) -> String {
    let Contents { records, purges, purge_head, release, keys } = contents;
    let release = or_dash(*release);
    let keys = if keys.is_empty() { "no keys".to_owned() } else { keys.join(", ") };
    format!(
        "{records} records, {purges} purges up to offset {purge_head}, release {release}, {keys}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_is_lost() {
        let contents = |release, keys: &[&str]| Contents {
            records: 9,
            purges: 2,
            purge_head: 7,
            release,
            keys: keys.iter().map(|name| (*name).to_owned()).collect(),
        };
        let text = |plan: &RestorePlan| planned(plan, Path::new("b"), Path::new("d")).join("\n");
        let mut plan = RestorePlan {
            backup: contents(Some(4), &[]),
            there: Some(contents(Some(6), &[])),
            damage: None,
            keys_there: Vec::new(),
        };
        let both = text(&plan);
        for words in
            ["b holds 9 records, 2 purges up to offset 7, release 4, no keys", "kept beside"]
        {
            assert!(both.contains(words), "{both}");
        }
        assert!(both.contains("release 4 in the place of 6") && both.contains("enrolled again"));
        (plan.there, plan.damage) = (None, Some("pages".to_owned()));
        plan.keys_there.push("ca.key".to_owned());
        let damaged = text(&plan);
        assert!(damaged.contains("damaged (pages)") && !damaged.contains("enrolled again"));
        plan.damage = None;
        assert!(text(&plan).contains("d holds no state"));
    }
}
