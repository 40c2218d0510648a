//! `--watch`: what was asked for, again whenever it changes.
//!
//! The API has no stream of these things: it is asked once a second, and what is the same as before is not printed. A
//! control plane that does not answer for a while is waited for; it ends by Ctrl-C, or when there is nothing more to see.

use serde::Serialize;
use serde_json::Value;
use tokio::time::{Duration, sleep};

use super::{
    failure::{Exit, Failure},
    output::Output,
};

/// How it stands after something was shown.
pub(super) struct Shown {
    exit: Exit,
    /// Whether nothing is to come.
    is_over: bool,
}

impl Shown {
    /// There is always more to come.
    pub(super) fn for_good(exit: Exit) -> Self {
        Self { exit, is_over: false }
    }

    /// It ends with [`Exit::Ok`]; before that, the exit code says that it has not.
    pub(super) fn until_done(is_done: bool) -> Self {
        Self { exit: if is_done { Exit::Ok } else { Exit::Failed }, is_over: is_done }
    }
}

/// Shows what `ask` brings: once, or while it is watched.
pub(super) async fn show<T: Serialize>(
    is_watched: bool,
    out: &Output,
    mut ask: impl AsyncFnMut() -> Result<T, Failure>,
    mut print: impl FnMut(&T) -> Result<Shown, Failure>,
) -> Result<Exit, Failure> {
    let mut last = None;
    let mut is_away = false;
    loop {
        match ask().await {
            Ok(now) => {
                is_away = false;
                let seen = serde_json::to_value(&now).ok().map(still);
                if last.is_none() || last != Some(seen.clone()) {
                    let shown = print(&now)?;
                    if !is_watched || shown.is_over {
                        return Ok(shown.exit);
                    }
                    last = Some(seen);
                }
            }
            Err(failure) if is_watched && last.is_some() && failure.exit == Exit::Unavailable => {
                if !is_away {
                    out.note(&format!("{failure}; waiting for it"));
                }
                is_away = true;
            }
            Err(failure) => return Err(failure),
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// A value without what changes all the time: a watch that prints every second tells nobody anything.
fn still(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(still).collect()),
        Value::Object(fields) => {
            let stays = |(name, _): &(String, Value)| !MOVING.contains(&name.as_str());
            let fields = fields.into_iter().filter(stays);
            Value::Object(fields.map(|(name, value)| (name, still(value))).collect())
        }
        other => other,
    }
}

/// Fields that move while nothing happens.
const MOVING: [&str; 6] = [
    "heard_unix_ms",
    "seen_unix_ms",
    "requests_total",
    "hits_total",
    "cache_bytes",
    "certificate_expires_unix_ms",
];
/// As often as nodes report how they are.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::cli::output::{Color, Format};

    #[tokio::test]
    async fn only_what_changed_is_printed_and_an_outage_is_waited_for() {
        let out = Output::new(Format::Json, true, Color::Never, true);
        let away = || Err(Failure::new(Exit::Unavailable, "away"));
        let answers = RefCell::new(vec![Ok(3), away(), Ok(2), Ok(1), Ok(1)]);
        let mut printed = Vec::new();
        let ended = show(
            true,
            &out,
            async || answers.borrow_mut().pop().expect("it is over by then"),
            |number| {
                printed.push(*number);
                Ok(Shown::until_done(*number == 3))
            },
        )
        .await;
        assert_eq!((ended.ok(), printed), (Some(Exit::Ok), vec![1, 2, 3]));
    }

    #[test]
    fn what_moves_all_the_time_is_no_change() {
        let seen = |heard: u64, state: &str| {
            still(serde_json::json!({"nodes": [{"heard_unix_ms": heard, "state": state}]}))
        };
        assert_eq!(seen(1, "up"), seen(2, "up"));
        assert_ne!(seen(1, "up"), seen(1, "down"));
    }

    #[tokio::test]
    async fn without_watching_it_is_shown_once_and_a_failure_is_one() {
        let out = Output::new(Format::Json, true, Color::Never, true);
        let once = show(false, &out, async || Ok(1), |_| Ok(Shown::until_done(false))).await;
        assert_eq!(once.ok(), Some(Exit::Failed));
        let gone = async || Err::<u8, _>(Failure::new(Exit::Unavailable, "away"));
        let ended = show(true, &out, gone, |_| Ok(Shown::for_good(Exit::Ok))).await;
        assert_eq!(ended.err().map(|failure| failure.exit), Some(Exit::Unavailable));
    }
}
