//! A fill in flight: one writer, any number of readers, each at its own speed.
//!
//! Readers get the bytes as they arrive; the writer never waits for a reader. Invariant: a writer that goes away
//! without finishing, or that brings another length than was announced, fails every reader.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::{
    budget::Reservation,
    object::{Head, PIECE_BYTES, Pieces, piece_at},
    variance::Vary,
};

/// What readers of a fill share.
pub struct InFlight {
    /// The response's head.
    pub head: Arc<Head>,
    /// The fill's number.
    pub id: u64,
    /// Which variant it brings, where the response varies.
    pub variance: Option<(Vary, [u8; 16])>,
    state: RwLock<State>,
    grown: watch::Sender<()>,
    /// Lookups that found it.
    joined: AtomicU32,
    is_forgotten: AtomicBool,
}

enum State {
    Open {
        /// Full pieces.
        pieces: Vec<Bytes>,
        /// The piece that is growing.
        tail: BytesMut,
    },
    Finished(Arc<Pieces>),
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
    pub fn begin(
        head: Arc<Head>,
        id: u64,
        variance: Option<(Vary, [u8; 16])>,
        room: Reservation,
    ) -> Self {
        let tail = BytesMut::with_capacity(first_piece_bytes(&head));
        let fill = InFlight {
            head,
            id,
            variance,
            state: RwLock::new(State::Open { pieces: Vec::new(), tail }),
            grown: watch::Sender::new(()),
            joined: AtomicU32::new(0),
            is_forgotten: AtomicBool::new(false),
        };
        Self { fill: Arc::new(fill), room: Some(room), bytes: 0 }
    }

    /// What readers hold on to.
    #[must_use]
    pub fn shared(&self) -> &Arc<InFlight> {
        &self.fill
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
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

    /// Ends the fill; the readers see the end of the body. `exchange` may take the body over into another budget: it
    /// gets the room of the fill and gives back the room that the body takes from now on.
    ///
    /// # Errors
    /// [`FillError::Length`] when bytes are missing; the fill has failed for every reader.
    pub fn finish(
        mut self,
        exchange: impl FnOnce(Reservation) -> Reservation,
    ) -> Result<Arc<Pieces>, FillError> {
        if self.fill.head.length.is_some_and(|announced| self.bytes < announced) {
            return Err(self.fail(self.length_error(self.bytes)));
        }
        let Some(room) = self.room.take() else { return Err(self.fail(FillError::NoRoom)) };
        let room = exchange(room);
        let pieces = self.fill.write().seal(room).ok_or(FillError::NoRoom)?;
        self.fill.grown.send_replace(());
        Ok(pieces)
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
        match &*self.read() {
            State::Open { pieces, tail } => open_slice(pieces, tail, position),
            State::Finished(pieces) => {
                piece_at(pieces.list(), position).map_or(Slice::End, Slice::Bytes)
            }
            State::Failed => Slice::Failed,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    /// Whether the fill ended without finishing.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        matches!(*self.read(), State::Failed)
    }

    /// How many readers there are now.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.grown.receiver_count()
    }

    /// Returns as soon as there is no reader.
    pub async fn deserted(&self) {
        self.grown.closed().await;
    }

    /// A lookup found it.
    pub(super) fn join(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether anybody but the exchange that began it asked for it.
    pub(super) fn was_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed) > 0
    }

    /// What it brings is neither found nor stored from now on.
    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Release);
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Acquire)
    }

    fn fail(&self) {
        let mut state = self.write();
        if !matches!(*state, State::Open { .. }) {
            return;
        }
        *state = State::Failed;
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
        let Self::Open { pieces, tail } = self else { return };
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(PIECE_BYTES - tail.len()));
            tail.extend_from_slice(now);
            data = later;
            if tail.len() == PIECE_BYTES {
                let next = BytesMut::with_capacity(PIECE_BYTES);
                pieces.push(std::mem::replace(tail, next).freeze());
            }
        }
    }

    fn seal(&mut self, room: Reservation) -> Option<Arc<Pieces>> {
        let Self::Open { pieces, tail } = self else { return None };
        let (mut pieces, tail) = (std::mem::take(pieces), std::mem::take(tail));
        if !tail.is_empty() {
            pieces.push(compact(tail));
        }
        let pieces = Arc::new(Pieces::new(pieces, room));
        *self = Self::Finished(pieces.clone());
        Some(pieces)
    }
}

fn open_slice(pieces: &[Bytes], tail: &BytesMut, position: u64) -> Slice {
    if let Some(bytes) = piece_at(pieces, position) {
        return Slice::Bytes(bytes);
    }
    let full = (pieces.len() * PIECE_BYTES) as u64;
    let within = usize::try_from(position.saturating_sub(full)).unwrap_or(usize::MAX);
    if position >= full && within < tail.len() {
        // The growing piece cannot be shared yet: its end is copied.
        return Slice::Bytes(Bytes::copy_from_slice(&tail[within..]));
    }
    Slice::NotYet
}

/// The last piece without the room that it did not use.
fn compact(tail: BytesMut) -> Bytes {
    if tail.len() == tail.capacity() { tail.freeze() } else { Bytes::copy_from_slice(&tail) }
}

fn first_piece_bytes(head: &Head) -> usize {
    let announced = head.length.and_then(|length| usize::try_from(length).ok());
    announced.unwrap_or(PIECE_BYTES).min(PIECE_BYTES)
}
