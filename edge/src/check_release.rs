//! Judges a release in a process of its own, so that one that makes a reader fail, hang or take all memory harms nobody.
//!
//! The node starts this program anew, hands it the release on standard input and reads the verdict: exit code 0, or
//! another one and the reason on standard output. Limits are set before the first byte is read and cannot be raised
//! again. The node judges again what passed, with the same code.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use tidegate_contract::id::PopId;

use crate::{
    control::{CHECK_BYTES_MAX, judge},
    listener::tls,
    policy::PolicyHandle,
};

/// Judges the release on standard input for a PoP.
#[must_use]
pub fn run(pop: &PopId) -> ExitCode {
    match limit()
        .and_then(|()| read())
        .map_err(|error| error.to_string())
        .and_then(|bytes| check(&bytes, pop))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Whoever asked may be gone; the exit code says it too.
            let _ = io::stdout().write_all(reason.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn limit() -> io::Result<()> {
    for (resource, most) in [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, FILES_MAX),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

fn read() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().take(CHECK_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > CHECK_BYTES_MAX {
        return Err(io::Error::other(format!("more than {CHECK_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn check(bytes: &[u8], pop: &PopId) -> Result<(), String> {
    let snapshot = judge(bytes, pop)?;
    // Certificates are read as the listeners read them.
    tidegate_chassis::init_crypto();
    tls::check(&snapshot.certificates).map_err(|error| error.to_string())?;
    PolicyHandle::default().install(snapshot).map_err(|error| error.to_string())
}

/// Address space: the largest release several times over, and what the program itself maps.
const MEMORY_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// The largest release takes well below a second.
const CPU_SECONDS_MAX: u64 = 10;
/// The standard ones and a few that libraries open.
const FILES_MAX: u64 = 16;
