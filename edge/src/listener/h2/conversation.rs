//! The streams of one connection, each an exchange.
//!
//! Invariant: a client that keeps sending malformed requests, frames that move nothing, or no requests at all, loses
//! the connection.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{io::ReadBuf, time::Instant};

use super::{
    arrival::{Arrival, Ending},
    frame::PREFACE,
    shared::Shared,
    stream::H2Stream,
};
use crate::listener::{
    alarm::Alarm,
    bell::{Bell, Listening},
    downstream::{Downstream, Protocol},
    priority::Priority,
    refusal::Refusal,
    serving::Serving,
    stream::{App, Request},
    tcp::Transport,
};

/// Serves a connection to its end.
pub(in crate::listener) async fn converse<A: App>(
    mut io: Transport,
    serving: Arc<Serving<A>>,
    bell: Arc<Bell>,
) {
    let downstream = Downstream {
        protocol: Protocol::Http2,
        client: io.client(),
        tls: io.is_tls(),
        early_data: false,
    };
    let shaken = tokio::time::timeout(serving.limits.handshake_timeout, preface(&mut io)).await;
    let Ok(Ok(early)) = shaken else { return serving.metrics.refused("handshake") };
    let _open = serving.metrics.connection(Protocol::Http2);
    let shared = Shared::new(io, &serving.limits, serving.account.clone());
    shared.lock().introduce(&serving.limits);
    let mut conversation = Conversation {
        arrival: Arrival::new(shared.clone(), &serving.limits, downstream),
        shared: shared.clone(),
        early,
        bell: poll_fn(|cx| Poll::Ready(bell.listen(cx))).await,
        is_hurried: false,
        is_closing: false,
        is_ending: false,
        is_blocked: false,
        quiet_since: None,
        quiet: Alarm::default(),
        head_limit: Alarm::default(),
        told: 0,
        serving: serving.clone(),
    };
    poll_fn(|cx| shared.turn(cx, |cx| conversation.poll(cx))).await;
    let io = shared.lock().close();
    drop(conversation);
    let Some(io) = io else { return };
    if io.was_slow() {
        serving.metrics.cut(Protocol::Http2, "slow");
        return io.abort();
    }
    io.close().await;
}

struct Conversation<A> {
    shared: Arc<Shared>,
    arrival: Arrival,
    /// What came with the preface.
    early: Vec<u8>,
    bell: Listening,
    /// The drain has begun, and the first request has little time left.
    is_hurried: bool,
    /// The client was told that no more requests are taken.
    is_closing: bool,
    /// Nothing is read any more; what waits leaves, and that is all.
    is_ending: bool,
    /// The client does not take what is ready.
    is_blocked: bool,
    /// Since when no exchange is open and everything has left.
    quiet_since: Option<Instant>,
    quiet: Alarm,
    /// When a header section that has begun must be whole.
    head_limit: Alarm,
    /// What had been pushed when the arrival was told last.
    told: u64,
    serving: Arc<Serving<A>>,
}

/// How a round of reading ended.
enum Read {
    /// Nothing more is there.
    All,
    /// There may be more, but others come first.
    Some,
}

impl<A: App> Conversation<A> {
    /// One turn: takes everything that has come, serves what need not wait, and lets everything leave together.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_PER_TURN {
            let read = match self.poll_read(cx) {
                Ok(read) => read,
                Err(error) => {
                    tracing::debug!(%error, "H2 connection ended");
                    return Poll::Ready(());
                }
            };
            self.look_at_bell();
            match self.poll_flush(cx) {
                Poll::Ready(Ok(())) if self.is_ending => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "H2 connection broke");
                    return Poll::Ready(());
                }
                Poll::Pending => return self.poll_quiet(cx),
            }
            if let Read::Some = read {
                continue;
            }
            if self.is_closing && self.is_done() {
                return Poll::Ready(());
            }
            if self.poll_late_head(cx).is_ready() {
                self.end(Ending::calm());
                continue;
            }
            ready!(self.poll_quiet(cx));
            if self.is_closing {
                return Poll::Ready(());
            }
            self.close_gracefully();
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads what has come and serves it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<Read> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.take(&early);
        }
        for _ in 0..READS_PER_ROUND {
            if self.is_ending {
                return Ok(Read::All);
            }
            let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            {
                let mut state = self.shared.lock();
                if state.output.own_bytes() > OWN_BYTES_MAX {
                    // A client that takes nothing is not heard either.
                    return Ok(Read::Some);
                }
                let Some(io) = &mut state.io else { return Ok(Read::All) };
                match io.poll_read(cx, &mut buffer) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => return Ok(Read::All),
                }
            }
            if buffer.filled().is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.take(buffer.filled());
        }
        Ok(Read::Some)
    }

    /// Takes bytes that have come, and begins the exchanges that they ask for.
    fn take(&mut self, mut bytes: &[u8]) {
        let now = Instant::now();
        loop {
            let begun = match self.arrival.next(&mut bytes, now) {
                Ok(Some(begun)) => begun,
                Ok(None) => break,
                Err(ending) => return self.end(ending),
            };
            self.quiet_since = None;
            match begun {
                Ok((request, stream, priority)) => self.begin(request, stream, priority),
                Err(refusal) => {
                    self.serving.metrics.request_refused(Protocol::Http2, refusal.as_str());
                }
            }
        }
        if !self.arrival.is_within_head() {
            self.head_limit.clear();
        } else if !self.head_limit.is_set() {
            self.head_limit.set(now + self.serving.limits.header_timeout);
        }
    }

    /// Serves one request, in a task of its own only when it has to wait.
    fn begin(&mut self, request: Request, stream: (u32, usize), priority: Priority) {
        let Some(room) = self.shared.room() else {
            let busy = self.arrival.refuse_opened(stream, Refusal::Busy);
            self.serving.metrics.request_refused(Protocol::Http2, busy.as_str());
            return;
        };
        let is_head = request.method == http::Method::HEAD;
        let stream = H2Stream::new(self.shared.clone(), room, stream, is_head, priority);
        let app = self.serving.app.clone();
        let mut exchange = Box::pin(async move { drop(app.serve(request, stream).await) });
        // What waits is polled again by its own task, so nobody needs to be woken from here. A panic ends one
        // exchange, as it would in a task.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            exchange.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }));
        if let Ok(Poll::Pending) = polled {
            self.serving.tasks.spawn(exchange);
        }
    }

    fn look_at_bell(&mut self) {
        if self.is_closing || !self.bell.has_rung() {
            return;
        }
        if self.arrival.has_begun() {
            self.close_gracefully();
        } else if !self.is_hurried {
            // A client that has just come has its first request on the way.
            self.is_hurried = true;
            self.quiet_since = None;
        }
    }

    /// Lets everything leave; what left pays for window updates.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let flushed = state.poll_flush(cx);
        let pushed = state.pushed();
        drop(state);
        self.arrival.sent(pushed - self.told);
        self.told = pushed;
        self.is_blocked = flushed.is_pending();
        if ready!(flushed)? {
            // After the streams that have room again.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Every request that was taken is answered, and the client knows which.
    fn is_done(&self) -> bool {
        let state = self.shared.lock();
        self.arrival.has_taken_leave() && state.exchanges == 0 && state.streams.open() == 0
    }

    /// Ready when a header section took too long.
    fn poll_late_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.head_limit.poll(cx)
    }

    /// Ready when nothing has happened for as long as that is allowed.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_busy = !self.is_ending && {
            let mut state = self.shared.lock();
            let is_busy = state.exchanges > 0 || self.is_blocked;
            if !is_busy {
                state.output.rest();
            }
            is_busy
        };
        if is_busy {
            self.quiet_since = None;
            self.quiet.clear();
            return Poll::Pending;
        }
        let time = match (self.is_closing, self.is_hurried) {
            (true, _) => CLOSE_TIME,
            (false, true) => self.serving.limits.header_timeout.min(FIRST_REQUEST_TIME),
            (false, false) => self.serving.limits.idle_timeout,
        };
        if self.quiet_since.is_none() {
            let now = Instant::now();
            self.quiet_since = Some(now);
            self.quiet.set(now + time);
        }
        self.quiet.poll(cx)
    }

    fn close_gracefully(&mut self) {
        self.arrival.begin_leave();
        self.is_closing = true;
        self.quiet_since = None;
    }

    /// Ends the connection of a client that broke the protocol, or is too much.
    fn end(&mut self, ending: Ending) {
        tracing::debug!(why = ending.why, "H2 connection is ended");
        if ending.is_of_client() {
            let reason = if ending.is_calm() { "calm" } else { "malformed" };
            self.serving.metrics.cut(Protocol::Http2, reason);
        }
        self.arrival.leave(ending.code);
        self.is_closing = true;
        self.is_ending = true;
        self.quiet_since = None;
    }
}

/// Reads the preface; returns what came behind it.
async fn preface(io: &mut Transport) -> io::Result<Vec<u8>> {
    let mut begun = Vec::new();
    loop {
        let seen = begun.len().min(PREFACE.len());
        if begun[..seen] != PREFACE[..seen] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if begun.len() >= PREFACE.len() {
            return Ok(begun.split_off(PREFACE.len()));
        }
        let mut buffer = [0; 1024];
        let mut buffer = ReadBuf::new(&mut buffer);
        poll_fn(|cx| io.poll_read(cx, &mut buffer)).await?;
        if buffer.filled().is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        begun.extend_from_slice(buffer.filled());
    }
}

/// Bytes that are read at once: one record.
const READ_BYTES: usize = 16 * 1024;
/// Reads before what they ask for leaves: a client that sends without a pause gets its answers.
const READS_PER_ROUND: usize = 2;
/// Rounds before other connections have their turn: a record holds more than a thousand requests of the shortest kind.
const ROUNDS_PER_TURN: usize = 2;
/// Frames of ours, heads of responses among them, that may wait for a client that is still heard.
const OWN_BYTES_MAX: usize = 64 * 1024;
/// For the first request of a connection that has come when the drain begins.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);
/// Time for a client to answer GOAWAY once no exchange is open.
const CLOSE_TIME: Duration = Duration::from_secs(2);
