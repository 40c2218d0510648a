//! A fill in flight: one writer, any number of readers, each at its own speed.
//!
//! Readers get the bytes as they arrive; the writer never waits for a reader. Invariant: a writer that goes away
//! without finishing, or that brings another length than was announced, fails every reader.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::{
    budget::Reservation,
    object::{Head, Object, PIECE_BYTES, piece_at},
};

/// What readers of a fill share.
pub struct InFlight {
    /// The response's head.
    pub head: Arc<Head>,
    /// The fill's number.
    pub id: u64,
    state: RwLock<State>,
    grown: watch::Sender<()>,
}

struct State {
    /// Full pieces.
    pieces: Vec<Bytes>,
    /// The piece that is growing.
    tail: BytesMut,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    Finished,
    Failed,
}

/// What a reader finds at a position.
pub(super) enum Slice {
    Bytes(Bytes),
    NotYet,
    End,
    Failed,
}

/// Why a fill cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// More or fewer bytes than announced.
    #[error("the response announced {announced} bytes and brought {brought}")]
    Length {
        /// By `Content-Length`.
        announced: u64,
        /// Until it ended or went beyond.
        brought: u64,
    },
    /// The budget of fills in flight is used up.
    #[error("fills in flight hold more than the budget allows")]
    NoRoom,
}

/// The writer's end of a fill. Dropped without [`Writer::finish`], it fails its readers.
pub struct Writer {
    fill: Arc<InFlight>,
    room: Option<Reservation>,
    bytes: u64,
}

impl Writer {
    /// Begins a fill.
    #[must_use]
    pub fn begin(head: Arc<Head>, id: u64, room: Reservation) -> Self {
        let state = State {
            pieces: Vec::new(),
            tail: BytesMut::with_capacity(first_piece_bytes(&head)),
            progress: Progress::Open,
        };
        let fill = InFlight { head, id, state: RwLock::new(state), grown: watch::Sender::new(()) };
        Self { fill: Arc::new(fill), room: Some(room), bytes: 0 }
    }

    /// What readers hold on to.
    #[must_use]
    pub fn shared(&self) -> &Arc<InFlight> {
        &self.fill
    }

    /// Adds bytes and wakes the readers.
    ///
    /// # Errors
    /// [`FillError`]; the fill has failed for every reader.
    pub fn write(&mut self, data: &[u8]) -> Result<(), FillError> {
        let bytes = self.bytes + data.len() as u64;
        if self.fill.head.length.is_some_and(|announced| bytes > announced) {
            return Err(self.fail(self.length_error(bytes)));
        }
        if !self.room.as_mut().is_some_and(|room| room.cover(bytes)) {
            return Err(self.fail(FillError::NoRoom));
        }
        self.fill.write().append(data);
        self.bytes = bytes;
        self.fill.grown.send_replace(());
        Ok(())
    }

    /// Ends the fill; the readers see the end of the body.
    ///
    /// # Errors
    /// [`FillError::Length`] when bytes are missing; the fill has failed for every reader.
    pub fn finish(mut self) -> Result<Object, FillError> {
        if self.fill.head.length.is_some_and(|announced| self.bytes < announced) {
            return Err(self.fail(self.length_error(self.bytes)));
        }
        let pieces = {
            let mut state = self.fill.write();
            let tail = std::mem::take(&mut state.tail);
            if !tail.is_empty() {
                state.pieces.push(compact(tail));
            }
            state.progress = Progress::Finished;
            state.pieces.clone()
        };
        self.fill.grown.send_replace(());
        Ok(Object {
            head: self.fill.head.clone(),
            pieces: pieces.into(),
            bytes: self.bytes,
            fill: self.fill.id,
        })
    }

    fn length_error(&self, brought: u64) -> FillError {
        FillError::Length { announced: self.fill.head.length.unwrap_or_default(), brought }
    }

    fn fail(&mut self, error: FillError) -> FillError {
        self.fill.fail();
        self.room = None;
        error
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.fill.fail();
    }
}

impl InFlight {
    pub(super) fn slice(&self, position: u64) -> Slice {
        let state = self.read();
        if let Some(bytes) = piece_at(&state.pieces, position) {
            return Slice::Bytes(bytes);
        }
        let full = (state.pieces.len() * PIECE_BYTES) as u64;
        let within = usize::try_from(position.saturating_sub(full)).unwrap_or(usize::MAX);
        if position >= full && within < state.tail.len() {
            // The growing piece cannot be shared yet: its end is copied.
            return Slice::Bytes(Bytes::copy_from_slice(&state.tail[within..]));
        }
        match state.progress {
            Progress::Open => Slice::NotYet,
            Progress::Finished => Slice::End,
            Progress::Failed => Slice::Failed,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    /// Whether the fill ended without finishing.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.read().progress == Progress::Failed
    }

    fn fail(&self) {
        let mut state = self.write();
        if state.progress != Progress::Open {
            return;
        }
        state.progress = Progress::Failed;
        drop(state);
        self.grown.send_replace(());
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(PIECE_BYTES - self.tail.len()));
            self.tail.extend_from_slice(now);
            data = later;
            if self.tail.len() == PIECE_BYTES {
                let next = BytesMut::with_capacity(PIECE_BYTES);
                self.pieces.push(std::mem::replace(&mut self.tail, next).freeze());
            }
        }
    }
}

/// The last piece without the room that it did not use.
fn compact(tail: BytesMut) -> Bytes {
    if tail.len() == tail.capacity() { tail.freeze() } else { Bytes::copy_from_slice(&tail) }
}

fn first_piece_bytes(head: &Head) -> usize {
    let announced = head.length.and_then(|length| usize::try_from(length).ok());
    announced.unwrap_or(PIECE_BYTES).min(PIECE_BYTES)
}
