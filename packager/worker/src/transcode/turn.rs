//! Who may flush: rungs end from the smallest to the largest.
//!
//! Encoders hold back many frames until they are flushed. A rung waits with that until all smaller ones have ended,
//! so the smallest is complete, and can be published, before the last samples of a larger one exist.

use std::sync::{Condvar, Mutex, PoisonError};

/// The places that have ended.
#[derive(Debug)]
pub(super) struct Turn {
    ended: Mutex<Vec<bool>>,
    changed: Condvar,
}

/// A place; it ends when this is dropped, whatever the reason.
#[derive(Debug)]
pub(super) struct Place<'a> {
    turn: &'a Turn,
    place: usize,
}

impl Turn {
    /// For this many rungs.
    pub(super) fn new(places: usize) -> Self {
        Self { ended: Mutex::new(vec![false; places]), changed: Condvar::new() }
    }

    /// Takes a place; 0 is the smallest rung's.
    pub(super) fn take(&self, place: usize) -> Place<'_> {
        Place { turn: self, place }
    }
}

impl Place<'_> {
    /// Waits until all smaller rungs have ended.
    pub(super) fn wait(&self) {
        let ended = self.turn.ended.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.turn
                .changed
                .wait_while(ended, |ended| ended[..self.place].contains(&false))
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turn.ended.lock().unwrap_or_else(PoisonError::into_inner)[self.place] = true;
        self.turn.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn places_end_from_the_smallest_on() {
        let turn = Turn::new(3);
        let (end, ends) = mpsc::channel();
        thread::scope(|scope| {
            for place in [2, 1, 0] {
                let (turn, end) = (turn.take(place), end.clone());
                scope.spawn(move || {
                    turn.wait();
                    end.send(place).expect("the test reads it");
                });
            }
        });
        assert_eq!(ends.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
