//! What one purge lane says next, without sockets: where it begins, what a page of the log becomes, which head a
//! heartbeat names.
//!
//! Pure: pages and heads come in, words come out, so that a simulation drives the very code that runs. Invariant:
//! every purge up to a heartbeat's head that the node did not have was said before or is said next, in order.

use std::sync::Arc;

use bytes::Bytes;

use tidegate_contract::purge_offset::epoch;

use crate::{
    store::{Entry, Page},
    wire::{
        Heartbeat, Purge, PurgeBatch, PurgeDown, Replacement, Trimmed,
        purge_down::Message::{self, Batch},
    },
};

/// Where a lane stands in the log.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    sent: u64,
}

/// How a lane begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Where the node stands, as far as its word means something here.
    pub stands_at: Option<u64>,
}

/// What a page of the log becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These purges.
    Purges(Vec<Arc<Entry>>),
    /// The log does not hold what the node missed; it goes on from this head.
    Trimmed(u64),
    /// Everything was said.
    Nothing,
}

impl Cursor {
    /// A lane of a node that says where it stands, on a log with this head.
    #[must_use]
    pub fn begin(applied: Option<u64>, head: u64) -> (Self, Begun) {
        // Above the head: the log lost what the node has. A node that knows nothing will begin at the head, but until it
        // has heard that it may serve what it fetched before. In both cases only its new words count.
        let stands_at = applied.filter(|applied| *applied <= head);
        (Self { sent: applied.unwrap_or(head) }, Begun { stands_at })
    }

    /// Behind which offset the next page begins.
    #[must_use]
    pub fn after(&self) -> u64 {
        self.sent
    }

    /// Takes a page that begins there.
    pub fn take(&mut self, page: Page) -> Said {
        match page {
            Page::Entries(entries) => match entries.last() {
                None => Said::Nothing,
                Some(last) => {
                    self.sent = last.offset;
                    Said::Purges(entries)
                }
            },
            Page::Gone { head } => {
                self.sent = head;
                Said::Trimmed(head)
            }
        }
    }

    /// Goes on behind a batch that was said.
    pub fn said_until(&mut self, last: u64) {
        self.sent = last;
    }

    /// Whether a replica with this head must hear more before it can serve the node: it only lags, in one epoch.
    #[must_use]
    pub fn is_ahead_of(&self, head: u64) -> bool {
        self.sent > head && epoch(self.sent) == epoch(head)
    }
}

impl Said {
    /// The same as it travels; nothing where nothing is said.
    #[must_use]
    pub fn message(&self, stream: &str) -> Option<PurgeDown> {
        let message = match self {
            Self::Nothing => return None,
            Self::Trimmed(head) => {
                Message::Trimmed(Trimmed { stream: stream.to_owned(), head: *head })
            }
            Self::Purges(entries) => {
                let purges = entries.iter().map(|entry| purge(stream, entry)).collect();
                Batch(PurgeBatch { purges })
            }
        };
        Some(PurgeDown { message: Some(message) })
    }
}

/// A heartbeat as it travels; `audit` is number and hash of the newest row of the audit log.
#[must_use]
pub fn heartbeat(stream: &str, head: u64, answers: u64, audit: (u64, Bytes)) -> PurgeDown {
    let head = [(stream.to_owned(), head)].into();
    let (audit_number, audit_hash) = audit;
    let heartbeat = Heartbeat { head, answers, audit_number, audit_hash };
    PurgeDown { message: Some(Message::Heartbeat(heartbeat)) }
}

fn purge(stream: &str, entry: &Entry) -> Purge {
    Purge { stream: stream.to_owned(), id: entry.id.to_string(), ..lean(entry) }
}

/// A purge without what a packed batch says for all of its own, or leaves to the log.
pub(super) fn lean(entry: &Entry) -> Purge {
    let replacement = entry.replacement.as_ref().map(|new| Replacement {
        headers: new.headers.clone().into_iter().collect(),
        body: new.body.clone(),
    });
    Purge {
        offset: entry.offset,
        order: entry.order_json.clone(),
        accepted_unix_ms: entry.accepted_unix_ms,
        replacement,
        ..Purge::default()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_contract::id::PurgeId;

    use super::*;

    fn entry(offset: u64) -> Arc<Entry> {
        Arc::new(Entry {
            offset,
            id: PurgeId::parse("p").expect("good"),
            order_json: Bytes::new(),
            accepted_unix_ms: 0,
            replacement_digest: None,
            replacement: None,
        })
    }

    #[test]
    fn a_lane_begins_where_the_node_stands_or_at_the_head() {
        for (applied, head, after, stands_at) in [
            (None, 7, 7, None),
            (Some(3), 7, 3, Some(3)),
            (Some(7), 7, 7, Some(7)),
            (Some(9), 7, 9, None),
        ] {
            let (cursor, begun) = Cursor::begin(applied, head);
            assert_eq!((cursor.after(), begun.stands_at), (after, stands_at), "{applied:?}");
        }
    }

    #[test]
    fn pages_follow_one_another_and_a_gap_is_said() {
        let (mut cursor, _) = Cursor::begin(Some(3), 7);
        let page = Page::Entries(vec![entry(4), entry(5)]);
        assert_eq!(cursor.take(page), Said::Purges(vec![entry(4), entry(5)]));
        assert_eq!(cursor.after(), 5);
        assert_eq!(cursor.take(Page::Gone { head: 90 }), Said::Trimmed(90));
        assert_eq!(cursor.after(), 90);
        assert_eq!(cursor.take(Page::Entries(vec![])), Said::Nothing);
    }

    #[test]
    fn a_replica_that_lags_is_no_log_that_was_restored() {
        let at = |applied| Cursor::begin(Some(applied), 7).0;
        assert!(at(8).is_ahead_of(7));
        assert!(!at(7).is_ahead_of(7));
        assert!(!at(8).is_ahead_of(1 << 40));
    }
}
