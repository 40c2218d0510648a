//! Somebody at a command line, with a home and a context of their own.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{Ran, TestControl, program, within};

/// Somebody with a home and a context of their own.
pub(crate) struct Person {
    pub(crate) home: tempfile::TempDir,
}

/// A command that goes on until it is ended; killed when dropped.
pub(crate) struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Person {
    /// Somebody without a control plane.
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a folder") }
    }

    /// Somebody with a token for one.
    pub(crate) async fn with_token(control: &TestControl, token: &str) -> Self {
        let person = Self::new();
        let token = person.file("token", &format!("{token}\n"));
        let ca = person.file("ca.pem", &control.ca_pem);
        let server = format!("https://localhost:{}", control.api.port());
        let words =
            ["context", "add", "test", "--server", &server, "--token-file", &token, "--ca", &ca];
        person.run(&words).await.expect(0);
        person
    }

    /// Makes somebody else, with a token that this person makes.
    pub(crate) async fn invite(&self, control: &TestControl, label: &str, words: &[&str]) -> Self {
        let create = [&["token", "create", "--label", label], words].concat();
        let made = self.run(&create).await.expect(0);
        Self::with_token(control, made.stdout.trim()).await
    }

    /// A file of theirs.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).expect("writable");
        // Whatever this user's umask is: some stories are about files that others may read.
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("its own");
        path.to_str().expect("text").to_owned()
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        program::ran(self.command(words)).await
    }

    /// Runs a command with more in its environment.
    pub(crate) async fn run_with(&self, env: &[(&str, &str)], words: &[&str]) -> Ran {
        let mut command = self.command(words);
        command.envs(env.iter().copied());
        program::ran(command).await
    }

    /// Starts a command that does not end by itself.
    pub(crate) fn watch(&self, words: &[&str]) -> Watching {
        let mut command = self.command(words);
        command.kill_on_drop(true).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it runs");
        let out = child.stdout.take().expect("piped");
        Watching { child, lines: BufReader::new(out).lines() }
    }

    /// `tidegate` with some words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        program::operators_program(self.home.path(), words)
    }
}

impl Watching {
    /// Waits for a line with a text in it.
    pub(crate) async fn sees(&mut self, text: &str) {
        loop {
            let line = within(self.lines.next_line()).await.expect("readable");
            if line.unwrap_or_else(|| panic!("it ended before {text:?}")).contains(text) {
                return;
            }
        }
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(mut self) -> i32 {
        let drained = async { while let Ok(Some(_)) = self.lines.next_line().await {} };
        within(drained).await;
        within(self.child.wait()).await.expect("it runs").code().expect("not killed")
    }

    /// Presses Ctrl-C, and waits.
    pub(crate) async fn interrupt(self) -> i32 {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status();
        assert!(sent.await.expect("a shell").success());
        self.end().await
    }
}
