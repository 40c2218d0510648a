//! A witness of the control plane's audit log: what it heard, and what does not fit.
//!
//! Every heartbeat names the newest row of the log and its hash. Written into this node's own log, which is kept
//! elsewhere, a pair proves later that no row up to it was changed. Pure but for what the caller logs.

use std::time::{Duration, SystemTime};

/// What a witness says of what it heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Testimony {
    /// To be written down now and then.
    Row,
    /// One number, two hashes: the log was rewritten.
    Rewritten,
}

/// What was heard last.
#[derive(Debug, Default)]
pub(super) struct AuditWitness {
    heard: Option<(u64, Vec<u8>)>,
    said_at: Option<SystemTime>,
}

impl AuditWitness {
    /// Hears of the newest row, and says what is worth a line in the log.
    pub(super) fn hear(&mut self, number: u64, hash: &[u8], now: SystemTime) -> Option<Testimony> {
        // A control plane that has no log yet, or one that is older than this node.
        if number == 0 || hash.len() != HASH_BYTES {
            return None;
        }
        let before = self.heard.take();
        // A smaller number is another replica's, which has not heard of the newest row yet.
        let is_newer = before.as_ref().is_none_or(|(known, _)| number > *known);
        let is_rewritten =
            before.as_ref().is_some_and(|(known, old)| *known == number && old != hash);
        self.heard = if is_newer { Some((number, hash.to_vec())) } else { before };
        if is_rewritten {
            return Some(Testimony::Rewritten);
        }
        let is_due = self
            .said_at
            .is_none_or(|said| now.duration_since(said).unwrap_or(SAY_EVERY) >= SAY_EVERY);
        (is_newer && is_due).then(|| {
            self.said_at = Some(now);
            Testimony::Row
        })
    }
}

const HASH_BYTES: usize = 32;
/// Rows come with every change; one line in this time is enough to witness all before it.
const SAY_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_witnessed_now_and_then_and_a_rewritten_one_at_once() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (one, two) = ([1; HASH_BYTES], [2; HASH_BYTES]);
        let mut witness = AuditWitness::default();
        assert_eq!(witness.hear(0, &[], at(0)), None);
        assert_eq!(witness.hear(5, &[1; 3], at(0)), None);
        assert_eq!(witness.hear(5, &one, at(0)), Some(Testimony::Row));
        assert_eq!(witness.hear(5, &one, at(1)), None);
        assert_eq!(witness.hear(6, &one, at(2)), None, "not every row has a line");
        assert_eq!(witness.hear(4, &two, at(3)), None, "another replica is behind");
        assert_eq!(witness.hear(6, &two, at(4)), Some(Testimony::Rewritten));
        assert_eq!(
            witness.hear(6, &two, at(5)),
            Some(Testimony::Rewritten),
            "the first word counts"
        );
        assert_eq!(witness.hear(7, &two, at(90)), Some(Testimony::Row));
    }
}
