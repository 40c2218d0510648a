//! Which of two processes talks to the control plane while one follows the other.
//!
//! A node has one identity and one place in each stream. Invariant: nobody begins to talk before the other has ended
//! what it was doing, so no answer meant for one is lost in the other.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether it is this process; all clones say the same.
#[derive(Clone)]
pub(super) struct Turn(Arc<watch::Sender<State>>);

struct State {
    is_ours: bool,
    talking: usize,
}

/// Held while somebody here talks.
pub(super) struct Talking(Turn);

impl Turn {
    pub(super) fn new(is_ours: bool) -> Self {
        Self(Arc::new(watch::Sender::new(State { is_ours, talking: 0 })))
    }

    /// Waits until it is this process, and keeps the other from beginning.
    pub(super) async fn begin(&self) -> Talking {
        let mut state = self.0.subscribe();
        loop {
            let begun = self.0.send_if_modified(|state| {
                state.talking += usize::from(state.is_ours);
                state.is_ours
            });
            if begun {
                return Talking(self.clone());
            }
            // The sender lives as long as `self`.
            let _ = state.wait_for(|state| state.is_ours).await;
        }
    }

    /// Waits until it is the other.
    pub(super) async fn ended(&self) {
        let _ = self.0.subscribe().wait_for(|state| !state.is_ours).await;
    }

    /// It is the other process from now on; waits until nobody talks here any more.
    pub(super) async fn let_go(&self) {
        self.0.send_modify(|state| state.is_ours = false);
        let _ = self.0.subscribe().wait_for(|state| state.talking == 0).await;
    }

    /// It is this process from now on.
    pub(super) fn take(&self) {
        self.0.send_modify(|state| state.is_ours = true);
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.talking -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn letting_go_waits_for_those_who_talk_and_nobody_begins_meanwhile() {
        let turn = Turn::new(true);
        let talking = turn.begin().await;
        assert!(turn.ended().now_or_never().is_none());
        let letting_go = turn.clone();
        let mut letting_go = std::pin::pin!(letting_go.let_go());
        assert!(poll!(&mut letting_go).is_pending());
        assert!(turn.ended().now_or_never().is_some());
        let mut next = std::pin::pin!(turn.begin());
        assert!(poll!(&mut next).is_pending(), "it is not our turn");
        drop(talking);
        assert!(poll!(&mut letting_go).is_ready());
        assert!(poll!(&mut next).is_pending());
        turn.take();
        assert!(poll!(&mut next).is_ready());
    }
}
