//! CPU time and memory of a process and its children, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Seconds that a process and its living children have run on a CPU, in user and kernel together: the scheduler's
/// own count of nanoseconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    scheduled(pid, 0)
}

/// Seconds in which they could have run and something else did.
pub(crate) fn waiting_seconds(pid: u32) -> Result<f64> {
    scheduled(pid, 1)
}

/// A sum over all threads of one of the scheduler's counts of nanoseconds.
fn scheduled(pid: u32, field: usize) -> Result<f64> {
    let mut nanoseconds = 0;
    for process in family(pid)? {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let path = thread?.path().join("schedstat");
            // a thread may end between listing and reading; its time is then lost, and it was idle
            let text = fs::read_to_string(path).unwrap_or_default();
            nanoseconds +=
                text.split(' ').nth(field).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(nanoseconds as f64 / 1e9)
}

/// Bytes of memory that are a process's and its children's own, shared pages counted in part.
pub(crate) fn memory_bytes(pid: u32) -> Result<u64> {
    let mut kibibytes = 0;
    for process in family(pid)? {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let value = line.and_then(|line| line.split_whitespace().next()).context("no Pss line")?;
        kibibytes += value.parse::<u64>()?;
    }
    Ok(kibibytes * 1024)
}

fn family(pid: u32) -> Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        for thread in fs::read_dir(format!("/proc/{parent}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    Ok(all)
}
