//! A TCP connection, with TLS or without, as fast as it can be read by one who keeps nothing.
//!
//! Socket reads go into one buffer of the worker, not of the connection, and are large: rustls asked alone reads 4 KiB
//! at a time. An idle connection so holds no buffer of ours.
//! Invariant: no byte of an answer is handed out before the handshake is over.

mod tls;

use std::{
    cell::RefCell,
    io::{self, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rustls::ClientConnection;
use tokio::{
    io::{AsyncRead as _, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use self::tls::Tls;
use super::{
    greeting::Greeting,
    turns::{Share, Turns},
};

/// Where a worker's sockets are read into.
pub(super) type Buffer = Rc<RefCell<Box<[u8]>>>;

pub(super) fn buffer() -> Buffer {
    Rc::new(RefCell::new(vec![0; BUFFER].into_boxed_slice()))
}

/// A connection.
pub(super) struct Transport {
    tcp: TcpStream,
    tls: Option<Box<Tls>>,
    /// Without TLS: what was read and not taken yet. With it, its own state has that.
    ahead: Vec<u8>,
    buffer: Buffer,
    turns: Rc<Turns>,
    share: Share,
    /// The most that one read of the socket takes.
    read_max: usize,
}

impl Transport {
    pub(super) fn plain(tcp: TcpStream, buffer: Buffer, turns: Rc<Turns>, read_max: usize) -> Self {
        let read_max = read_max.clamp(1, BUFFER);
        let (tls, ahead, share) = (None, Vec::new(), Share::default());
        Self { tcp, tls, ahead, buffer, turns, share, read_max }
    }

    pub(super) fn with_tls(
        self,
        connection: ClientConnection,
        alpn: &'static [u8],
        greeting: Rc<Greeting>,
    ) -> Self {
        Self { tls: Some(Box::new(Tls::new(connection, alpn, greeting))), ..self }
    }

    /// Whether a request may go out before the handshake is over.
    pub(super) fn may_be_early(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.early.is_some())
    }

    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        while tls.greeting.done().is_none() {
            while tls.connection.wants_write() {
                ready!(tls.poll_send(&mut self.tcp, cx))?;
            }
            if !tls.connection.is_handshaking() {
                tls.greet()?;
                break;
            }
            if !self.turns.may_read(&mut self.share, cx) {
                return Poll::Pending;
            }
            let mut space = self.buffer.borrow_mut();
            let mut space = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut space))?;
            if space.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Err(error) = tls.greeted_with(space.filled()) {
                // The alert tells the server why; whether it goes out changes nothing.
                let _ = tls.poll_send(&mut self.tcp, cx);
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Hands out what has come: at least one byte, or none at the end. `take` says how much it took; it is asked again
    /// only in the next call when that was not all.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(cx))?;
        self.poll_take_within(Some(&Rc::clone(&self.turns)), cx, take)
    }

    /// Reads the socket only when the turns, if there are any, let it. What was read before costs none.
    fn poll_take_within(
        &mut self,
        turns: Option<&Turns>,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let mut space = self.buffer.borrow_mut();
        let Some(tls) = &mut self.tls else {
            if !self.ahead.is_empty() {
                let count = take(&self.ahead);
                self.ahead.drain(..count);
                return Poll::Ready(Ok(count));
            }
            if turns.is_some_and(|turns| !turns.may_read(&mut self.share, cx)) {
                return Poll::Pending;
            }
            let mut space = ReadBuf::new(&mut space[..self.read_max]);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut space))?;
            self.share.add(space.filled().len());
            let count = take(space.filled());
            self.ahead = space.filled()[count..].to_vec();
            return Poll::Ready(Ok(count));
        };
        loop {
            let (count, _) = tls.drain(take)?;
            if count > 0 || tls.is_over {
                return Poll::Ready(Ok(count));
            }
            let count = if tls.has_whole_ahead() {
                tls.decrypt_ahead(take)?
            } else {
                if turns.is_some_and(|turns| !turns.may_read(&mut self.share, cx)) {
                    tls.rest();
                    return Poll::Pending;
                }
                // Behind the part of a record that waits.
                let part = tls.ahead.len();
                let end = part.saturating_add(self.read_max).min(BUFFER);
                let mut behind = ReadBuf::new(&mut space[part..end]);
                let read = Pin::new(&mut self.tcp).poll_read(cx, &mut behind);
                let count = behind.filled().len();
                if read.is_pending() {
                    tls.rest();
                }
                ready!(read)?;
                self.share.add(count);
                if count == 0 {
                    tls.end()?
                } else {
                    space[..part].copy_from_slice(&tls.ahead);
                    let (used, taken) = tls.decrypt(&space[..part + count], take)?;
                    tls.keep(&space[used..part + count]);
                    taken
                }
            };
            if tls.connection.wants_write() {
                // An answer to a key update; it can wait for the socket.
                let _ = tls.poll_send(&mut self.tcp, cx)?;
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// The connection is idle now.
    pub(super) fn rest(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.rest();
        }
    }

    /// Whether an idle connection can still serve: nothing has come on it, not even its end.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Only connections whose handshake is over become idle.
        let is_pending = self.poll_take_within(None, &mut cx, &mut |piece| piece.len());
        let is_pending = is_pending.is_pending();
        is_pending && self.tls.as_ref().is_none_or(|tls| !tls.is_over)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(tls) = &mut this.tls else { return Pin::new(&mut this.tcp).poll_write(cx, data) };
        if tls.greeting.done().is_none() {
            if let (Some(sent), Some(mut early)) = (&mut tls.early, tls.connection.early_data()) {
                let count = early.write(data)?;
                if count > 0 {
                    sent.extend_from_slice(&data[..count]);
                    let _ = tls.poll_send(&mut this.tcp, cx)?;
                    return Poll::Ready(Ok(count));
                }
            }
            ready!(this.poll_handshake(cx))?;
        }
        let Some(tls) = &mut this.tls else { return Poll::Ready(Ok(0)) };
        loop {
            let count = tls.connection.writer().write(data)?;
            let sent = tls.poll_send(&mut this.tcp, cx)?;
            match (count, sent) {
                (0, Poll::Pending) if !data.is_empty() => return Poll::Pending,
                (0, Poll::Ready(())) if !data.is_empty() => {}
                (count, _) => return Poll::Ready(Ok(count)),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.tls {
            Some(tls) => tls.poll_send(&mut this.tcp, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(tls) = &mut this.tls {
            tls.connection.send_close_notify();
            ready!(tls.poll_send(&mut this.tcp, cx))?;
        }
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

/// One read of a socket: eight TLS records of the largest size, which stay in the second-level cache. A multiple of them,
/// so that whoever is read while its server has more keeps no part of one.
const BUFFER: usize = 8 * (16 * 1024 + 22);
