//! Reading what is stored or being stored, beyond what can go wrong on the way: a fill that grows too large passes on,
//! and what the disk does not give any more comes from upstream.
//!
//! Invariant: every byte is of the representation whose head the client got.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, header};

use super::{
    relay::Receiving,
    shared::{Question, Shared},
    slice::strong_validator,
    walk::Lost,
    wanted::Wanted,
};
use crate::{
    cache::{
        body::Body,
        key::Key,
        object::Head,
        range::{ContentRange, Span, enclosed},
    },
    error::Failure,
    upstream::AnswerBody,
};

/// A reader of one stored body.
pub struct Reading {
    source: Source,
    relay: Option<Receiving>,
    spare: Option<Box<Spare>>,
    end: Option<u64>,
}

enum Source {
    Body(Body),
    Relay,
    Upstream(AnswerBody),
}

/// How to go on when the disk fails.
pub(super) struct Spare {
    pub(super) shared: Arc<Shared>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) key: Key,
    pub(super) head: Arc<Head>,
    pub(super) fill: u64,
}

impl Reading {
    /// Reads a body from its beginning.
    #[must_use]
    pub fn of(body: Body) -> Self {
        Self { source: Source::Body(body), relay: None, spare: None, end: None }
    }

    /// Goes on with what passes when the fill grows too large.
    #[must_use]
    pub(super) fn with_relay(mut self, relay: Option<Receiving>) -> Self {
        self.relay = relay;
        self
    }

    /// Goes on with upstream when the disk fails.
    #[must_use]
    pub(super) fn with_spare(mut self, spare: Spare) -> Self {
        self.spare = Some(Box::new(spare));
        self
    }

    /// Goes on at `start` and stops before `end`.
    pub fn seek(&mut self, start: u64, end: u64) {
        if let Source::Body(body) = &mut self.source {
            body.seek(start, Some(end));
            self.end = Some(end);
        }
    }

    /// The next bytes; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    /// [`Lost`]: the rest does not come.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Lost> {
        loop {
            let body = match &mut self.source {
                Source::Body(body) => body,
                Source::Relay => {
                    let Some(relay) = &mut self.relay else { return Err(BROKEN) };
                    return relay.next().await.map_err(|_| BROKEN);
                }
                Source::Upstream(body) => return body.next().await.map_err(Lost),
            };
            let position = body.position();
            let read = match &mut self.relay {
                None => body.read().await,
                Some(relay) => tokio::select! {
                    biased;
                    read = body.read() => read,
                    from = relay.from() => {
                        if position >= from {
                            self.source = Source::Relay;
                        }
                        continue;
                    }
                },
            };
            let Err(_) = read else { return read.map_err(|_| BROKEN) };
            let Some(spare) = &self.spare else { return Err(BROKEN) };
            let rest = spare.rest(position, self.end).await?;
            self.source = Source::Upstream(rest);
        }
    }
}

impl Spare {
    /// The rest of a body from upstream, which must have the very same representation.
    async fn rest(&self, start: u64, end: Option<u64>) -> Result<AnswerBody, Lost> {
        let Self { shared, wanted, head, .. } = self;
        shared.parts.store.remove(self.key, self.fill);
        shared.parts.metrics.background.with_label_values(&["disk"]).inc();
        let (Some(validator), Some(length)) = (strong_validator(&head.headers), head.length) else {
            return Err(BROKEN);
        };
        let span = Span { start, end: end.unwrap_or(length).min(length) };
        let mut headers = wanted.unconditional();
        headers.insert(header::RANGE, span.to_range());
        let question = Question { method: Method::GET, headers, body: None, interim: None };
        let answer = shared.ask(wanted, question).await.map_err(Lost)?;
        let is_rest = answer.status == StatusCode::PARTIAL_CONTENT
            && enclosed(&answer.headers) == Some(ContentRange::of(span, length))
            && strong_validator(&answer.headers).as_ref() == Some(&validator);
        if is_rest { Ok(answer.body) } else { Err(BROKEN) }
    }
}

const BROKEN: Lost = Lost(Failure::BROKEN);
