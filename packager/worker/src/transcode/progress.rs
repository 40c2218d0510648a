//! How far a plan is, from the pixels that were encoded.
//!
//! A frame of a large rung is more work than one of a small rung, so pixels are counted. A container that does not
//! say its length gives no progress before the end. Progress never goes back and reaches 1000 only with the end.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Counts work of all rungs.
#[derive(Debug)]
pub(super) struct Progress {
    expected: u64,
    done: AtomicU64,
    told: Mutex<u16>,
}

impl Progress {
    /// For this many pixels in all; 0 when unknown.
    pub(super) fn new(expected: u64) -> Self {
        Self { expected, done: AtomicU64::new(0), told: Mutex::new(0) }
    }

    /// Counts pixels, and tells the thousandths when they are worth telling.
    ///
    /// Rungs count at the same time. The next one is let in only when the last was told, or a thread that is held up
    /// between the two would tell an older figure after a newer one. An error is that of `tell`; what it could not
    /// tell counts as told.
    pub(super) fn add<E>(
        &self,
        pixels: u64,
        tell: impl FnOnce(u16) -> Result<(), E>,
    ) -> Result<(), E> {
        self.done.fetch_add(pixels, Ordering::Relaxed);
        let mut told = self.told();
        // Read behind the lock: whoever comes later tells no less.
        let Some(permille) = self.permille() else { return Ok(()) };
        if permille < told.saturating_add(STEP) {
            return Ok(());
        }
        *told = permille;
        tell(permille)
    }

    fn permille(&self) -> Option<u16> {
        let done = self.done.load(Ordering::Relaxed);
        let permille = done.saturating_mul(1000).checked_div(self.expected)?.min(PERMILLE_MAX);
        u16::try_from(permille).ok()
    }

    fn told(&self) -> MutexGuard<'_, u16> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Told in steps of one percent.
const STEP: u16 = 10;
/// The rest is told by the end itself.
const PERMILLE_MAX: u64 = 999;

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn it_is_told_in_steps_of_a_percent_and_never_reaches_the_end() {
        let told = told_of(&Progress::new(1000), 2000);
        assert_eq!(told[..3], [10, 20, 30]);
        assert_eq!(told.last(), Some(&990));
        assert!(told.is_sorted());
    }

    #[test]
    fn an_unknown_length_tells_nothing() {
        assert!(told_of(&Progress::new(0), 1).is_empty());
    }

    #[test]
    fn it_never_goes_back_while_a_rung_is_slow_to_tell() {
        let progress = Progress::new(100);
        let (heard, hears) = mpsc::channel();
        let (enters, entered) = mpsc::channel();
        let (lets, is_let) = mpsc::channel();
        thread::scope(|scope| {
            let slow = heard.clone();
            let progress = &progress;
            scope.spawn(move || {
                progress.add(10, |permille| {
                    enters.send(()).expect("the test waits");
                    is_let.recv().expect("the test lets go");
                    slow.send(permille)
                })
            });
            entered.recv().expect("the first rung tells");
            let fast = scope.spawn(move || progress.add(10, |permille| heard.send(permille)));
            // Time enough to tell for one that does not wait.
            let patience = Instant::now() + Duration::from_millis(50);
            while !fast.is_finished() && Instant::now() < patience {
                thread::yield_now();
            }
            lets.send(()).expect("the first rung waits");
            fast.join().expect("no panic").expect("the test hears");
        });
        assert_eq!(hears.iter().collect::<Vec<_>>(), [100, 200]);
    }

    fn told_of(progress: &Progress, pixels: u64) -> Vec<u16> {
        let mut told = Vec::new();
        for _ in 0..pixels {
            let Ok(()) = progress.add(1, |permille| {
                told.push(permille);
                Ok::<_, Infallible>(())
            });
        }
        told
    }
}
