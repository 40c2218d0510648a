//! A body on disk, read a few pieces at a time, the next ones while these are sent.
//!
//! Invariant: a reader holds its part of the budget of read buffers from its beginning to its end, so that nobody
//! has to wait for another reader's memory in the middle of a body.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    index::Place,
    reader::{self, Damage, Lead},
    segment::Segment,
    shared::{READ_WAIT_MAX, Shared},
};
use crate::cache::{
    budget::Reservation,
    key::Key,
    object::{PIECE_BYTES, piece_at},
};

/// A reader of one body on disk.
pub struct DiskBody {
    source: Arc<Source>,
    /// The unit that was read last, by number.
    here: Option<(u64, Vec<Bytes>)>,
    /// The unit that is being read.
    coming: Option<(u64, Coming)>,
    _room: Reservation,
}

type Coming = oneshot::Receiver<Result<Vec<Bytes>, Damage>>;

/// What a body is read from.
pub(super) struct Source {
    pub(super) tier: Arc<Shared>,
    pub(super) segment: Arc<Segment>,
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) lead: Lead,
}

/// The body cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file that this body comes from is damaged or cannot be read")]
pub struct Unreadable;

impl DiskBody {
    pub(super) fn new(source: Source, room: Reservation) -> Self {
        Self { source: Arc::new(source), here: None, coming: None, _room: room }
    }

    /// The length of the body.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.source.lead.header.body_bytes
    }

    /// The rest of the piece in which a position lies; `None` behind the end. Reads ahead as far as `end`. May be
    /// dropped and called again.
    ///
    /// # Errors
    /// [`Unreadable`]; the object is forgotten then.
    pub async fn read(
        &mut self,
        position: u64,
        end: Option<u64>,
    ) -> Result<Option<Bytes>, Unreadable> {
        if position >= self.bytes() {
            return Ok(None);
        }
        let unit = position / UNIT_BYTES;
        if self.here.as_ref().is_none_or(|(number, _)| *number != unit) {
            self.fetch(unit, end).await?;
        }
        let here = self.here.as_ref().map(|(_, pieces)| pieces.as_slice()).unwrap_or_default();
        piece_at(here, position - unit * UNIT_BYTES).map(Some).ok_or(Unreadable)
    }

    async fn fetch(&mut self, unit: u64, end: Option<u64>) -> Result<(), Unreadable> {
        let is_coming = self.coming.as_ref().is_some_and(|(number, _)| *number == unit);
        if !is_coming {
            self.coming = None;
            if let Some(read) = self.source.read_now(unit) {
                let pieces = read.map_err(|damage| self.source.report(&damage))?;
                self.here = Some((unit, pieces));
                return Ok(());
            }
            self.coming = Some((unit, self.source.read_later(unit)));
        }
        let Some((_, coming)) = &mut self.coming else { return Err(Unreadable) };
        let read = tokio::time::timeout(READ_WAIT_MAX, coming).await;
        self.coming = None;
        let read = match read {
            Ok(Ok(read)) => read.map_err(|damage| self.source.report(&damage))?,
            Ok(Err(_)) | Err(_) => {
                self.source.tier.metrics.disk_error("slow");
                self.source.tier.go_away();
                return Err(Unreadable);
            }
        };
        self.here = Some((unit, read));
        // It had to be waited for, so the next one most likely has to, too.
        let next = (unit + 1) * UNIT_BYTES;
        if next < end.unwrap_or(u64::MAX).min(self.bytes()) {
            self.coming = Some((unit + 1, self.source.read_later(unit + 1)));
        }
        Ok(())
    }
}

impl Source {
    fn read_now(&self, unit: u64) -> Option<Result<Vec<Bytes>, Damage>> {
        let first = unit as usize * UNIT_PIECES;
        reader::read_pieces_now(&self.segment.file, self.body_at(), &self.lead, first, UNIT_PIECES)
    }

    fn read_later(self: &Arc<Self>, unit: u64) -> Coming {
        let source = self.clone();
        let first = unit as usize * UNIT_PIECES;
        self.tier.pool.ask(move || {
            let Self { segment, lead, .. } = &*source;
            reader::read_pieces(&segment.file, source.body_at(), lead, first, UNIT_PIECES)
        })
    }

    fn body_at(&self) -> u64 {
        self.place.offset() + self.lead.header.body_at()
    }

    fn report(&self, damage: &Damage) -> Unreadable {
        self.tier.damaged(&self.key, self.place, damage);
        Unreadable
    }
}

/// Pieces that are read at once: few enough to be read between two other things.
const UNIT_PIECES: usize = 2;
const UNIT_BYTES: u64 = (UNIT_PIECES * PIECE_BYTES) as u64;
/// What a reader takes of the budget: what it reads and what comes next.
pub(super) const READER_BYTES: u64 = 2 * UNIT_BYTES;
