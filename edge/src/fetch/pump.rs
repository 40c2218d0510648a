//! From an answer's body to a fill.
//!
//! Never waits for a reader. Where an upstream breaks off, the rest comes from another one that has the same
//! representation. Invariant: what broke off, fell short, or grew beyond what may be kept fails every reader
//! and is not stored.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    mpd, pace::Pace, playlist::Playlist, relay::Sending, rest::Rest, shared::Shared, wanted::Wanted,
};
use crate::{
    cache::{arrival::Unstorable, media_class::MediaClass, store::Fill},
    upstream::{Answer, Candidate},
};

/// A running fill.
pub(super) struct Pump {
    shared: Arc<Shared>,
    wanted: Arc<Wanted>,
    /// Given up early when what was brought so far has been read and nothing of it is kept.
    fill: Option<Fill>,
    answer: Answer,
    is_wanted_anyway: bool,
    /// Whether it is for those who wait, and for nobody after them.
    is_for_the_moment: bool,
    /// For readers of a body that grows too large.
    relay: Option<Sending>,
    /// What its rest must be, should it break off.
    rest: Option<Rest>,
    /// How often it went on somewhere else.
    resumed: usize,
    /// The text of a playlist, as far as it came.
    text: Option<Vec<u8>>,
    brought: u64,
    /// How much was brought when the last reader was seen.
    brought_to_readers: u64,
}

/// How a fill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// Beyond what may be kept, but whole for its readers.
    Passed,
    Failed,
    Abandoned,
}

impl Pump {
    pub(super) fn new(
        shared: Arc<Shared>,
        wanted: Arc<Wanted>,
        fill: Fill,
        answer: Answer,
        is_wanted_anyway: bool,
    ) -> Self {
        let class = fill.head().class;
        let is_playlist = class == MediaClass::Manifest && answer.status.is_success();
        Self {
            shared,
            wanted,
            fill: Some(fill),
            is_wanted_anyway,
            is_for_the_moment: false,
            relay: None,
            rest: Rest::of_answer(&answer),
            resumed: 0,
            answer,
            text: is_playlist.then(Vec::new),
            brought: 0,
            brought_to_readers: 0,
        }
    }

    /// With a way on for readers of a body that grows too large.
    pub(super) fn with_relay(mut self, relay: Option<Sending>) -> Self {
        self.relay = relay;
        self
    }

    /// For those who wait, and for nobody after them.
    pub(super) fn for_the_moment(mut self) -> Self {
        self.is_for_the_moment = true;
        self
    }

    /// Runs to the end of the body; true when it was a live playlist that stands still.
    pub(super) async fn run(mut self) -> bool {
        let began = Instant::now();
        let end = self.fill_up().await;
        let Self { shared, wanted, fill, answer, text, is_for_the_moment, .. } = self;
        let (metrics, store) = (&shared.parts.metrics, &shared.parts.store);
        let result = match end {
            // The connection first: whoever reads the last byte may ask for more.
            End::Whole => {
                drop(answer.body);
                let number = fill.as_ref().map_or(0, Fill::id);
                match fill.map(Fill::finish) {
                    Some(Ok(_)) if is_for_the_moment => {
                        store.remove(wanted.route.key, number);
                        "passed"
                    }
                    Some(Ok(_)) => {
                        metrics.fill_seconds.observe(began.elapsed().as_secs_f64());
                        "stored"
                    }
                    Some(Err(_)) | None => "failed",
                }
            }
            End::Failed => "failed",
            End::Passed => "passed",
            End::Abandoned => "abandoned",
        };
        metrics.fills.with_label_values(&[result]).inc();
        let text = text.filter(|_| result == "stored");
        let playlist = text.as_deref().and_then(manifest);
        playlist.is_some_and(|playlist| learn(&shared, &wanted, &playlist, answer.from))
    }

    async fn fill_up(&mut self) -> End {
        let bytes_max = self.shared.bytes_max(&self.wanted.route);
        let finish_alone = self.shared.parts.config.finish_alone.as_u64();
        let mut pace = self.pace();
        loop {
            let data = match pace.next(&mut self.answer.body).await {
                Ok(Some(data)) => data,
                Ok(None) => return End::Whole,
                Err(failure) => {
                    tracing::debug!(kind = failure.kind, "a fill broke off");
                    if self.resume().await {
                        pace = self.pace();
                        continue;
                    }
                    return End::Failed;
                }
            };
            if self.brought + data.len() as u64 > bytes_max {
                return self.pass_on(data).await;
            }
            self.brought += data.len() as u64;
            let Some(fill) = &mut self.fill else { return End::Failed };
            if let Err(error) = fill.write(&data) {
                tracing::debug!(%error, "a fill failed");
                return End::Failed;
            }
            let (readers, length) = (fill.readers(), fill.head().length);
            self.keep_text(&data);
            if readers > 0 {
                self.brought_to_readers = self.brought;
            } else if !self.is_wanted_anyway {
                let alone = self.brought - self.brought_to_readers;
                if !is_worth_finishing(self.brought, alone, length, finish_alone) {
                    return End::Abandoned;
                }
            }
        }
    }

    fn pace(&self) -> Pace {
        let config = &self.shared.parts.config;
        Pace::new(config.fill_rate_min.as_u64(), config.fill_rate_time, Instant::now())
    }

    /// Goes on where it broke off, with the same representation of another upstream, or of the same one if there is no
    /// other; readers notice nothing but the wait.
    async fn resume(&mut self) -> bool {
        let is_read = self.fill.as_ref().is_some_and(|fill| fill.readers() > 0);
        let Some(rest) = &self.rest else { return false };
        if !(is_read || self.is_wanted_anyway) || self.resumed >= RESUMES_MAX {
            return false;
        }
        self.resumed += 1;
        self.shared.parts.metrics.background.with_label_values(&["rest"]).inc();
        let from = Some(self.answer.from);
        match rest.ask(&self.shared, &self.wanted, self.brought, from).await {
            Ok(answer) => {
                self.answer = answer;
                true
            }
            Err(failure) => {
                tracing::debug!(kind = failure.kind, "the rest does not come either");
                false
            }
        }
    }

    /// Too large: what comes from here on passes to those who read it now, and the next ones ask for themselves.
    async fn pass_on(&mut self, first: Bytes) -> End {
        let (key, reason) = (self.wanted.route.key, Unstorable::Size.as_str());
        self.shared.unstorable.note(key, reason);
        self.shared.parts.metrics.unstorable.with_label_values(&[reason]).inc();
        self.shared.parts.store.forget(&key);
        let Some(mut relay) = self.relay.take() else { return End::Failed };
        relay.start(self.brought);
        let mut next = Some(first);
        while let Some(data) = next {
            // Its memory is not held longer than somebody reads it.
            self.fill.take_if(|fill| fill.readers() == 0);
            if !relay.send(&data).await {
                return End::Abandoned;
            }
            next = match self.answer.body.next().await {
                Ok(next) => next,
                Err(_) => return End::Failed,
            };
        }
        relay.end().await;
        End::Passed
    }

    fn keep_text(&mut self, data: &[u8]) {
        if let Some(text) = &mut self.text {
            if text.len() + data.len() > PLAYLIST_BYTES_MAX {
                self.text = None;
            } else {
                text.extend_from_slice(data);
            }
        }
    }
}

/// Whether a fill that nobody reads any more goes on: little is missing, or most of it is there.
fn is_worth_finishing(brought: u64, alone: u64, length: Option<u64>, finish_alone: u64) -> bool {
    match length {
        Some(length) => {
            length.saturating_sub(brought) <= finish_alone || brought.saturating_mul(2) > length
        }
        None => alone <= finish_alone,
    }
}

/// A live playlist or MPD.
pub(super) fn manifest(text: &[u8]) -> Option<Playlist<'_>> {
    Playlist::read(text).or_else(|| mpd::read(text))
}

/// Takes note of what a playlist says; true when it stands still.
fn learn(shared: &Shared, wanted: &Wanted, playlist: &Playlist<'_>, from: Candidate) -> bool {
    let route = &wanted.route;
    if route.property().cache.prefetch.segments > 0 {
        shared.playlists.note_order(route, playlist);
    }
    shared.playlists.saw(route, playlist, from)
}

/// How often one fill goes on somewhere else: two upstreams that break off are bad luck, three are no upstreams.
const RESUMES_MAX: usize = 2;
/// The longest playlist that is read: 10 hours of 4-second segments with long names.
pub(super) const PLAYLIST_BYTES_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_finished_when_little_is_missing_or_most_is_there() {
        for (brought, alone, length, expected) in [
            (10, 10, Some(100), true),
            (10, 10, Some(1000), false),
            (501, 10, Some(1000), true),
            (500, 10, Some(1000), false),
            (0, 0, None, true),
            (5000, 101, None, false),
            (5000, 100, None, true),
            (2000, 10, Some(1000), true),
        ] {
            let found = is_worth_finishing(brought, alone, length, 100);
            assert_eq!(found, expected, "{brought} {alone} {length:?}");
        }
    }
}
