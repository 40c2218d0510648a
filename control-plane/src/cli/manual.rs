//! `tidegate completions, man`: made from the command line itself, so that they cannot say anything else.

use std::{fs, io, path::Path};

use clap::Command;
use clap_complete::Shell;

use super::failure::{Exit, Failure};

/// Writes the completions of a shell to standard output.
pub(super) fn completions(shell: Shell, mut command: Command) -> Exit {
    clap_complete::generate(shell, &mut command, "tidegate", &mut io::stdout());
    Exit::Ok
}

/// Writes one manual page for each command into a folder.
pub(super) fn manual(folder: &Path, command: Command) -> Result<Exit, Failure> {
    let written =
        fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", folder.display())))?;
    Ok(Exit::Ok)
}
