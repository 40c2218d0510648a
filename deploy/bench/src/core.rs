//! Which CPU runs the servers and which the client, so that one does not take the other's time.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Two CPUs, or one for all where there is only one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    server: usize,
    client: usize,
}

impl Cores {
    /// The first CPU for servers, the second for the client.
    pub(crate) fn split() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Self { server: 0, client: 1.min(count - 1) }
    }

    /// A server's command, bound to the servers' CPU.
    pub(crate) fn server(self, program: &str) -> Command {
        bound(self.server, program)
    }

    /// A client's command, bound to the client's CPU.
    pub(crate) fn client(self, program: &str) -> Command {
        bound(self.client, program)
    }

    /// Binds this process to the client's CPU. Called before it has other threads.
    pub(crate) fn pin_client(self) -> Result<()> {
        let status = Command::new("taskset")
            .args(["-cp", &self.client.to_string(), &std::process::id().to_string()])
            .stdout(Stdio::null())
            .status()
            .context("running taskset, of util-linux")?;
        ensure!(status.success(), "taskset ended with {status}");
        Ok(())
    }
}

/// Puts this process, and the servers that it starts, before all others. Called before it has other threads.
pub(crate) fn go_first() -> Result<()> {
    let status = Command::new("chrt")
        .args(["-f", "-p", "1", &std::process::id().to_string()])
        .status()
        .context("running chrt, of util-linux")?;
    ensure!(status.success(), "chrt ended with {status}");
    Ok(())
}

fn bound(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}
