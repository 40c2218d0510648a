//! A body that is sent to a client, wherever it comes from.
//!
//! Invariant: its end is reported only when it was whole.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    reading::Reading,
    walk::{Lost, Walk},
};
use crate::upstream::AnswerBody;

/// A body.
pub enum Content {
    /// Stored, or being stored.
    Stored(Reading),
    /// Standing in slices.
    Sliced(Walk),
    /// Coming from upstream for this client alone.
    Passing(AnswerBody),
}

impl Content {
    /// Goes on at `start` and stops before `end`; what passes cannot.
    pub fn seek(&mut self, start: u64, end: u64) {
        match self {
            Self::Stored(reading) => reading.seek(start, end),
            Self::Sliced(walk) => walk.seek(start, end),
            Self::Passing(_) => debug_assert!(false, "what passes has no ranges"),
        }
    }

    /// The next bytes, when they lie in memory: what most hits are, without the states of all that may be waited for.
    pub fn at_hand(&mut self) -> Option<Bytes> {
        match self {
            Self::Stored(reading) => reading.at_hand(),
            Self::Sliced(_) | Self::Passing(_) => None,
        }
    }

    /// The next bytes; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    /// [`Lost`]: the rest does not come.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Lost> {
        match self {
            Self::Stored(reading) => reading.read().await,
            Self::Sliced(walk) => walk.read().await,
            Self::Passing(body) => body.next().await.map_err(Lost),
        }
    }

    /// Trailers, after the end.
    #[must_use]
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Self::Passing(body) => body.trailers(),
            Self::Stored(_) | Self::Sliced(_) => None,
        }
    }
}
