//! An alarm that is not late by a millisecond: the runtime's own timers are, because they have that grain and so has its
//! wait for sockets.
//!
//! Invariant: it is ready no earlier than its time.

use std::{
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, Sleep, sleep_until},
};

/// One alarm, set again and again.
pub(super) struct Alarm {
    /// The system's own; the runtime's where it has none for us.
    timer: Option<AsyncFd<OwnedFd>>,
    sleep: Pin<Box<Sleep>>,
    set_for: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set. Needs a runtime.
    pub(super) fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).ok();
        Self {
            timer: timer.and_then(watched),
            sleep: Box::pin(sleep_until(Instant::now())),
            set_for: None,
        }
    }

    /// Ready at the time.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, due: Instant) -> Poll<()> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            if self.set_for != Some(due) {
                self.set(due, left);
            }
            let Some(timer) = &self.timer else { return self.sleep.as_mut().poll(context) };
            match ready!(timer.poll_read_ready(context)) {
                Ok(mut guard) => {
                    // What is left over of an earlier time is only taken away.
                    let _ = rustix::io::read(timer.get_ref(), &mut [0_u8; 8]);
                    guard.clear_ready();
                }
                Err(_) => {
                    self.timer = None;
                    self.set_for = None;
                }
            }
        }
    }

    fn set(&mut self, due: Instant, left: Duration) {
        self.set_for = Some(due);
        let once = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            // Nothing at all would switch it off.
            it_value: timespec(left.clamp(Duration::from_nanos(1), LEFT_MAX)),
        };
        let is_set = self.timer.as_ref().is_some_and(|timer| {
            timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once).is_ok()
        });
        if !is_set {
            self.timer = None;
            self.sleep.as_mut().reset(due);
        }
    }
}

/// The descriptor, with its readiness told by the runtime.
#[expect(
    deprecated,
    reason = "what took its place is unsafe, for descriptors that change; an owned one stays open and the same"
)]
fn watched(timer: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::new(timer).ok()
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

/// It is set again when that is over.
const LEFT_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_is_never_early_and_can_be_set_again() {
        for has_timer in [true, false] {
            let mut alarm = Alarm::new();
            assert!(alarm.timer.is_some(), "the system has timers of its own");
            if !has_timer {
                alarm.timer = None;
            }
            for wait in [3_000, 0, 1, 700, 1_500] {
                let due = Instant::now() + Duration::from_micros(wait);
                poll_fn(|context| alarm.poll(context, due)).await;
                assert!(Instant::now() >= due);
            }
        }
    }

    #[tokio::test]
    async fn an_earlier_time_takes_the_place_of_a_later_one() {
        let mut alarm = Alarm::new();
        let far = Instant::now() + Duration::from_secs(3_600);
        let is_set = poll_fn(|context| Poll::Ready(alarm.poll(context, far).is_pending())).await;
        assert!(is_set);
        let near = Instant::now() + Duration::from_millis(1);
        let rung = poll_fn(|context| alarm.poll(context, near));
        tokio::time::timeout(Duration::from_secs(60), rung).await.unwrap();
    }
}
