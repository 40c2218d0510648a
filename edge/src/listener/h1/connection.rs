//! One connection: what has come and was not taken yet, what waits to leave, and how far its exchange is.
//!
//! Invariant: once a request could not be understood, or a response was not completed, the connection is not used
//! again.

use std::{
    io,
    mem::MaybeUninit,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use tokio::{io::ReadBuf, time::Instant};
use tokio_util::io::poll_read_buf;

use super::{
    chunked::{Chunks, Piece},
    head::{self, Head},
    output::Output,
    response::{self, Asked, Framing},
    scan::{self, Found, Scan},
};
use crate::listener::{
    account::{EXCHANGE, Grant},
    alarm::Alarm,
    bell::Listening,
    config::Limits,
    pace::{Pace, Rules},
    refusal::Refusal,
    stream::{BodyLength, StreamLost},
    tcp::Transport,
};

/// A connection that speaks H1.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) io: Transport,
    /// What this connection holds beside what it had when it came.
    pub(super) room: Grant,
    head_bytes_max: u64,
    /// What has come and was not taken.
    input: BytesMut,
    pub(super) output: Output,
    pub(super) asked: Asked,
    pub(super) body: Body,
    pub(super) phase: Phase,
    /// The response has left completely.
    pub(super) is_finished: bool,
    /// A request has come before.
    has_begun: bool,
    /// The drain has begun, and the first request has little time left.
    is_hurried: bool,
    /// No request is taken after this one.
    pub(super) is_last: bool,
    pub(super) takes_trailers: bool,
    /// The client waits for word before it sends the body, and has not got it.
    pub(super) awaits_continue: bool,
    /// What was wrong with the request's body.
    pub(super) fault: Option<Refusal>,
    /// Body bytes of the response that were handed to the transport.
    pub(super) sent: u64,
    listening: Listening,
    times: Times,
    unread_body_max: u64,
    /// How fast the client sends a body.
    pace: Pace,
    /// When waiting for the client ends: idle, inside a head, or inside a body.
    waiting: Alarm,
    /// When a client that has ended its side counts as gone.
    half_closed: Alarm,
}

/// The rest of the request's body.
#[derive(Debug)]
pub(super) enum Body {
    Done,
    Known(u64),
    Chunked(Chunks),
    /// Nobody knows where it ends.
    Broken,
}

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No head yet.
    Waiting,
    Body(Framing),
    /// Complete, though perhaps not written.
    Ended,
    /// It cannot be completed.
    Cut,
}

/// What comes next on a connection.
#[derive(Debug)]
pub(super) enum Next {
    Request(Box<Head>),
    Refused(Refusal),
    /// Nothing: the client, the idle time or the drain has ended it between two requests.
    End,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    idle: Duration,
    header: Duration,
}

impl Connection {
    pub(super) fn new(io: Transport, room: Grant, listening: Listening, limits: &Limits) -> Self {
        let rules = Rules {
            still_max: limits.body_timeout,
            rate_min: limits.rate_min.as_u64(),
            behind_max: limits.rate_grace,
        };
        Self {
            io,
            room,
            head_bytes_max: limits.header_bytes_max.as_u64(),
            input: BytesMut::new(),
            output: Output::default(),
            asked: Asked::default(),
            body: Body::Done,
            phase: Phase::Ended,
            is_finished: true,
            has_begun: false,
            is_hurried: false,
            is_last: false,
            takes_trailers: false,
            awaits_continue: false,
            fault: None,
            sent: 0,
            listening,
            times: Times { idle: limits.idle_timeout, header: limits.header_timeout },
            unread_body_max: limits.unread_body_max.as_u64(),
            pace: Pace::new(rules),
            waiting: Alarm::default(),
            half_closed: Alarm::default(),
        }
    }

    /// The drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.listening.has_rung()
    }

    /// Waits for the next request's head.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        scan: &mut Scan,
        limits: &scan::Limits,
    ) -> Poll<io::Result<Next>> {
        loop {
            match scan.go_on(&self.input, limits) {
                Err(refusal) => return Poll::Ready(Ok(Next::Refused(refusal))),
                Ok(Found::Head { begin, end, taken }) => {
                    self.waiting.clear();
                    return Poll::Ready(Ok(match head::read(&self.take_head(begin, end, taken)) {
                        Ok(head) => Next::Request(Box::new(head)),
                        Err(refusal) => Next::Refused(refusal),
                    }));
                }
                Ok(Found::More) => {}
            }
            let is_long = self.input.len() > INPUT_AHEAD_MAX;
            if is_long && !self.room.cover(EXCHANGE + self.head_bytes_max) {
                return Poll::Ready(Ok(Next::Refused(Refusal::Busy)));
            }
            // Some clients send an empty line behind a body and nothing more for long.
            let is_idle = matches!(&self.input[..], b"" | b"\r\n");
            if is_idle && self.is_draining() {
                if self.has_begun {
                    // The client knows that it may ask again elsewhere (RFC 9110 9.2.2).
                    return Poll::Ready(Ok(Next::End));
                }
                if !self.is_hurried {
                    // One that has just come does not, and its first request is on its way.
                    self.is_hurried = true;
                    self.waiting.set(Instant::now() + self.times.header.min(FIRST_REQUEST_TIME));
                }
            }
            if !self.waiting.is_set() {
                let time = if is_idle { self.times.idle } else { self.times.header };
                self.waiting.set(Instant::now() + time);
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(true)) if is_idle => {
                    // From the first byte on another time counts.
                    self.waiting.set(Instant::now() + self.times.header);
                }
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(Next::End)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.waiting.poll(cx));
                    return Poll::Ready(Ok(if is_idle {
                        Next::End
                    } else {
                        Next::Refused(Refusal::Slow)
                    }));
                }
            }
        }
    }

    /// Everything is ready for the answer to this head.
    pub(super) fn begin(&mut self, head: &Head, is_last: bool) {
        self.asked =
            Asked { is_head: head.method == http::Method::HEAD, is_http10: head.is_http10 };
        self.body = match head.body {
            BodyLength::Empty | BodyLength::Known(0) => Body::Done,
            BodyLength::Known(length) => Body::Known(length),
            BodyLength::Unknown => Body::Chunked(Chunks::default()),
        };
        self.phase = Phase::Waiting;
        self.has_begun = true;
        self.is_finished = false;
        self.is_last = is_last || !head.is_kept_alive;
        self.takes_trailers = head.takes_trailers;
        self.awaits_continue = head.expects_continue;
        self.pace.rest();
        self.sent = 0;
    }

    /// The next piece of the request's body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamLost>> {
        loop {
            match self.take_content() {
                Ok(Piece::Content(piece)) => {
                    if self.pace.is_waiting() {
                        self.pace.moved(piece.len(), Instant::now());
                        self.pace.pause();
                        self.waiting.clear();
                    }
                    return Poll::Ready(Ok(Some(piece)));
                }
                Ok(Piece::End) => {
                    self.waiting.clear();
                    self.pace.rest();
                    return Poll::Ready(Ok(None));
                }
                Ok(Piece::More) => {}
                Err(refusal) => return Poll::Ready(Err(self.broken(refusal))),
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    self.body = Body::Broken;
                    return Poll::Ready(Err(StreamLost("the client ended inside the body".into())));
                }
                Poll::Ready(Err(error)) => {
                    self.body = Body::Broken;
                    return Poll::Ready(Err(lost(&error)));
                }
                Poll::Pending => {
                    self.waiting.set(self.pace.wait(Instant::now()));
                    ready!(self.waiting.poll(cx));
                    return Poll::Ready(Err(self.broken(Refusal::Slow)));
                }
            }
        }
    }

    /// Writes what waits; what it gathers leaves with [`Transport::poll_push`].
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(self.io.poll_gather(cx, &self.output.slices()))?;
            self.sent += self.output.advance(written) as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what waits and hands it to the kernel.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx))?;
        self.io.poll_push(cx)
    }

    /// Waits until the client is gone. What it sends meanwhile is kept for later, up to a limit.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamLost> {
        if self.phase == Phase::Ended {
            return Poll::Pending;
        }
        while !self.io.is_over() && self.input.len() < INPUT_AHEAD_MAX {
            if let Err(error) = ready!(self.poll_fill(cx)) {
                return Poll::Ready(lost(&error));
            }
        }
        if !self.io.is_over() {
            return Poll::Pending;
        }
        if !self.io.is_tls() {
            // It may have ended its side alone, as scripts do that still read the answer.
            if !self.half_closed.is_set() {
                self.half_closed.set(Instant::now() + HALF_CLOSED_TIME);
            }
            ready!(self.half_closed.poll(cx));
        }
        Poll::Ready(StreamLost("the client has gone".into()))
    }

    /// Reads the rest of a body away; true when the next request can be found behind it.
    pub(super) async fn discard_body(&mut self) -> bool {
        let discard = async {
            let mut left = self.unread_body_max;
            loop {
                match std::future::poll_fn(|cx| self.poll_body(cx)).await {
                    Ok(None) => return true,
                    Ok(Some(piece)) => left = left.saturating_sub(piece.len() as u64),
                    Err(_) => return false,
                }
                if left == 0 {
                    return false;
                }
            }
        };
        tokio::time::timeout(DISCARD_TIME, discard).await.unwrap_or(false)
    }

    /// Whether so little of the body is left that it may be read away.
    pub(super) fn is_body_short(&self) -> bool {
        match self.body {
            Body::Done => true,
            Body::Known(left) => left <= self.unread_body_max && !self.awaits_continue,
            // Only reading it tells.
            Body::Chunked(_) => !self.awaits_continue,
            Body::Broken => false,
        }
    }

    /// Answers a request that is refused.
    pub(super) async fn refuse(&mut self, refusal: Refusal) {
        response::write_refusal(self.output.lines(), refusal, SystemTime::now());
        // The client may be gone, which is as good an end.
        let _ = std::future::poll_fn(|cx| self.poll_drain(cx)).await;
    }

    fn broken(&mut self, refusal: Refusal) -> StreamLost {
        self.body = Body::Broken;
        self.is_last = true;
        self.fault.get_or_insert(refusal);
        StreamLost(refusal.to_string().into())
    }

    fn take_content(&mut self) -> Result<Piece, Refusal> {
        match &mut self.body {
            Body::Done => Ok(Piece::End),
            Body::Broken => Err(self.fault.unwrap_or(Refusal::Malformed("body"))),
            Body::Known(_) if self.input.is_empty() => Ok(Piece::More),
            Body::Known(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= length as u64;
                if *left == 0 {
                    self.body = Body::Done;
                }
                Ok(Piece::Content(self.input.split_to(length).freeze()))
            }
            Body::Chunked(chunks) => {
                let piece = chunks.next(&mut self.input)?;
                if piece == Piece::End {
                    self.body = Body::Done;
                }
                Ok(piece)
            }
        }
    }

    /// The head's bytes, apart from what follows them.
    fn take_head(&mut self, begin: usize, end: usize, taken: usize) -> Bytes {
        if taken == self.input.len() {
            // The usual case: no copy, and an idle connection holds no buffer.
            return std::mem::take(&mut self.input).freeze().slice(begin..end);
        }
        self.input.split_to(taken).freeze().slice(begin..end)
    }

    /// Reads more; false at the end of the client's side.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // What was gathered should not wait for the client's next word.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        if self.io.is_over() {
            return Poll::Ready(Ok(false));
        }
        if matches!(self.body, Body::Done) {
            let mut buffer = [MaybeUninit::uninit(); HEAD_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            ready!(self.io.poll_read(cx, &mut buffer))?;
            self.input.extend_from_slice(buffer.filled());
            return Poll::Ready(Ok(!buffer.filled().is_empty()));
        }
        if self.input.capacity() - self.input.len() < BODY_READ_BYTES / 4 {
            self.input.reserve(BODY_READ_BYTES);
        }
        let read = ready!(poll_read_buf(std::pin::Pin::new(&mut self.io), cx, &mut self.input))?;
        Poll::Ready(Ok(read > 0))
    }
}

/// What the app is told of a broken connection.
pub(super) fn lost(error: &io::Error) -> StreamLost {
    StreamLost(error.to_string().into())
}

/// Bytes read at once while a head is expected; more than most heads have.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// Bytes read at once of a body.
const BODY_READ_BYTES: usize = 64 * 1024;
/// Bytes that are read ahead only to see whether the client is still there.
const INPUT_AHEAD_MAX: usize = 16 * 1024;
/// For the first request of a connection that has come when the drain begins.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);
/// How long a client that has ended its side of an unencrypted connection may wait for the answer.
const HALF_CLOSED_TIME: Duration = Duration::from_secs(1);
/// Time for the rest of an unwanted body.
const DISCARD_TIME: Duration = Duration::from_secs(5);
