//! Closing the sandbox: resource limits, then Landlock, then seccomp; after that the upload may be read.
//!
//! libav is a million lines of C that parse what strangers send. Whoever takes it over finds a process that cannot
//! open a file, make a socket, start a program, see another process or make memory executable; it can only use the
//! descriptors it was given, and its packager treats what it says as hostile. The sandbox holds for one thread and
//! those it starts later, so it must be entered while there is only one.

mod resource;
mod file_access;
mod system_call;
mod policy;

pub(crate) use policy::{Policy, SandboxError};

/// Closes the sandbox; there is no way back.
///
/// # Errors
/// [`SandboxError`]; nothing of the upload may be read then.
pub(crate) fn close(policy: &Policy) -> Result<(), SandboxError> {
    resource::require_single_thread()?;
    resource::limit(policy)?;
    if policy.confined {
        file_access::deny(policy.gpu)?;
        system_call::confine(policy.gpu)?;
    }
    Ok(())
}
