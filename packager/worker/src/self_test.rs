//! Attempts that a closed sandbox must stop, one per process, for the sandbox's own tests.
//!
//! An attempt that is answered prints the answer; one that is forbidden outright ends the process by SIGSYS.

use std::{fs, io, net::TcpStream, process::Command, thread};

use clap::ValueEnum;

use crate::{
    codec,
    ffi::kernel::attempt as call,
    sandbox::{self, Policy, SandboxError},
};

/// What to try inside.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Attempt {
    /// Nothing; the sandbox alone.
    Nothing,
    /// Reading a file.
    Open,
    /// Listing a directory.
    List,
    /// Connecting to a port.
    Connect,
    /// Running a program.
    Exec,
    /// Making a process.
    Fork,
    /// Writing a file.
    Write,
    /// Looking into the parent.
    Trace,
    /// Memory that can be written and run.
    ExecutableMemory,
    /// More memory than allowed.
    Memory,
    /// More CPU time than allowed.
    Cpu,
    /// A thread, which is allowed.
    Thread,
}

/// Closes the sandbox and tries it; the answer begins with `allowed` or `refused`.
///
/// # Errors
/// The sandbox could not be closed.
pub(crate) fn attempt(attempt: Attempt, policy: Policy) -> Result<String, SandboxError> {
    codec::prepare();
    sandbox::close(&policy)?;
    Ok(match run(attempt) {
        Ok(()) => "allowed".to_owned(),
        Err(error) => format!("refused: {error}"),
    })
}

fn run(attempt: Attempt) -> io::Result<()> {
    match attempt {
        Attempt::Nothing => Ok(()),
        Attempt::Open => fs::File::open("/etc/passwd").map(drop),
        Attempt::List => fs::read_dir("/").map(drop),
        Attempt::Connect => TcpStream::connect("127.0.0.1:9").map(drop),
        Attempt::Exec => Command::new("/bin/true").status().map(drop),
        Attempt::Fork => call::fork(),
        Attempt::Write => fs::write("/tmp/tidegate-worker-self-test", b"x"),
        Attempt::Trace => call::trace(),
        Attempt::ExecutableMemory => call::executable_memory(),
        Attempt::Memory => {
            let mut bytes = Vec::<u8>::new();
            bytes
                .try_reserve_exact(MEMORY_ATTEMPT_BYTES)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            Ok(())
        }
        Attempt::Cpu => loop {
            std::hint::spin_loop();
        },
        Attempt::Thread => {
            thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::ErrorKind::Other.into())
        }
    }
}

/// More than any limit that is used.
const MEMORY_ATTEMPT_BYTES: usize = 64 << 30;
