//! CPU time of a process and its children, user and kernel together, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// The kernel's clock ticks per second as `/proc` shows them; 100 on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds that a process and its living children have used.
pub(crate) fn seconds_of(pid: u32) -> Result<f64> {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut ticks = ticks_of(pid)?;
    for child in children.split_whitespace() {
        ticks += ticks_of(child.parse()?)?;
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

fn ticks_of(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid}"))?;
    // the second word is the name in brackets and may hold spaces
    let (_, after_name) = stat.rsplit_once(')').context("a stat line without a name")?;
    let words: Vec<&str> = after_name.split_whitespace().collect();
    let word = |index: usize| words.get(index).context("a short stat line");
    Ok(word(11)?.parse::<u64>()? + word(12)?.parse::<u64>()?)
}
