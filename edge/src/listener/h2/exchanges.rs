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
use crate::listener::{config::Limits, pace::Rules};

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
    pub(super) send_buffer: usize,
}

/// One open exchange.
pub(super) struct OpenExchange(pub(super) Arc<Exchanges>);

impl Exchanges {
    pub(super) fn new(gather: Gather, limits: &Limits) -> Arc<Self> {
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
        })
    }

    /// Counts one exchange as open until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> OpenExchange {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenExchange(self.clone())
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

impl Drop for OpenExchange {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.connection.wake();
        }
    }
}
