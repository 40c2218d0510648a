//! From an answer's body to a fill.
//!
//! Never waits for a reader. Invariant: what broke off, fell short, or grew beyond what may be kept fails every reader
//! and is not stored.

use std::{sync::Arc, time::Instant};

use super::{playlist::Playlist, shared::Shared, wanted::Wanted};
use crate::{
    cache::{arrival::Unstorable, media_class::MediaClass, store::Fill},
    upstream::{Answer, Candidate},
};

/// A running fill.
pub(super) struct Pump {
    shared: Arc<Shared>,
    wanted: Arc<Wanted>,
    fill: Fill,
    answer: Answer,
    is_wanted_anyway: bool,
    /// The text of a playlist, as far as it came.
    text: Option<Vec<u8>>,
    brought: u64,
    /// How much was brought when the last reader was seen.
    brought_to_readers: u64,
}

/// How a fill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stored,
    Failed,
    TooLarge,
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
            fill,
            answer,
            is_wanted_anyway,
            text: is_playlist.then(Vec::new),
            brought: 0,
            brought_to_readers: 0,
        }
    }

    /// Runs to the end of the body; true when it was a live playlist that stands still.
    pub(super) async fn run(mut self) -> bool {
        let began = Instant::now();
        let end = self.fill_up().await;
        let Self { shared, wanted, fill, answer, text, .. } = self;
        let metrics = &shared.parts.metrics;
        let result = match end {
            // The connection first: whoever reads the last byte may ask for more.
            End::Stored => {
                drop(answer.body);
                match fill.finish() {
                    Ok(_) => {
                        metrics.fill_seconds.observe(began.elapsed().as_secs_f64());
                        "stored"
                    }
                    Err(_) => "failed",
                }
            }
            End::Failed => "failed",
            End::TooLarge => {
                let reason = Unstorable::Size.as_str();
                shared.unstorable.note(wanted.route.key, reason);
                metrics.unstorable.with_label_values(&[reason]).inc();
                "failed"
            }
            End::Abandoned => "abandoned",
        };
        metrics.fills.with_label_values(&[result]).inc();
        let text = text.filter(|_| result == "stored");
        let playlist = text.as_deref().and_then(Playlist::read);
        playlist.is_some_and(|playlist| learn(&shared, &wanted, &playlist, answer.from))
    }

    async fn fill_up(&mut self) -> End {
        let bytes_max = self.shared.bytes_max(&self.wanted.route);
        let finish_alone = self.shared.parts.config.finish_alone.as_u64();
        loop {
            let data = match self.answer.body.next().await {
                Ok(Some(data)) => data,
                Ok(None) => return End::Stored,
                Err(failure) => {
                    tracing::debug!(kind = failure.kind, "a fill broke off");
                    return End::Failed;
                }
            };
            self.brought += data.len() as u64;
            if self.brought > bytes_max {
                return End::TooLarge;
            }
            if let Err(error) = self.fill.write(&data) {
                tracing::debug!(%error, "a fill failed");
                return End::Failed;
            }
            self.keep_text(&data);
            if self.fill.readers() > 0 {
                self.brought_to_readers = self.brought;
            } else if !self.is_wanted_anyway {
                let alone = self.brought - self.brought_to_readers;
                if !is_worth_finishing(self.brought, alone, self.fill.head().length, finish_alone) {
                    return End::Abandoned;
                }
            }
        }
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

/// Takes note of what a playlist says; true when it stands still.
fn learn(shared: &Shared, wanted: &Wanted, playlist: &Playlist<'_>, from: Candidate) -> bool {
    let route = &wanted.route;
    if route.property().cache.prefetch.segments > 0 {
        shared.playlists.note_order(route, playlist);
    }
    shared.playlists.saw(route, playlist, from)
}

/// The longest playlist that is read: 10 hours of 4-second segments with long names.
const PLAYLIST_BYTES_MAX: usize = 2 * 1024 * 1024;

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
