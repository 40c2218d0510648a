//! The section `[fast]`.
//!
//! Invariant: every limit is above zero, and so is the number of sockets that comes of it.

use std::{thread::available_parallelism, time::Duration};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// How UDP is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sockets of each UDP address, each with a thread of its own; 0: as many as cores.
    pub sockets: usize,
    /// Unusual queries of one socket that may wait for the handler; what comes beyond them is dropped.
    pub queue_max: usize,
    /// How long a thread that got several queries at once waits for more, so that it wakes up less often; the kernel adds
    /// some 50 µs. 0s: not at all. At most 1 ms.
    #[serde(with = "humantime_serde")]
    pub gather: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { sockets: 0, queue_max: 1024, gather: Duration::from_micros(300) }
    }
}

impl Config {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.sockets <= SOCKETS_MAX, "fast.sockets is above {SOCKETS_MAX}");
        ensure!(self.queue_max > 0, "fast.queue_max is 0");
        ensure!(self.gather <= GATHER_MAX, "fast.gather is above {GATHER_MAX:?}");
        Ok(())
    }

    /// How many sockets each address has.
    #[must_use]
    pub fn sockets(&self) -> usize {
        match self.sockets {
            0 => available_parallelism().map_or(1, usize::from).min(SOCKETS_MAX),
            sockets => sockets,
        }
    }
}

/// More threads than any machine of a PoP has cores.
const SOCKETS_MAX: usize = 256;
/// Longer, and a client would notice.
const GATHER_MAX: Duration = Duration::from_millis(1);
