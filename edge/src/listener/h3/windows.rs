//! The windows of one QUIC connection: small when it comes, as large as its way needs once it moves much, and small again
//! when it rests. While there is much room it gets the largest: what waits in it leaves in the order of priorities, what
//! waits for it does not.
//!
//! Invariant: a window is never larger than what was taken for it from the account of all clients.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::VarInt;

use crate::listener::{
    account::{Account, Grant, WINDOW_MIN},
    quic,
};

/// What is granted to one connection.
pub(super) struct Windows {
    state: Mutex<State>,
    account: Account,
    send_max: u64,
    receive_max: u64,
}

struct State {
    room: Grant,
    send: u64,
    receive: u64,
}

impl Windows {
    pub(super) fn new(account: &Account, config: &quic::Config) -> Self {
        let (send_max, receive_max) = (config.send_window.as_u64(), config.receive_window.as_u64());
        let state = State { room: account.nothing(), send: WINDOW_MIN, receive: WINDOW_MIN };
        Self { state: Mutex::new(state), account: account.clone(), send_max, receive_max }
    }

    /// A large response is under way: lets it have as much in flight as its way takes.
    pub(super) fn widen(&self, quic: &quinn::Connection) {
        if self.state().send >= self.send_max {
            return;
        }
        let of_way = || quic.stats().path.cwnd.saturating_mul(WAYS).max(LARGE_MIN);
        let wanted =
            if self.account.is_tight() { of_way().min(self.send_max) } else { self.send_max };
        let mut state = self.state();
        let beside = extra(state.receive);
        if wanted > state.send && state.room.cover(beside + extra(wanted)) {
            state.send = wanted;
            quic.set_send_window(wanted);
        }
    }

    /// A request has a body: lets more of it wait here.
    pub(super) fn open(&self, quic: &quinn::Connection) {
        let mut state = self.state();
        let beside = extra(state.send);
        if self.receive_max > state.receive && state.room.cover(beside + extra(self.receive_max)) {
            state.receive = self.receive_max;
            quic.set_receive_window(varint(self.receive_max));
        }
    }

    /// Nothing is under way any more.
    pub(super) fn narrow(&self, quic: &quinn::Connection) {
        let mut state = self.state();
        if state.send > WINDOW_MIN {
            state.send = WINDOW_MIN;
            quic.set_send_window(WINDOW_MIN.min(self.send_max));
        }
        if state.receive > WINDOW_MIN {
            state.receive = WINDOW_MIN;
            quic.set_receive_window(varint(WINDOW_MIN));
        }
        state.room.shrink(0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a window takes beyond what the connection took when it came.
fn extra(window: u64) -> u64 {
    window.saturating_sub(WINDOW_MIN)
}

fn varint(bytes: u64) -> VarInt {
    VarInt::from_u64(bytes).unwrap_or(VarInt::MAX)
}

/// Congestion windows that may be written ahead: the way may take twice as much a round trip later.
const WAYS: u64 = 4;
/// The first step: nothing is known of the way yet.
const LARGE_MIN: u64 = 256 << 10;
