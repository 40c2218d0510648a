//! Limits on memory, CPU time, files and processes, set before anything else.
//!
//! They hold with and without the rest of the sandbox, and cannot be raised again.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::policy::{Policy, SandboxError};
use crate::ffi::kernel::{self, Resource};

/// Waits until threads that ended are gone from the kernel's list, and refuses when some stay.
pub(super) fn require_single_thread() -> Result<(), SandboxError> {
    let start = Instant::now();
    loop {
        let threads = fs::read_dir("/proc/self/task")?.count();
        if threads == 1 {
            return Ok(());
        }
        if start.elapsed() > THREAD_END_WAIT {
            return Err(SandboxError::Threads(threads));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sets all limits.
pub(super) fn limit(policy: &Policy) -> Result<(), SandboxError> {
    kernel::limit_malloc_arenas(MALLOC_ARENAS);
    kernel::ignore_file_size_signal();
    let open_files = if policy.gpu { OPEN_FILES_WITH_GPU } else { OPEN_FILES };
    for (resource, value) in [
        (Resource::AddressSpace, policy.memory_bytes),
        (Resource::CpuSeconds, policy.cpu_seconds),
        (Resource::FileSize, 0),
        (Resource::OpenFiles, open_files),
        (Resource::CoreFile, 0),
    ] {
        kernel::limit(resource, value)?;
    }
    Ok(kernel::hide_and_follow_parent()?)
}

/// How long joined threads may take to leave the kernel's list.
const THREAD_END_WAIT: Duration = Duration::from_secs(2);
/// An arena reserves 64 MiB of address space; this many are enough for decoder and encoders.
const MALLOC_ARENAS: i32 = 8;
/// Descriptors 0 to 4 are in use, nothing may open more.
const OPEN_FILES: u64 = 8;
/// A card's driver opens device nodes.
const OPEN_FILES_WITH_GPU: u64 = 256;
