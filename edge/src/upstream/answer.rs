//! The answer of an upstream: its head, and its body as it comes.
//!
//! Invariant: the end of the body is said only when the upstream's framing said it. An answer that is dropped before
//! is cut off on its connection.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{
    ask::{Candidate, Tier},
    failed::Failed,
    link::Incoming,
    metrics::Metrics,
    standing::Permit,
};
use crate::error::Failure;

/// The final answer to a request.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its end-to-end headers, `Content-Length` among them when there is one; it is checked against the body.
    pub headers: HeaderMap,
    /// Its body.
    pub body: AnswerBody,
    /// Who answered.
    pub from: Candidate,
    /// When the request that was answered was sent.
    pub asked_at: SystemTime,
    /// When the head came.
    pub answered_at: SystemTime,
    /// How many upstreams were asked, hedges included.
    pub attempts: u32,
    /// How the next hop's cache handled it.
    pub next_hop_cache_status: Option<HeaderValue>,
}

/// The body of an answer.
pub struct AnswerBody {
    /// What was looked at ahead, and is still to be read.
    unread: VecDeque<Bytes>,
    incoming: Incoming,
    permit: Option<Permit>,
    tier: Tier,
    upstream: String,
    metrics: Metrics,
    failed: Option<Failure>,
    /// Held while it is under way, so that it can be counted.
    counted: Option<Arc<()>>,
}

impl AnswerBody {
    pub(super) fn new(
        incoming: Incoming,
        permit: Permit,
        tier: Tier,
        upstream: &str,
        metrics: Metrics,
    ) -> Self {
        let mut body = Self {
            unread: VecDeque::new(),
            incoming,
            permit: Some(permit),
            tier,
            upstream: upstream.to_owned(),
            metrics,
            failed: None,
            counted: None,
        };
        if body.is_empty() {
            body.end();
        }
        body
    }

    /// Holds a count until the body has ended.
    pub(super) fn count(&mut self, counted: Arc<()>) {
        // A permit says that it is under way.
        self.counted = self.permit.is_some().then_some(counted);
    }

    /// Whether there is none, so that the head is everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.incoming, Incoming::Empty)
    }

    /// The next piece; `None` once all of it was there. May be dropped and called again.
    ///
    /// # Errors
    /// When the answer breaks off, makes no sense, or does not go on in time; every later call says the same.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(data) = self.unread.pop_front() {
            return Ok(Some(data));
        }
        self.receive().await
    }

    /// Looks at all of the body, when it is no longer than this; it is still to be read afterwards, as if nobody had.
    /// `None` when it is longer, or breaks off.
    pub async fn look_ahead(&mut self, bytes_max: usize) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        while text.len() <= bytes_max {
            match self.receive().await {
                Ok(Some(data)) => {
                    text.extend_from_slice(&data);
                    self.unread.push_back(data);
                }
                Ok(None) => return Some(text).filter(|text| text.len() <= bytes_max),
                Err(_) => return None,
            }
        }
        None
    }

    /// Gives an answer up that comes so slowly that nobody can be served from it; it counts against its upstream.
    pub fn give_up(&mut self) -> Failure {
        self.fail(&Failed::TooSlow)
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        match self.incoming.next().await {
            Ok(Some(data)) => Ok(Some(data)),
            Ok(None) => {
                self.end();
                Ok(None)
            }
            Err(failed) => Err(self.fail(&failed)),
        }
    }

    /// The trailers, if there are any; after [`AnswerBody::next`] gave `None`.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.incoming.trailers()
    }

    fn end(&mut self) {
        self.counted = None;
        if let Some(mut permit) = self.permit.take() {
            permit.completed();
        }
    }

    fn fail(&mut self, failed: &Failed) -> Failure {
        let failure = failed.failure();
        self.failed = Some(failure);
        self.counted = None;
        // Closes the connection, so that nobody gets the rest.
        self.incoming = Incoming::Empty;
        let permit = self.permit.take();
        if failed.is_upstreams() {
            let tier = self.tier.as_str();
            self.metrics.errors.with_label_values(&[tier, failed.kind()]).inc();
            tracing::debug!(upstream = self.upstream, tier, error = %failed, "an answer broke off");
            if permit.is_some_and(|mut permit| permit.failed()) {
                tracing::warn!(upstream = self.upstream, tier, error = %failed, "upstream opened");
            }
        }
        failure
    }
}
