//! The real programs as processes.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::process::{Child, Command};

use super::{until, within};

/// A `tidegate-control serve` that runs; killed when dropped.
pub(crate) struct Program {
    child: Child,
    /// Where its API listens.
    pub(crate) api: u16,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Starts the control plane on a folder, and waits until it is ready.
    pub(crate) async fn serve(folder: &Path) -> Self {
        let ready_file = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let child = control()
            .arg("serve")
            .args(["--api", "127.0.0.1:0", "--sync", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            .arg("--set")
            .arg(format!("process.ready_file={}", ready_file.display()))
            .args(["--set", "process.log_level=warn"])
            .spawn()
            .expect("the program");
        let ready: Value = until(async || {
            let text = std::fs::read_to_string(&ready_file).ok()?;
            serde_json::from_str(&text).ok()
        })
        .await;
        let api = ready["listeners"]["api"].as_str().expect("an address");
        let api = api.parse::<std::net::SocketAddr>().expect("an address").port();
        Self { child, api }
    }

    /// Kills it where it stands.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// Runs a command of `tidegate-control` on a folder.
    pub(crate) async fn command(folder: &Path, words: &[&str]) -> Ran {
        let mut command = control();
        command.args(words).arg("--data-dir").arg(folder.join("data"));
        ran(command).await
    }
}

/// Runs `tidegate` with nothing in its environment that could guide it.
pub(crate) async fn tidegate(home: &Path, words: &[&str]) -> Ran {
    ran(operators_program(home, words)).await
}

/// `tidegate` with nothing in its environment that could guide it.
pub(crate) fn operators_program(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(words).env("HOME", home);
    for name in ["XDG_CONFIG_HOME", "VISUAL", "EDITOR", "NO_COLOR"] {
        command.env_remove(name);
    }
    for name in ["CONTEXT", "CONTEXT_FILE", "SERVER", "TOKEN_FILE", "CA"] {
        command.env_remove(format!("TIDEGATE_{name}"));
    }
    command
}

impl Ran {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The JSON on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("json on standard output")
    }
}

fn control() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-control"));
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) async fn ran(mut command: Command) -> Ran {
    command.kill_on_drop(true).stdin(Stdio::null());
    let Output { status, stdout, stderr } = within(command.output()).await.expect("it runs");
    Ran {
        code: status.code().expect("not killed"),
        stdout: String::from_utf8(stdout).expect("text"),
        stderr: String::from_utf8(stderr).expect("text"),
    }
}
