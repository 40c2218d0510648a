//! When the first byte of an answer came out of TLS.
//!
//! The client's library tells of an answer only after the task that reads the connection has let go of it, and that
//! task reads on while more comes: the faster a server sends the rest, the later it would seem to have begun.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// When something came on a connection after a request was about to be sent; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct First(Arc<Mutex<Expected>>);

#[derive(Debug, Clone, Copy, Default)]
enum Expected {
    #[default]
    Nothing,
    Answer,
    Came(Instant),
}

impl First {
    /// The next byte is the first one of an answer.
    pub(crate) fn expect(&self) {
        self.set(Expected::Answer);
    }

    /// When it came; none when the next one is expected already.
    pub(crate) fn came(&self) -> Option<Instant> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Expected::Came(at) => Some(at),
            Expected::Nothing | Expected::Answer => None,
        }
    }

    fn read(&self) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*expected, Expected::Answer) {
            *expected = Expected::Came(Instant::now());
        }
    }

    fn set(&self, expected: Expected) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = expected;
    }
}

/// A connection that notes when something comes.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    first: First,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, first: First) -> Self {
        Self { stream, first }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.first.read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
