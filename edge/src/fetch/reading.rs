//! Reading what is stored or being stored, beyond what can go wrong on the way: a fill that grows too large passes on,
//! and what the disk does not give any more comes from upstream.
//!
//! Invariant: every byte is of the representation whose head the client got.

use std::sync::Arc;

use super::{relay::Receiving, rest::Rest, shared::Shared, walk::Lost, wanted::Wanted};
use crate::{
    cache::{body::Body, key::Key, object::Head},
    error::Failure,
    upstream::AnswerBody,
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

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
    /// Upstream is asked for the rest.
    Rest(BoxFuture<'static, Result<AnswerBody, Lost>>),
    Upstream(Box<AnswerBody>),
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

    /// The next bytes, when they lie in memory and nothing can come in between.
    pub fn at_hand(&mut self) -> Option<Bytes> {
        match &mut self.source {
            Source::Body(body) if self.relay.is_none() => body.at_hand(),
            _ => None,
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
                Source::Rest(asked) => {
                    self.source = Source::Upstream(Box::new(asked.await?));
                    continue;
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
            let Some(spare) = self.spare.take() else { return Err(BROKEN) };
            // Kept, because this read may be dropped while upstream is being asked.
            let end = self.end;
            self.source = Source::Rest(async move { spare.rest(position, end).await }.boxed());
        }
    }
}

impl Spare {
    /// The rest of a body from upstream, which must have the very same representation.
    async fn rest(&self, start: u64, end: Option<u64>) -> Result<AnswerBody, Lost> {
        let Self { shared, wanted, head, .. } = self;
        shared.parts.store.remove(self.key, self.fill);
        shared.parts.metrics.background.with_label_values(&["disk"]).inc();
        let rest = Rest::of_head(head).ok_or(BROKEN)?.until(end);
        let answer = rest.ask(shared, wanted, start, None).await.map_err(Lost)?;
        Ok(answer.body)
    }
}

const BROKEN: Lost = Lost(Failure::BROKEN);
