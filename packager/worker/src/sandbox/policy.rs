//! What a sandbox is asked for, and why it may not close.
//!
//! An error here means that nothing was confined for certain, so nothing may be read.

use std::io;

/// How a process is to be confined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Landlock and seccomp; without them only the resource limits hold.
    pub(crate) confined: bool,
    /// Leaves the device nodes of NVIDIA cards reachable.
    pub(crate) gpu: bool,
    /// Address space, in bytes.
    pub(crate) memory_bytes: u64,
    /// CPU time of all threads together.
    pub(crate) cpu_seconds: u64,
}

/// Why the sandbox is not closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// A call of the preparation failed.
    #[error("cannot prepare the sandbox: {0}")]
    Prepare(#[from] io::Error),
    /// Threads that were started before would stay outside.
    #[error("{0} threads are running, the sandbox would hold only one of them")]
    Threads(usize),
    /// Landlock refused.
    #[error("cannot confine files: {0}")]
    Files(#[from] landlock::RulesetError),
    /// The kernel has no Landlock, or it is switched off.
    #[error("this kernel does not enforce Landlock; --unsandboxed runs without it")]
    NotEnforced,
    /// The filter of system calls could not be built.
    #[error("cannot build the filter of system calls: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// The kernel refused the filter.
    #[error("cannot confine system calls: {0}; --unsandboxed runs without it")]
    SystemCalls(#[from] seccompiler::Error),
}
