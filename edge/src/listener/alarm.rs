//! One timer for a connection that is set anew with every request: it touches the runtime's timers rarely.
//!
//! Invariant: it never fires before the time it was last set for.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A time that may be moved as often as one likes.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: Option<Instant>,
    /// Sleeps until `at` or any time before; it is moved when it wakes too early, not when `at` moves away.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Fires at this time instead of any other.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = Some(at);
    }

    /// Does not fire.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Whether a time is set.
    pub(super) fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Ready when the time has come; it is not set any more then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= at {
                self.at = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_fires_at_the_time_last_set() {
        let begin = Instant::now();
        let second = |n| begin + Duration::from_secs(n);
        let mut alarm = Alarm::default();
        alarm.set(second(10));
        assert!(poll_fn(|cx| alarm.poll(cx)).now_or_never().is_none());
        alarm.set(second(30));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(Instant::now(), second(30), "moved away");

        alarm.set(second(60));
        assert!(poll_fn(|cx| alarm.poll(cx)).now_or_never().is_none());
        alarm.set(second(40));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(Instant::now(), second(40), "moved closer");

        assert!(!alarm.is_set());
        alarm.set(second(50));
        alarm.clear();
        let cleared = tokio::time::timeout(Duration::from_secs(99), poll_fn(|cx| alarm.poll(cx)));
        assert!(cleared.await.is_err());
    }
}
