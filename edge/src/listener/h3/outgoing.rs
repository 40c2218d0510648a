//! The sending half of a request stream: what waits for QUIC, and how the stream ends.
//!
//! Invariant: a stream ends properly only when the whole response was written; dropped before that, it is reset.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use quinn::{StoppedError, WriteError};
use tokio::time::timeout;

use super::{code::Code, incoming::Ended, pace::Pace, peer::Limits};

/// The sending half.
pub(super) struct Outgoing {
    /// There until the stream was given away at its proper end.
    quic: Option<quinn::SendStream>,
    /// Pieces that QUIC has not taken, the first at `next`.
    waiting: Vec<Bytes>,
    next: usize,
    waiting_bytes: u64,
    is_last: bool,
    is_ended: bool,
    pace: Pace,
}

impl Outgoing {
    pub(super) fn new(quic: quinn::SendStream) -> Self {
        Self {
            quic: Some(quic),
            waiting: Vec::with_capacity(WAITING_USUAL),
            next: 0,
            waiting_bytes: 0,
            is_last: false,
            is_ended: false,
            pace: Pace::default(),
        }
    }

    /// Puts a piece behind what waits.
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.waiting_bytes += piece.len() as u64;
            self.waiting.push(piece);
        }
    }

    /// Nothing is pushed any more: the stream ends behind what waits.
    pub(super) fn set_last(&mut self) {
        self.is_last = true;
    }

    /// Bytes that QUIC has not taken.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Whether the whole response was handed over.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    pub(super) fn set_priority(&self, priority: i32) {
        if let Some(quic) = &self.quic {
            // Fails only on a stream that has ended.
            let _ = quic.set_priority(priority);
        }
    }

    /// Hands over what waits, and the end behind the last of it. A dropped future loses nothing.
    pub(super) async fn flush(&mut self, limits: &Limits) -> Result<(), Ended> {
        loop {
            let before = self.waiting_bytes;
            // The usual case needs no timer.
            let mut flushed = std::future::poll_fn(|cx| Poll::Ready(self.poll_flush(cx))).await;
            if flushed.is_pending() && self.waiting_bytes == before {
                let begun = Instant::now();
                let left = self
                    .pace
                    .left(limits.rate_min, limits.rate_grace)
                    .unwrap_or(limits.write_timeout);
                let waiting = timeout(
                    left.min(limits.write_timeout),
                    std::future::poll_fn(|cx| match self.poll_flush(cx) {
                        // Any progress is enough to count the time anew.
                        Poll::Pending if self.waiting_bytes == before => Poll::Pending,
                        flushed => Poll::Ready(flushed),
                    }),
                );
                flushed = waiting.await.map_err(|_| Ended::TooSlow)?;
                self.pace.add(begun.elapsed(), before - self.waiting_bytes);
            }
            if let Poll::Ready(result) = flushed {
                return result;
            }
        }
    }

    /// Hands over what QUIC takes now.
    pub(super) fn flush_now(&mut self) {
        // An error comes back with the next flush.
        let _ = self.poll_flush(&mut Context::from_waker(Waker::noop()));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let Some(quic) = &mut self.quic else { return Poll::Ready(Err(Ended::Cancelled)) };
        while self.next < self.waiting.len() {
            let write = pin!(quic.write_chunks(&mut self.waiting[self.next..]));
            let Poll::Ready(written) = write.poll(cx) else { return Poll::Pending };
            let written = written.map_err(|error| match error {
                WriteError::Stopped(_) | WriteError::ClosedStream => Ended::Cancelled,
                WriteError::ConnectionLost(_) | WriteError::ZeroRttRejected => {
                    Ended::ConnectionLost
                }
            });
            let written = match written {
                Ok(written) => written,
                Err(ended) => return Poll::Ready(Err(ended)),
            };
            self.next += written.chunks;
            self.waiting_bytes -= written.bytes as u64;
        }
        self.waiting.clear();
        self.next = 0;
        if self.is_last && !self.is_ended {
            // Fails only when the client has stopped the stream, and then it has what it wants.
            let _ = quic.finish();
            self.is_ended = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the client wants no more; never ends when all was acknowledged.
    pub(super) async fn stopped(&self) -> Ended {
        if let (Some(quic), false) = (&self.quic, self.is_ended) {
            match quic.stopped().await {
                Ok(Some(_)) => return Ended::Cancelled,
                Ok(None) => {}
                Err(StoppedError::ConnectionLost(_) | StoppedError::ZeroRttRejected) => {
                    return Ended::ConnectionLost;
                }
            }
        }
        std::future::pending().await
    }

    /// Gives the stream away, when it ended properly.
    pub(super) fn take_ended(&mut self) -> Option<quinn::SendStream> {
        if self.is_ended { self.quic.take() } else { None }
    }

    /// Cuts the response, so that the client sees that it was not completed.
    pub(super) fn reset(&mut self, code: Code) {
        if let Some(mut quic) = self.quic.take() {
            // Fails only on a stream that has ended.
            let _ = quic.reset(code.into());
        }
    }
}

/// Pieces of a usual response: head and content, or one more.
const WAITING_USUAL: usize = 2;
