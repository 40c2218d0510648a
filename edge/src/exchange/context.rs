//! One exchange: what is known of a request on its way through the phases.
//!
//! A leaf: phases write into it, the log reads. Invariant: nothing in here outlives the exchange.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderName, HeaderValue, StatusCode};
use tidegate_contract::tier::TierRequest;

use super::{cache_status::Handled, cmcd::Cmcd};
use crate::{
    cache::wishes::Wishes,
    error::Failure,
    fetch::{Forward, NodeName, Route},
    guard::Meters,
    listener::{Downstream, stream::StreamLost},
};

/// The state of one exchange.
pub(super) struct Exchange {
    /// When the request's head was complete, for durations.
    pub(super) arrived_at: Instant,
    /// The same as time of day, for ages.
    pub(super) began_at: SystemTime,
    /// Its name in the logs of every program that it passes.
    pub(super) id: HeaderValue,
    /// The client's side.
    pub(super) downstream: Downstream,
    /// This node as it calls itself.
    pub(super) node: Arc<NodeName>,
    /// Where it goes; absent when the request was refused before.
    pub(super) route: Option<Route>,
    /// The node that asks, when another node of the same control plane does.
    pub(super) child: Option<TierRequest>,
    /// Why the cache is not asked at all.
    pub(super) pass: Option<Pass>,
    /// What the client says about the freshness that it wants.
    pub(super) wishes: Wishes,
    /// Headers that the guard adds to whatever is answered.
    pub(super) granted: Vec<(HeaderName, HeaderValue)>,
    /// Whom the bytes of the answer are counted for.
    pub(super) meters: Meters,
    /// The token's name in logs.
    pub(super) token: Option<[u8; 8]>,
    /// What the player says of itself.
    pub(super) cmcd: Option<Box<Cmcd>>,
    /// How the cache handled it.
    pub(super) handled: Handled,
    /// The exchange with upstream.
    pub(super) forward: Option<Forward>,
    /// The status that was answered with.
    pub(super) status: Option<StatusCode>,
}

/// Why an exchange passes the cache by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The method is neither GET nor HEAD.
    Method,
    /// The property keeps nothing.
    Policy,
    /// The request has a body.
    Shape,
    /// The asking node knows of purges that this one has not applied in time.
    Behind,
    /// The client wants neither its request nor the answer in a store.
    Wish,
}

/// Why an exchange ended before its answer was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended(pub(super) Failure);

impl Exchange {
    /// What is known of a request as it comes.
    pub(super) fn new(
        downstream: Downstream,
        arrived_at: Instant,
        began_at: SystemTime,
        node: Arc<NodeName>,
    ) -> Self {
        Self {
            arrived_at,
            began_at,
            id: fresh_id(),
            downstream,
            node,
            route: None,
            child: None,
            pass: None,
            wishes: Wishes::default(),
            granted: Vec::new(),
            meters: Meters::default(),
            token: None,
            cmcd: None,
            handled: Handled::None,
            forward: None,
            status: None,
        }
    }

    /// The id as text.
    pub(super) fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

impl Pass {
    /// The reason in logs and in `Cache-Status`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Policy => "policy",
            Self::Shape => "shape",
            Self::Behind => "behind",
            Self::Wish => "request",
        }
    }
}

impl From<StreamLost> for Ended {
    fn from(lost: StreamLost) -> Self {
        tracing::debug!(%lost, "the client is gone");
        Self(Failure::GONE)
    }
}

/// 32 random hex digits.
fn fresh_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random: [u8; 16] = rand::random();
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&text).expect("hex digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_long_and_differ() {
        let (one, two) = (fresh_id(), fresh_id());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
        assert!(one.to_str().unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
