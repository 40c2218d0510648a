//! The body of a request as it comes in: its promised length, its pace, its copy for a retry.
//!
//! Invariant: a body that is shorter or longer than its content-length never looks complete to the
//! proxy (RFC 9113 8.1.1, RFC 9114 4.1.2).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::{Error, ErrorType, Result};
use tokio::time::Sleep;

use crate::listener::carrier::{Carrier, Reset};

/// Reads one request's body from a carrier.
pub(super) struct Incoming {
    expected: Option<u64>,
    read: u64,
    done: bool,
    retry: Option<FixedBuffer>,
    timeout: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// `expected` is the content-length; `ended` says that the request ended with its header.
    pub(super) fn new(expected: Option<u64>, ended: bool, timeout: Duration) -> Self {
        Self {
            expected,
            read: 0,
            done: ended && expected.is_none_or(|length| length == 0),
            retry: None,
            timeout: Some(timeout),
            waiting: None,
        }
    }

    /// The next piece; `None` at the end. May be dropped and called again.
    pub(super) async fn next<C: Carrier>(&mut self, carrier: &mut C) -> Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_next(cx, carrier)).await
    }

    pub(super) fn is_done(&self) -> bool {
        self.done || self.is_empty()
    }

    /// The request has no body.
    pub(super) fn is_empty(&self) -> bool {
        self.read == 0 && (self.done || self.expected == Some(0))
    }

    /// The rest is not wanted.
    pub(super) fn give_up(&mut self) {
        self.done = true;
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
        self.waiting = None;
    }

    pub(super) fn keep_for_retry(&mut self) {
        self.retry.get_or_insert_with(|| FixedBuffer::new(RETRY_BYTES_MAX));
    }

    pub(super) fn is_retry_cut(&self) -> bool {
        self.retry.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    /// Everything read so far, when all of it was kept.
    pub(super) fn retry_copy(&self) -> Option<Bytes> {
        self.retry.as_ref().filter(|copy| !copy.is_truncated())?.get_buffer()
    }

    fn poll_next<C: Carrier>(
        &mut self,
        cx: &mut Context<'_>,
        carrier: &mut C,
    ) -> Poll<Result<Option<Bytes>>> {
        if self.done {
            return Poll::Ready(Ok(None));
        }
        let Poll::Ready(piece) = carrier.poll_read(cx) else {
            return self.poll_timeout(cx);
        };
        self.waiting = None;
        Poll::Ready(match piece {
            Ok(Some(piece)) => self.take(piece, carrier).map(Some),
            Ok(None) => self.end(carrier).map(|()| None),
            Err(lost) => Error::e_explain(ErrorType::ReadError, format!("request body: {lost}")),
        })
    }

    fn take<C: Carrier>(&mut self, piece: Bytes, carrier: &mut C) -> Result<Bytes> {
        self.read += piece.len() as u64;
        if self.expected.is_some_and(|length| self.read > length) {
            return self.wrong_length(carrier);
        }
        if let Some(copy) = &mut self.retry {
            copy.write_to_buffer(&piece);
        }
        Ok(piece)
    }

    fn end<C: Carrier>(&mut self, carrier: &mut C) -> Result<()> {
        if self.expected.is_some_and(|length| self.read != length) {
            return self.wrong_length(carrier);
        }
        self.done = true;
        Ok(())
    }

    fn wrong_length<T, C: Carrier>(&mut self, carrier: &mut C) -> Result<T> {
        carrier.reset(Reset::Malformed);
        let expected = self.expected.unwrap_or_default();
        let read = self.read;
        Error::e_explain(
            ErrorType::ReadError,
            format!("request body of {read} bytes or more against content-length {expected}"),
        )
    }

    fn poll_timeout<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Some(timeout) = self.timeout else { return Poll::Pending };
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Error::e_explain(
            ErrorType::ReadTimedout,
            format!("no request body for {timeout:?}"),
        ))
    }
}

/// Bytes of a request body kept for a second try at another upstream; Pingora's own H1 and H2
/// sessions keep as much.
const RETRY_BYTES_MAX: usize = 64 * 1024;
