//! Up to where a node has applied each stream of the purge log.
//!
//! Offsets of a stream grow by one. What stands at or below the position was applied before; a hole means that
//! something was lost, and is never stepped over.

use std::collections::BTreeMap;

use tidegate_contract::{id::StreamId, tier::STREAMS_MAX};

/// The positions of all streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Positions(BTreeMap<StreamId, u64>);

/// What an offset means to a node that stands at some position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one: apply it.
    Next,
    /// Applied before.
    Duplicate,
    /// This one was due first.
    Gap(u64),
    /// Nothing is known of this stream: whatever lies before must be treated as lost.
    Unknown,
}

/// A fleet's log has few streams; more are a mistake or an attack.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {STREAMS_MAX} streams")]
pub(super) struct TooManyStreams;

impl Positions {
    /// Where the streams stood when the last run of this node ended.
    pub(super) fn restored(kept: &BTreeMap<StreamId, u64>) -> Self {
        Self(kept.iter().take(STREAMS_MAX).map(|(stream, at)| (stream.clone(), *at)).collect())
    }

    pub(super) fn step(&self, stream: &StreamId, offset: u64) -> Step {
        match self.0.get(stream) {
            None => Step::Unknown,
            Some(applied) if offset <= *applied => Step::Duplicate,
            Some(applied) if offset - 1 == *applied => Step::Next,
            Some(applied) => Step::Gap(applied + 1),
        }
    }

    /// Whether a stream stands beyond an offset.
    pub(super) fn is_beyond(&self, stream: &StreamId, offset: u64) -> bool {
        self.0.get(stream).is_some_and(|applied| *applied > offset)
    }

    /// Stands at an offset from now on.
    pub(super) fn set(&mut self, stream: &StreamId, offset: u64) -> Result<(), TooManyStreams> {
        if !self.0.contains_key(stream) && self.0.len() >= STREAMS_MAX {
            return Err(TooManyStreams);
        }
        self.0.insert(stream.clone(), offset);
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&StreamId, u64)> {
        self.0.iter().map(|(stream, offset)| (stream, *offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamId {
        StreamId::parse(name).unwrap()
    }

    #[test]
    fn an_offset_is_next_old_or_behind_a_hole() {
        let mut positions = Positions::default();
        let main = stream("main");
        assert_eq!(positions.step(&main, 1), Step::Unknown);
        positions.set(&main, 7).unwrap();
        for (offset, expected) in [
            (0, Step::Duplicate),
            (7, Step::Duplicate),
            (8, Step::Next),
            (9, Step::Gap(8)),
            (u64::MAX, Step::Gap(8)),
        ] {
            assert_eq!(positions.step(&main, offset), expected, "{offset}");
        }
        positions.set(&main, u64::MAX).unwrap();
        assert_eq!(positions.step(&main, u64::MAX), Step::Duplicate);
    }

    #[test]
    fn a_position_lies_beyond_what_is_below_it() {
        let mut positions = Positions::default();
        let main = stream("main");
        assert!(!positions.is_beyond(&main, 0));
        positions.set(&main, 7).unwrap();
        assert!(positions.is_beyond(&main, 6) && !positions.is_beyond(&main, 7));
    }

    #[test]
    fn streams_are_few() {
        let mut positions = Positions::default();
        for n in 0..STREAMS_MAX {
            positions.set(&stream(&format!("s{n}")), 1).unwrap();
        }
        assert_eq!(positions.set(&stream("one-more"), 1), Err(TooManyStreams));
        assert_eq!(positions.set(&stream("s0"), 2), Ok(()));
    }
}
