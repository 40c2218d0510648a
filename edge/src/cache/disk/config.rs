//! Section `[cache.disk]`: where and how much is kept on disk.
//!
//! Invariant: without a path there is no disk tier, and nothing else here counts.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The settings of section `[cache.disk]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder of the disk tier, which nobody else uses; made with mode 0700. Absent: no disk tier.
    pub path: Option<PathBuf>,
    /// Bytes of all files in it, but the log of purges. Default 64GiB.
    pub bytes: ByteSize,
    /// What is written. Default `second_hit`.
    pub admission: Admission,
    /// Objects on disk, at about 84 bytes of memory each. Default 4000000.
    pub objects_max: usize,
    /// Bytes of objects that wait to be written; what finds no room is not written. Default 64MiB.
    pub write_queue: ByteSize,
    /// Memory for reading, over all readers; who finds none asks upstream. Default 256MiB.
    pub read_buffers: ByteSize,
    /// Threads that wait for reads. Default 8: a fast disk wants several at a time.
    pub read_threads: usize,
}

/// Which objects are written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// What was asked for a second time, in memory or after it had left: one-hit wonders cost no write.
    SecondHit,
    /// Everything that is stored.
    All,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: None,
            bytes: ByteSize::gib(64),
            admission: Admission::SecondHit,
            objects_max: 4_000_000,
            write_queue: ByteSize::mib(64),
            read_buffers: ByteSize::mib(256),
            read_threads: 8,
        }
    }
}

impl Config {
    /// The first value, by name, that is below what the tier needs.
    #[must_use]
    pub fn too_small(&self) -> Option<&'static str> {
        let values = [
            ("bytes", self.bytes < BYTES_MIN),
            ("objects_max", self.objects_max == 0),
            ("write_queue", self.write_queue.as_u64() == 0),
            ("read_buffers", self.read_buffers < READ_BUFFERS_MIN),
            ("read_threads", self.read_threads == 0 || self.read_threads > READ_THREADS_MAX),
        ];
        values.into_iter().find(|(_, is_wrong)| *is_wrong).map(|(name, _)| name)
    }

    /// The size of one file: few enough of them to keep all open, and small enough that giving one up costs little.
    pub(super) fn segment_bytes(&self) -> u64 {
        (self.bytes.as_u64() / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }
}

/// Some files, so that giving one up is not giving up everything.
const BYTES_MIN: ByteSize = ByteSize(64 << 20);
/// One reader's worth for each of some readers.
const READ_BUFFERS_MIN: ByteSize = ByteSize(8 << 20);
const READ_THREADS_MAX: usize = 256;
/// About so many files; all of them are open.
const SEGMENTS: u64 = 256;
const SEGMENT_BYTES_MIN: u64 = 4 << 20;
const SEGMENT_BYTES_MAX: u64 = 4 << 30;
