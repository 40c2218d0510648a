//! Runs the commands of faults and purges.
//!
//! A command is a program and its arguments; no shell reads it unless the scenario asks for one. What it prints on
//! standard output is dropped; the end of its standard error is kept for people, and never enters the results.
//!
//! Invariant: a command ends by itself or is killed when its time is over.

use std::{pin::pin, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// `None` when it was not started, killed by a signal or by its time.
    pub(super) exit: Option<i32>,
    /// Why it failed, for people; empty when it did not.
    pub(super) trouble: String,
}

impl Ended {
    pub(super) fn is_good(&self) -> bool {
        self.exit == Some(0)
    }
}

/// Runs a command to its end.
pub(super) async fn run_command(
    words: &[String],
    is_shell: bool,
    environment: &[(&'static str, String)],
    timeout: Duration,
) -> Ended {
    let failed = |exit, trouble: String| Ended { exit, trouble };
    let mut command = match words {
        [] => return failed(None, "there is no command".to_owned()),
        [text] if is_shell => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(text);
            shell
        }
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    command
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(None, format!("cannot be started: {error}")),
    };
    let mut said = Vec::new();
    let stderr = child.stderr.take();
    let ended = async {
        let mut reading = pin!(keep_end(stderr, &mut said));
        tokio::select! {
            () = &mut reading => child.wait().await,
            status = child.wait() => {
                // What it said last still lies in the pipe. A grandchild may keep that open for ever: the command's own
                // end is what counts.
                let _ = tokio::time::timeout(LAST_WORDS_MAX, reading).await;
                status
            }
        }
    };
    let status = match tokio::time::timeout(timeout, ended).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return failed(None, error.to_string()),
        Err(_) => return failed(None, format!("was killed after {timeout:?}")),
    };
    let trouble = if status.success() {
        String::new()
    } else {
        format!("{status}: {}", String::from_utf8_lossy(&said).trim())
    };
    failed(status.code(), trouble)
}

/// Reads to the end, and keeps the last of it.
async fn keep_end(stream: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 1_024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        said.extend_from_slice(&buffer[..count]);
        let surplus = said.len().saturating_sub(SAID_BYTES_MAX);
        said.drain(..surplus);
    }
}

const SAID_BYTES_MAX: usize = 1_024;
/// How long a pipe is read whose command has ended; what it wrote is there already.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(words: &[&str], is_shell: bool) -> Ended {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let environment = [("TIDEGATE_LOAD_COUNT", "7".to_owned())];
        run_command(&words, is_shell, &environment, Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn a_command_is_not_read_by_a_shell_unless_asked_for() {
        assert!(
            run(&["test", "$TIDEGATE_LOAD_COUNT", "=", "$TIDEGATE_LOAD_COUNT"], false)
                .await
                .is_good()
        );
        assert!(run(&["test $TIDEGATE_LOAD_COUNT = 7"], true).await.is_good());
        assert_eq!(run(&["test", "$TIDEGATE_LOAD_COUNT", "=", "7"], false).await.exit, Some(1));
    }

    #[tokio::test]
    async fn trouble_is_told_with_its_end() {
        let ended = run(&["yes x | head -c 100000 >&2; echo broken >&2; exit 3"], true).await;
        assert_eq!(ended.exit, Some(3));
        assert!(ended.trouble.len() < 1_100, "{}", ended.trouble.len());
        let ended = run(&["/nowhere/at/all"], false).await;
        assert!(ended.exit.is_none() && ended.trouble.contains("cannot be started"));
        assert!(!run(&[], false).await.is_good());
    }

    #[tokio::test]
    async fn a_grandchild_that_keeps_the_pipe_open_is_not_waited_for() {
        let ended = run(&["sleep 30 & echo broken >&2; exit 3"], true).await;
        assert_eq!(ended.exit, Some(3));
        assert!(ended.trouble.contains("broken"), "{ended:?}");
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_killed() {
        let words = ["sleep".to_owned(), "600".to_owned()];
        let ended = run_command(&words, false, &[], Duration::from_millis(50)).await;
        assert!(ended.exit.is_none() && ended.trouble.contains("was killed"), "{ended:?}");
    }
}
