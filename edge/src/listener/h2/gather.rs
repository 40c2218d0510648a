//! The connection as the h2 crate sees it: what it writes is gathered and leaves when the turn is over.
//!
//! Shared by the crate, which reads and writes, and the conversation, which pushes. Invariant: the lock is never held
//! across a wait.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::frame_watch::{Fault, FrameWatch};
use crate::listener::{config::Limits, priority::Priority, stream::Way, tcp::Transport};

/// A handle on the connection.
#[derive(Clone)]
pub(super) struct Gather(Arc<Mutex<Shared>>);

struct Shared {
    /// Gone when the connection is being closed.
    io: Option<Transport>,
    watch: FrameWatch,
    /// What had been pushed when the watch was told last.
    told: u64,
}

impl Gather {
    pub(super) fn new(mut io: Transport, limits: &Limits) -> Self {
        io.gather_at_most(GATHERED_BYTES_MAX);
        let watch = FrameWatch::new(
            limits.resets_per_minute_max,
            limits.control_frames_per_minute_max,
            Instant::now(),
        );
        Self(Arc::new(Mutex::new(Shared { io: Some(io), watch, told: 0 })))
    }

    /// Hands everything that was gathered to the kernel.
    pub(super) fn poll_push(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        let Shared { io: Some(io), watch, told } = &mut *shared else { return Poll::Ready(Ok(())) };
        let polled = io.poll_push(cx);
        watch.sent(io.pushed() - *told);
        *told = io.pushed();
        polled
    }

    /// Why the connection has to end, when it has to.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.lock().watch.fault()
    }

    /// The priorities that came since the last time.
    pub(super) fn take_updates(&self) -> Vec<(u32, Priority)> {
        self.lock().watch.take_updates()
    }

    /// What the kernel knows of the way to the client.
    pub(super) fn way(&self) -> Way {
        self.lock().io.as_ref().map(Transport::way).unwrap_or_default()
    }

    /// Takes the connection away, to close it.
    pub(super) fn take(&self) -> Option<Transport> {
        self.lock().io.take()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Gather {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        let Shared { io: Some(io), watch, .. } = &mut *shared else { return Poll::Ready(Ok(())) };
        if watch.fault().is_some() {
            // The conversation ends the connection; nothing more is read of it.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(io.poll_read(cx, buffer))?;
        watch.received(&buffer.filled()[before..], Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gather {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.lock().io {
            Some(io) => io.poll_gather(cx, slices),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The crate flushes after every frame of data; the push comes when nothing more is ready.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.lock().io {
            Some(io) => io.poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Bytes that leave in one write.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
