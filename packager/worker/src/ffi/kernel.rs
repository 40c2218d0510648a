//! Calls into the kernel and the C library that std has no face for.
//!
//! All of them only restrict this process or describe it. Each returns the system's error instead of hiding it.

use std::{
    fs::File,
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// What [`limit`] bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource {
    AddressSpace,
    CpuSeconds,
    FileSize,
    OpenFiles,
    CoreFile,
}

/// An open descriptor that the parent left, as a file.
pub(crate) fn descriptor(number: i32) -> io::Result<File> {
    // SAFETY: F_GETFD only asks whether the descriptor is open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, was inherited, and each number is taken once per process.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Closes every descriptor from `first` on, whatever a parent forgot to close.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: called at the start, before this process opened anything of its own.
    checked(unsafe { libc::close_range(first, u32::MAX, 0) })
}

/// Sets a resource limit that cannot be raised again.
pub(crate) fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let resource = match resource {
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::CpuSeconds => libc::RLIMIT_CPU,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::CoreFile => libc::RLIMIT_CORE,
    };
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` outlives the call.
    checked(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// Hides the memory of this process from others of the same user, and ends it with its parent's thread.
pub(crate) fn hide_and_follow_parent() -> io::Result<()> {
    // SAFETY: both options take plain numbers.
    unsafe {
        checked(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
        checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))
    }
}

/// A write beyond the file size limit fails with an error instead of ending the process: stderr may be a file.
pub(crate) fn ignore_file_size_signal() {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Bounds the number of malloc arenas: each reserves address space, and there is a limit on that.
pub(crate) fn limit_malloc_arenas(arenas: i32) {
    // SAFETY: called before any other thread exists.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

/// Lets other threads go first; threads that this one starts inherit it. Failing only costs order.
pub(crate) fn lower_thread_priority(nice: i32) {
    // SAFETY: who = 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

fn checked(status: i32) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Attempts for the sandbox's own test; each answers what the kernel said, if the process still lives.
pub(crate) mod attempt {
    use std::io;

    use super::checked;

    /// A child process.
    pub(crate) fn fork() -> io::Result<()> {
        // SAFETY: the child ends at once and touches nothing.
        match unsafe { libc::fork() } {
            // SAFETY: ends the child without running anything of the parent's.
            0 => unsafe { libc::_exit(0) },
            pid => checked(pid),
        }
    }

    /// Memory that can be written and run.
    pub(crate) fn executable_memory() -> io::Result<()> {
        // SAFETY: a fresh anonymous mapping; nothing in it is run.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Looking into another process.
    pub(crate) fn trace() -> io::Result<()> {
        // SAFETY: attaching to the parent's pid; refused or the process ends.
        let parent = unsafe { libc::getppid() };
        // SAFETY: as above; the address and data are not used by PTRACE_ATTACH.
        let status = unsafe { libc::ptrace(libc::PTRACE_ATTACH, parent, 0, 0) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
