//! Asks the person before something dangerous is done.
//!
//! Invariant: where nobody can answer, nothing is done without `--yes`.

use std::io::{self, BufRead, IsTerminal};

use super::{
    failure::{Exit, Failure},
    output::Output,
};

/// Goes on when `is_sure`, or when the person types the name of what is at stake.
pub(super) fn confirm(is_sure: bool, name: &str, out: &Output) -> Result<(), Failure> {
    if is_sure {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let text = "this is dangerous and nobody can be asked: add --yes";
        return Err(Failure::new(Exit::Refused, text));
    }
    out.note(&format!("type {name} to go on:"));
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    match read {
        Ok(_) if line.trim() == name => Ok(()),
        _ => Err(Failure::new(Exit::Refused, "not confirmed: nothing was done")),
    }
}
