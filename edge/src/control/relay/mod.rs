//! Purges on their way from the process that talks to the control plane to the one before it, which still serves its
//! last connections.
//!
//! The new one tells what it applies, as lines of JSON over a pair of local sockets; the old one applies it as well, and
//! says up to where. Invariant: while the old one lives, nothing counts as applied on this node that it has not applied.

mod predecessor; // the new process's side
mod successor; // the old process's side

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tidegate_contract::id::StreamId;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

pub(super) use self::{predecessor::Predecessor, successor::Successor};

/// What the new process tells.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// A purge is applied.
    Purge {
        stream: StreamId,
        offset: u64,
        /// A [`tidegate_contract::purge::PurgeOrder`]; of a newer build perhaps.
        order: Value,
    },
    /// A stream goes on from here without what led there.
    Began { stream: StreamId, offset: u64 },
    /// The control plane was heard.
    Heard { at_unix_ms: u64, head: BTreeMap<StreamId, u64> },
}

/// What the old process says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// Up to where every stream is applied there, and durable where anything is.
    Applied(BTreeMap<StreamId, u64>),
}

/// Reads a line: `None` at the end; the inner error is about this line alone.
async fn read_line<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Option<serde_json::Result<T>>> {
    line.clear();
    from.take(LINE_BYTES_MAX).read_until(b'\n', line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(line))),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a line has no end")),
    }
}

/// The longest line: an order is a few kilobytes, and streams are few.
const LINE_BYTES_MAX: u64 = 64 * 1024;
