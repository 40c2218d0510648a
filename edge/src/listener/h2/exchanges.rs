//! What the exchanges of one connection share with it and with one another.
//!
//! Invariant: the number of open exchanges falls when a guard is dropped, also when its task panics, and the
//! connection's task is told.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
};

use futures::task::AtomicWaker;

use super::{gather::Gather, order::Order};
use crate::listener::{
    account::{Account, EXCHANGE, Grant, WINDOW_MIN},
    config::Limits,
    pace::Rules,
};

/// Shared by a connection and its exchanges.
pub(super) struct Exchanges {
    open: AtomicUsize,
    /// The connection's task.
    connection: AtomicWaker,
    order: Mutex<Order>,
    pub(super) gather: Gather,
    /// How slowly a client may take a response.
    pub(super) taking: Rules,
    /// How slowly it may send a request's body.
    pub(super) sending: Rules,
    send_buffer: usize,
    account: Account,
}

/// One open exchange.
pub(super) struct OpenExchange(pub(super) Arc<Exchanges>, Grant);

impl Exchanges {
    pub(super) fn new(gather: Gather, limits: &Limits, account: Account) -> Arc<Self> {
        let rules = |still_max| Rules {
            still_max,
            rate_min: limits.rate_min.as_u64(),
            behind_max: limits.rate_grace,
        };
        Arc::new(Self {
            open: AtomicUsize::new(0),
            connection: AtomicWaker::new(),
            order: Mutex::default(),
            gather,
            taking: rules(limits.write_timeout),
            sending: rules(limits.body_timeout),
            send_buffer: usize::try_from(limits.send_buffer.as_u64()).unwrap_or(usize::MAX),
            account,
        })
    }

    /// Counts one exchange as open until the guard is dropped; `None` when there is no room for it.
    pub(super) fn begin(self: &Arc<Self>) -> Option<OpenExchange> {
        let room = self.account.grant(EXCHANGE)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(OpenExchange(self.clone(), room))
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The task that is told when the last exchange ends.
    pub(super) fn listen(&self, cx: &Context<'_>) {
        self.connection.register(cx.waker());
    }

    pub(super) fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenExchange {
    /// How much of a response may wait for the client; more when it is large and there is room.
    pub(super) fn send_buffer(&mut self, is_large: bool) -> usize {
        let buffer = self.0.send_buffer;
        if is_large && self.1.cover(EXCHANGE + buffer as u64) {
            return buffer;
        }
        buffer.min(WINDOW_MIN as usize)
    }
}

impl Drop for OpenExchange {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.connection.wake();
        }
    }
}
