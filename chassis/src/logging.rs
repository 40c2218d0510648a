//! Sets up the log: text for a person at a terminal, one JSON object a line for everything else, to stderr.
//!
//! Records of dependencies that write to the `log` crate arrive in the same place. A panic becomes one log line
//! with its place, so that it does not break a stream of JSON. Records with the target [`ACCESS`] come often: they are
//! written many at a time, at most [`lines::FLUSH_TIME`] later than others.

use std::{
    fs,
    io::{self, IsTerminal},
    os::unix::fs::FileTypeExt,
    sync::OnceLock,
};

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, fmt, fmt::writer::MakeWriterExt, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    lines::{self, Lines},
    recent::{ACCESS, Limits, Recent},
};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text when stderr is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoggingError {
    #[error("log level {level:?} is not understood: {reason}")]
    Level { level: String, reason: String },
    #[error("no thread to write the log: {0}")]
    Thread(#[from] io::Error),
}

/// Whether `level` reads as a filter: `info`, or `info,pingora=warn`.
pub(crate) fn check_level(level: &str) -> Result<(), LoggingError> {
    filter(level).map(drop)
}

/// Sets the log up for this process, and keeps so much of it for [`recent`]. Where one is set up already (a test binary)
/// that one stays.
pub(crate) fn init(level: &str, format: LogFormat, kept: Limits) -> Result<(), LoggingError> {
    let text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let often = Lines::to(io::stderr(), chunk_bytes_max())?;
    let _ = OFTEN.set(often.clone());
    let writer = often.with_filter(|meta| meta.target() == ACCESS).or_else(io::stderr);
    let lines = fmt().with_env_filter(filter(level)?).with_writer(writer);
    let recent = (!kept.is_none()).then(|| Recent::new(kept));
    if text {
        start(lines.with_ansi(io::stderr().is_terminal()).finish(), recent);
    } else {
        start(lines.json().flatten_event(true).finish(), recent);
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The newest lines of this process's log, where some are kept.
pub(crate) fn recent() -> Option<Recent> {
    RECENT.get().cloned()
}

fn start(
    lines: impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
    recent: Option<Recent>,
) {
    // An error says that a log is already set up.
    let Some(recent) = recent else {
        let _ = lines.try_init();
        return;
    };
    if lines.with(recent.clone()).try_init().is_ok() {
        let _ = RECENT.set(recent);
    }
}

/// Writes the lines that wait.
pub(crate) fn flush() {
    if let Some(often) = OFTEN.get() {
        often.flush();
    }
}

/// Lets tests see warnings of what they run, or more with `RUST_LOG`.
pub(crate) fn init_for_test() {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let _ = fmt().with_env_filter(level).with_test_writer().finish().try_init();
}

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| LoggingError::Level { level: level.to_owned(), reason: error.to_string() })
}

fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("(no message)");
    tracing::error!(panic.place = place, panic.message = message, "panicked");
}

/// How much one call may write so that no other process, as in an upgrade, writes into the middle of a line: a pipe
/// promises that for a page only.
fn chunk_bytes_max() -> usize {
    let is_pipe = fs::metadata("/proc/self/fd/2").is_ok_and(|found| found.file_type().is_fifo());
    if is_pipe { PIPE_BYTES_MAX } else { lines::FLUSH_BYTES }
}

/// `PIPE_BUF` of Linux.
const PIPE_BYTES_MAX: usize = 4096;

static OFTEN: OnceLock<Lines> = OnceLock::new();
static RECENT: OnceLock<Recent> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_level_keeps_out_of_the_log_is_not_kept_either() {
        let recent = Recent::new(Limits { lines: 10, bytes: 1 << 20 });
        let lines = fmt().with_env_filter(filter("warn,loud=debug").unwrap()).with_writer(io::sink);
        tracing::subscriber::with_default(lines.finish().with(recent.clone()), || {
            tracing::info!("quiet");
            tracing::warn!("heard");
            tracing::debug!(target: "loud", "heard too");
        });
        let kept = recent.behind(0).lines;
        let said: Vec<_> = kept.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(said, ["heard", "heard too"]);
    }

    #[test]
    fn a_level_is_a_word_or_a_list_of_targets() {
        for (level, understood) in [
            ("info", true),
            ("warn,tidegate_edge=debug", true),
            ("off", true),
            ("info,pingora=loud", false),
            ("a=b=c", false),
        ] {
            assert_eq!(check_level(level).is_ok(), understood, "{level}");
        }
    }
}
