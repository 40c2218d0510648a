//! Reading a body: complete in memory, still arriving, or on disk.
//!
//! Pieces are shared, never copied, except at the growing end of a fill. Invariant: the end of a body is reported
//! only when the fill has finished; a fill that failed, or a piece on disk that is damaged, is an error.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    disk::DiskBody,
    in_flight::{InFlight, Slice},
    object::{Pieces, piece_at},
};

/// A reader of one body.
pub struct Body {
    source: Source,
    position: u64,
    /// Where to stop; absent: at the end.
    end: Option<u64>,
}

enum Source {
    Complete(Arc<Pieces>),
    InFlight { fill: Arc<InFlight>, grown: watch::Receiver<()> },
    OnDisk(Box<DiskBody>),
}

/// The fill failed, or the disk did; what was read so far is not the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fill or the file that this body comes from failed")]
pub struct FillFailed;

impl Body {
    /// Reads a stored body from its beginning.
    #[must_use]
    pub fn of_pieces(pieces: Arc<Pieces>) -> Self {
        Self { source: Source::Complete(pieces), position: 0, end: None }
    }

    /// Reads what a fill brings from its beginning.
    #[must_use]
    pub fn of_fill(fill: Arc<InFlight>) -> Self {
        let grown = fill.subscribe();
        Self { source: Source::InFlight { fill, grown }, position: 0, end: None }
    }

    /// Reads a body on disk from its beginning.
    #[must_use]
    pub fn of_disk(body: DiskBody) -> Self {
        Self { source: Source::OnDisk(Box::new(body)), position: 0, end: None }
    }

    /// Goes on at `start` and stops before `end`.
    pub fn seek(&mut self, start: u64, end: Option<u64>) {
        self.position = start;
        self.end = end;
    }

    /// Where the next read begins. After a failure: what was read before it is right.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes of a body that lies whole in memory; `None` at its end, and of every other.
    pub fn at_hand(&mut self) -> Option<Bytes> {
        let Source::Complete(pieces) = &self.source else { return None };
        if self.end.is_some_and(|end| self.position >= end) {
            return None;
        }
        let bytes = piece_at(pieces.list(), self.position)?;
        Some(self.advance(bytes))
    }

    /// The next bytes; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    /// [`FillFailed`]: the body will never be whole.
    pub async fn read(&mut self) -> Result<Option<Bytes>, FillFailed> {
        loop {
            if self.end.is_some_and(|end| self.position >= end) {
                return Ok(None);
            }
            let slice = match &mut self.source {
                Source::Complete(pieces) => {
                    piece_at(pieces.list(), self.position).map_or(Slice::End, Slice::Bytes)
                }
                Source::InFlight { fill, grown } => {
                    // First the mark, then the look: growth after the look is seen by `changed`.
                    grown.mark_unchanged();
                    fill.slice(self.position)
                }
                Source::OnDisk(body) => match body.read(self.position, self.end).await {
                    Ok(bytes) => bytes.map_or(Slice::End, Slice::Bytes),
                    Err(_) => Slice::Failed,
                },
            };
            match slice {
                Slice::Bytes(bytes) => return Ok(Some(self.advance(bytes))),
                Slice::End => return Ok(None),
                Slice::Failed => return Err(FillFailed),
                Slice::NotYet => {}
            }
            if let Source::InFlight { grown, .. } = &mut self.source {
                grown.changed().await.map_err(|_| FillFailed)?;
            }
        }
    }

    fn advance(&mut self, mut bytes: Bytes) -> Bytes {
        if let Some(end) = self.end {
            let left = usize::try_from(end - self.position).unwrap_or(usize::MAX);
            bytes.truncate(left);
        }
        self.position += bytes.len() as u64;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{
        budget::Budget,
        in_flight::{FillError, Writer},
        object::{Head, PIECE_BYTES, tests::head},
    };

    fn writer(length: Option<u64>, budget: u64) -> Writer {
        let head = Head { length, ..head() };
        let room = Budget::new(budget).reserve(0).unwrap();
        Writer::begin(Arc::new(head), 1, None, room)
    }

    async fn read_all(mut body: Body) -> Result<Vec<u8>, FillFailed> {
        let mut all = Vec::new();
        while let Some(bytes) = body.read().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| (n * 31 % 251) as u8).collect()
    }

    #[tokio::test]
    async fn readers_at_any_time_get_every_byte_and_pieces_have_one_size() {
        let data = noise(3 * PIECE_BYTES + 17);
        let mut writer = writer(None, u64::MAX);
        let early = tokio::spawn(read_all(Body::of_fill(writer.shared().clone())));
        for chunk in data.chunks(10_007) {
            writer.write(chunk).unwrap();
            tokio::task::yield_now().await;
        }
        let late = Body::of_fill(writer.shared().clone());
        let pieces = writer.finish(|room| room).unwrap();
        assert_eq!(early.await.unwrap().unwrap(), data);
        assert_eq!(read_all(late).await.unwrap(), data);
        assert_eq!(pieces.bytes(), data.len() as u64);
        let sizes: Vec<_> = pieces.list().iter().map(Bytes::len).collect();
        assert_eq!(sizes, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 17]);
        assert_eq!(read_all(Body::of_pieces(pieces)).await.unwrap(), data);
    }

    #[tokio::test]
    async fn a_writer_that_goes_away_fails_readers_that_came_and_that_come() {
        let mut writer = writer(None, u64::MAX);
        writer.write(b"abc").unwrap();
        let fill = writer.shared().clone();
        let early = tokio::spawn(read_all(Body::of_fill(fill.clone())));
        drop(writer);
        assert!(early.await.unwrap().is_err());
        assert!(read_all(Body::of_fill(fill)).await.is_err());
    }

    #[tokio::test]
    async fn another_length_than_announced_is_a_failure() {
        let mut short = writer(Some(4), u64::MAX);
        short.write(b"abc").unwrap();
        let body = Body::of_fill(short.shared().clone());
        assert_eq!(
            short.finish(|room| room).err(),
            Some(FillError::Length { announced: 4, brought: 3 })
        );
        assert!(read_all(body).await.is_err());

        let mut long = writer(Some(2), u64::MAX);
        let body = Body::of_fill(long.shared().clone());
        assert!(long.write(b"abc").is_err());
        assert!(read_all(body).await.is_err());
    }

    #[tokio::test]
    async fn a_fill_beyond_the_budget_fails() {
        let mut writer = writer(None, 5);
        writer.write(b"abc").unwrap();
        let body = Body::of_fill(writer.shared().clone());
        assert_eq!(writer.write(b"abc"), Err(FillError::NoRoom));
        assert!(read_all(body).await.is_err());
    }

    #[tokio::test]
    async fn a_range_ends_before_the_fill_does() {
        let mut writer = writer(None, u64::MAX);
        writer.write(b"0123456789").unwrap();
        let mut body = Body::of_fill(writer.shared().clone());
        body.seek(2, Some(5));
        assert_eq!(read_all(body).await.unwrap(), b"234");
        drop(writer);
    }

    proptest! {
        #[test]
        fn any_range_of_any_object_reads_as_the_bytes_do(
            size in 0_usize..200_000, chunk in 1_usize..70_000, start in 0_u64..220_000, len in 0_u64..220_000,
        ) {
            let data = noise(size);
            let mut writer = writer(Some(size as u64), u64::MAX);
            for part in data.chunks(chunk) {
                writer.write(part).unwrap();
            }
            let mut body = Body::of_pieces(writer.finish(|room| room).unwrap());
            body.seek(start, Some(start + len));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(read_all(body)).unwrap();
            let from = (start as usize).min(size);
            let to = ((start + len) as usize).min(size);
            prop_assert_eq!(&read[..], &data[from..to.max(from)]);
        }
    }
}
