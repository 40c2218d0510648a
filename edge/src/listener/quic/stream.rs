//! The sending half of a QUIC stream, shared by h3, which writes header sections, and by the session,
//! which writes bodies around it without copying them.
//!
//! Invariant: bytes a dropped write left behind stay in `pending` and go out first next time.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h3::error::Code;
use quinn::{StoppedError, VarInt, WriteError};

/// The sending half of a stream and what its receiving half tells of itself; shared by h3, which
/// writes header sections, and by the session, which writes bodies around it.
pub(super) struct Stream {
    id: VarInt,
    is_early_data: bool,
    /// For what the client sends before a header section or a piece of body is complete.
    allowance: Allowance,
    is_received: AtomicBool,
    sending: Mutex<Sending>,
}

struct Sending {
    quinn: quinn::SendStream,
    pending: Bytes,
}

impl Stream {
    pub(super) fn new(quinn: quinn::SendStream, is_early_data: bool, allowance: usize) -> Self {
        Self {
            id: VarInt::from(quinn.id()),
            is_early_data,
            allowance: Allowance::new(allowance),
            is_received: AtomicBool::new(false),
            sending: Mutex::new(Sending { quinn, pending: Bytes::new() }),
        }
    }

    pub(super) fn id(&self) -> VarInt {
        self.id
    }

    /// The request arrived before the handshake was done.
    pub(super) fn is_early_data(&self) -> bool {
        self.is_early_data
    }

    /// The client has ended its side, and all of it was received.
    pub(super) fn is_received(&self) -> bool {
        self.is_received.load(Ordering::Acquire)
    }

    pub(super) fn set_received(&self) {
        self.is_received.store(true, Ordering::Release);
    }

    pub(super) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// What was buffered has been passed on; the client may send as much again.
    pub(super) fn allow_more(&self) {
        self.allowance.grant(usize::MAX);
    }

    /// Sends more important streams first: higher numbers go out before lower ones.
    pub(super) fn set_priority(&self, priority: i32) {
        // Fails only on a stream that is closed, where it does not matter.
        let _ = self.lock().quinn.set_priority(priority);
    }

    /// Adds bytes to those that go out before any body.
    pub(super) fn append(&self, bytes: &[u8]) {
        self.lock().append(bytes);
    }

    /// Hands what was appended to QUIC.
    pub(super) fn poll_pending(&self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.lock().poll_pending(cx)
    }

    /// Begins a DATA frame of `length` bytes (RFC 9114 7.2.1); the bytes follow by
    /// [`Stream::poll_body`].
    pub(super) fn begin_data_frame(&self, length: usize) {
        let mut header = BytesMut::with_capacity(FRAME_HEADER_MAX);
        put_varint(&mut header, DATA_FRAME);
        put_varint(&mut header, length as u64);
        self.lock().append(&header);
    }

    /// Hands body bytes to QUIC without copying them; ready when all are taken.
    pub(super) fn poll_body(
        &self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
    ) -> Poll<Result<(), WriteError>> {
        let mut sending = self.lock();
        while !data.is_empty() || !sending.pending.is_empty() {
            let sending = &mut *sending;
            let mut pieces = [std::mem::take(&mut sending.pending), std::mem::take(data)];
            let from = usize::from(pieces[0].is_empty());
            let polled = pin!(sending.quinn.write_chunks(&mut pieces[from..])).poll(cx);
            // quinn leaves in each piece what it has not taken.
            let [pending, rest] = pieces;
            sending.pending = pending;
            *data = rest;
            ready!(polled)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the stream after everything pending.
    pub(super) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let mut sending = self.lock();
        ready!(sending.poll_pending(cx))?;
        Poll::Ready(sending.quinn.finish().map_err(|_| WriteError::ClosedStream))
    }

    /// Cuts the stream.
    pub(super) fn reset(&self, code: Code) {
        let mut sending = self.lock();
        sending.pending.clear();
        // Fails only on a stream that has ended.
        let _ = sending.quinn.reset(varint(code.value()));
    }

    /// Resolves when the client has stopped the stream (`Some`), has received all of it (`None`),
    /// or the connection is lost.
    pub(super) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync + 'static {
        self.lock().quinn.stopped()
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    fn append(&mut self, bytes: &[u8]) {
        let mut pending = BytesMut::with_capacity(self.pending.len() + bytes.len());
        pending.extend_from_slice(&self.pending);
        pending.extend_from_slice(bytes);
        self.pending = pending.freeze();
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.pending.is_empty() {
            let pieces = std::slice::from_mut(&mut self.pending);
            ready!(pin!(self.quinn.write_chunks(pieces)).poll(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// How many bytes may still be buffered of frames that are not complete.
pub(super) struct Allowance {
    left: AtomicUsize,
    max: usize,
}

impl Allowance {
    pub(super) fn new(max: usize) -> Self {
        Self { left: AtomicUsize::new(max), max }
    }

    /// Allows so many more, up to the maximum.
    pub(super) fn grant(&self, bytes: usize) {
        let left = self.left.load(Ordering::Relaxed).saturating_add(bytes);
        self.left.store(left.min(self.max), Ordering::Relaxed);
    }

    /// Takes so many; false when they are not allowed.
    pub(super) fn spend(&self, bytes: usize) -> bool {
        let left = self.left.load(Ordering::Relaxed).checked_sub(bytes);
        self.left.store(left.unwrap_or(0), Ordering::Relaxed);
        left.is_some()
    }
}

/// An error code as QUIC carries it.
pub(super) fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// Writes a QUIC variable-length integer (RFC 9000 16).
fn put_varint(buffer: &mut BytesMut, value: u64) {
    if value < 1 << 6 {
        buffer.extend_from_slice(&(value as u8).to_be_bytes());
    } else if value < 1 << 14 {
        buffer.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes());
    } else if value < 1 << 30 {
        buffer.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes());
    } else {
        buffer.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes());
    }
}

/// Frame type of body bytes.
const DATA_FRAME: u64 = 0;
/// Type in one byte, length in up to eight.
const FRAME_HEADER_MAX: usize = 9;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_spent_and_granted_up_to_its_maximum() {
        let allowance = Allowance::new(10);
        assert!(allowance.spend(4) && allowance.spend(6));
        assert!(!allowance.spend(1));
        allowance.grant(3);
        assert!(allowance.spend(3) && !allowance.spend(1));
        allowance.grant(usize::MAX);
        assert!(allowance.spend(10) && !allowance.spend(1), "never above the maximum");
    }

    #[test]
    fn lengths_are_written_as_rfc_9000_shows() {
        // RFC 9000 A.1.
        for (value, expected) in [
            (37, &[0x25][..]),
            (15_293, &[0x7b, 0xbd]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
        ] {
            let mut buffer = BytesMut::new();
            put_varint(&mut buffer, value);
            assert_eq!(buffer, expected, "{value}");
        }
    }
}
