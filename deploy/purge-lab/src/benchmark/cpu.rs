//! CPU time of a process from `/proc`: user and kernel, in seconds.

use std::fs;

use anyhow::Context;

/// What a process has used until now.
pub(super) fn seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/schedstat");
    let mut nanoseconds = 0_u64;
    // By thread: the process's own line counts its first thread alone.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context(path)?;
    for thread in threads {
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// The memory of a process that is its own, in MiB.
pub(super) fn memory_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
