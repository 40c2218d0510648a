//! What the exchanges of one connection share with it and with one another.
//!
//! Invariant: the lock is never held across a wait, nor while an exchange is asked to go on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use super::state::State;
use crate::listener::{
    account::{Account, EXCHANGE, Grant},
    config::Limits,
    pace::Rules,
    tcp::Transport,
};

/// Shared by a connection and its exchanges.
pub(super) struct Shared {
    state: Mutex<State>,
    /// How slowly a client may take a response.
    pub(super) taking: Rules,
    /// How slowly it may send a request's body.
    pub(super) sending: Rules,
    /// As much of a large response may wait for the client.
    pub(super) send_buffer: usize,
    account: Account,
}

impl Shared {
    pub(super) fn new(io: Transport, limits: &Limits, account: Account) -> Arc<Self> {
        let rules = |still_max| Rules {
            still_max,
            rate_min: limits.rate_min.as_u64(),
            behind_max: limits.rate_grace,
        };
        Arc::new(Self {
            state: Mutex::new(State::new(io)),
            taking: rules(limits.write_timeout),
            sending: rules(limits.body_timeout),
            send_buffer: usize::try_from(limits.send_buffer.as_u64()).unwrap_or(usize::MAX),
            account,
        })
    }

    /// What one exchange more may hold; `None` when there is no room for it.
    pub(super) fn room(&self) -> Option<Grant> {
        self.account.grant(EXCHANGE)
    }

    /// Nothing yet of what the connection itself may hold beside its place.
    pub(super) fn nothing(&self) -> Grant {
        self.account.nothing()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `turn` have a turn of the connection's task: what exchanges hand over meanwhile leaves at its end, and
    /// nobody needs to be woken for it.
    pub(super) fn turn<T>(
        &self,
        cx: &mut Context<'_>,
        turn: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.lock().begin_turn(cx.waker());
        let polled = turn(cx);
        self.lock().end_turn();
        polled
    }
}
