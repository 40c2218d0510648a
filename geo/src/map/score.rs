//! How far a PoP is from a unit, in ms of round trip.
//!
//! What was measured counts; where nothing was, what the neighbours measured, and last the distance on the globe. A
//! measurement is believed once there are enough samples behind it: a handful may all come from one odd client.

use crate::{fleet::Pop, latency::Known, place::Place};

/// Where a score comes from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The unit's own handshakes.
    Unit,
    /// Handshakes of the same network in the same region.
    Network,
    /// The distance on the globe.
    Distance,
}

/// How far a PoP is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Round trip in ms.
    pub rtt_ms: f32,
    /// Where that comes from.
    pub source: Source,
}

/// How far a PoP is from a unit at a place, of which this is known.
#[must_use]
pub fn score(known: Known<'_>, place: &Place, index: u16, pop: &Pop) -> Score {
    if let Some(rtt_ms) = known.of_unit(index) {
        return Score { rtt_ms, source: Source::Unit };
    }
    if let Some(rtt_ms) = known.of_network(index) {
        return Score { rtt_ms, source: Source::Network };
    }
    Score { rtt_ms: place.modelled_rtt_ms(&pop.place) as f32, source: Source::Distance }
}

impl Source {
    /// Its name in explanations and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Network => "network",
            Self::Distance => "distance",
        }
    }
}
