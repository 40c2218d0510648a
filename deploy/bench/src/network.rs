//! A network of its own for servers and client, with one congestion control for all.
//!
//! What a machine has set for its own TCP must not decide between servers. BBR, which many set, releases packets by
//! timers: on a loopback, and dearest in a virtual machine, a server that sends much at once pays for them with up to
//! two fifths of its CPU time, and one that sends little with nothing.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

/// Starts this program anew in a network of its own. Returns in there, and where the machine does not allow one.
///
/// Called before anything else: the new start has the arguments and the process ID of the first.
pub(crate) fn enter() -> Result<()> {
    if std::env::var_os(ENTERED).is_some() {
        return Ok(());
    }
    let allowed = unshare().args(["sh", "-c", PREPARE]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!(
            "no network of its own here: figures depend on what this machine has set for TCP"
        );
        return Ok(());
    }
    let program = std::env::current_exe().context("finding this program")?;
    let then = format!("{PREPARE} && exec \"$0\" \"$@\"");
    let mut command = unshare();
    command.args(["sh", "-c", &then]).arg(program).args(std::env::args_os().skip(1));
    Err(command.env(ENTERED, "1").exec()).context("running unshare, of util-linux")
}

/// What runs a command in a new network: as root of that alone for those who are not root.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
}

/// Says that this is the second start.
const ENTERED: &str = "TIDEGATE_BENCH_NETWORK";
/// CUBIC is what Linux has when nobody chose.
const PREPARE: &str = "ip link set lo up && echo cubic > /proc/sys/net/ipv4/tcp_congestion_control";
