//! Why the text of a source is refused.
//!
//! Invariant: it says of which source, and where the line is known, which line.

use std::fmt;

use tidegate_contract::zone::ZoneError;

/// A text that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where it came from: the file's name, or the zone's.
    pub source: String,
    /// Why.
    pub reason: Reason,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It cannot be read at all.
    #[error("{0}")]
    Unread(String),
    /// It is no zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The source has too many zones.
    #[error("there are at most {0} zones")]
    TooMany(usize),
    /// Another text has the zone.
    #[error("{0} has this zone already")]
    Taken(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, reason } = self;
        match reason {
            Reason::Zone(error) if error.line.is_some() => write!(f, "{source}, {error}"),
            reason => write!(f, "{source}: {reason}"),
        }
    }
}

impl std::error::Error for Refused {}
