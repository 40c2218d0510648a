//! One exchange on an H2 stream as the app sees it: flow control, the order among streams, and the client's pace.
//!
//! Invariant: the stream ends with END_STREAM behind exactly what was announced, or with RST_STREAM.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::{
    response::{put_head, put_interim, put_trailers},
    shared::Shared,
    streams::Lost,
};
use crate::listener::{
    account::{EXCHANGE, Grant, WINDOW_MIN},
    alarm::Alarm,
    announced::Announced,
    pace::Pace,
    priority::Priority,
    stream::{ResponseHead, Stream, StreamLost, Way},
    tcp::Transport,
};

/// The stream of one request.
pub(super) struct H2Stream {
    shared: Arc<Shared>,
    /// What it may hold; given back when its content has left.
    room: Option<Grant>,
    id: u32,
    place: usize,
    priority: Priority,
    is_head: bool,
    phase: Phase,
    is_finished: bool,
    /// What flow control has not let through yet: the first, and what stands behind it.
    next: Option<Waiting>,
    behind: VecDeque<Waiting>,
    sent: u64,
    /// There once the client was waited for.
    slow: Option<Box<Slow>>,
}

enum Waiting {
    Data(Bytes, bool),
    Trailers(HeaderMap),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No head yet.
    Waiting,
    Body(Announced),
    Ended,
    Cut,
}

/// How fast the client is.
struct Slow {
    taking: Pace,
    taking_limit: Alarm,
    sending: Pace,
    sending_limit: Alarm,
}

impl H2Stream {
    pub(super) fn new(
        shared: Arc<Shared>,
        room: Grant,
        (id, place): (u32, usize),
        is_head: bool,
        priority: Priority,
    ) -> Self {
        Self {
            shared,
            room: Some(room),
            id,
            place,
            priority,
            is_head,
            phase: Phase::Waiting,
            is_finished: false,
            next: None,
            behind: VecDeque::new(),
            sent: 0,
            slow: None,
        }
    }
}

impl Stream for H2Stream {
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, StreamLost>> + Send {
        poll_fn(|cx| self.poll_read(cx))
    }

    fn inform(&mut self, status: StatusCode, headers: &HeaderMap) {
        if self.phase != Phase::Waiting
            || !status.is_informational()
            || status == StatusCode::SWITCHING_PROTOCOLS
        {
            return;
        }
        let mut state = self.shared.lock();
        // A client that does not take them gets no more.
        if state.stream(self.place).is_ok() && state.output.own_bytes() < INTERIM_BYTES_MAX {
            let is_first = state.is_first_answer();
            state.output.write(|out| put_interim(out, self.id, status, headers, is_first));
            state.touch();
        }
    }

    fn head(&mut self, head: &ResponseHead<'_>, is_last: bool) -> Result<(), StreamLost> {
        let announced = match self.phase {
            Phase::Waiting => Announced::of(head, is_last, self.is_head),
            _ => None,
        };
        let Some(announced) = announced else {
            return Err(self.cut("a head that contradicts its body, or a second one"));
        };
        let length = match announced {
            Announced::Exactly(length) => Some(length),
            Announced::Nothing if head.status != StatusCode::NO_CONTENT => head.length,
            Announced::Nothing | Announced::Open => None,
        };
        self.priority = head.priority(self.priority);
        let queued_max = self.queued_max(announced);
        let mut state = self.shared.lock();
        state.stream(self.place).map_err(lost)?.queued_max = queued_max;
        let is_first = state.is_first_answer();
        let id = self.id;
        state.output.write(|out| put_head(out, id, head, length, is_last, is_first));
        state.begin_response();
        if is_last {
            state.end_response(self.place);
        }
        state.touch();
        self.phase = if is_last { Phase::Ended } else { Phase::Body(announced) };
        Ok(())
    }

    fn send(
        &mut self,
        data: Bytes,
        is_last: bool,
    ) -> impl Future<Output = Result<(), StreamLost>> + Send {
        // Taken here and not when the future is polled: dropping the future loses nothing.
        let taken = self.take(data, is_last);
        async move {
            taken?;
            poll_fn(|cx| self.poll_room(cx)).await
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), StreamLost> {
        match self.phase {
            Phase::Body(announced) if announced.may_end() => {}
            _ => return Err(self.cut("trailers in the wrong place")),
        }
        self.phase = Phase::Ended;
        self.wait(Waiting::Trailers(trailers.clone()));
        // Goes out at once when nothing waits before it; else with `finish`.
        let _ = self.poll_room(&mut Context::from_waker(Waker::noop()));
        Ok(())
    }

    fn finish(&mut self) -> impl Future<Output = Result<(), StreamLost>> + Send {
        poll_fn(|cx| {
            if self.phase != Phase::Ended {
                return Poll::Ready(Err(StreamLost("the response is not complete".into())));
            }
            self.poll_room(cx).map_ok(|()| self.is_finished = true)
        })
    }

    fn gone(&mut self) -> impl Future<Output = StreamLost> + Send {
        poll_fn(|cx| {
            if self.phase == Phase::Ended && self.next.is_none() {
                return Poll::Pending;
            }
            match self.shared.lock().stream(self.place) {
                Ok(entry) => {
                    entry.watcher = Some(cx.waker().clone());
                    Poll::Pending
                }
                Err(why) => Poll::Ready(lost(why)),
            }
        })
    }

    fn way(&self) -> Way {
        self.shared.lock().io.as_ref().map(Transport::way).unwrap_or_default()
    }

    fn sent(&self) -> u64 {
        self.sent
    }
}

impl H2Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamLost>> {
        let mut state = self.shared.lock();
        let read = state.read(self.place).map_err(lost)?;
        let is_over = read.is_none() && state.stream(self.place).map_err(lost)?.is_request_over;
        if let Some(content) = read {
            drop(state);
            if let Some(slow) = &mut self.slow
                && slow.sending.is_waiting()
            {
                slow.sending.moved(content.len(), Instant::now());
                slow.sending.pause();
                slow.sending_limit.clear();
            }
            return Poll::Ready(Ok(Some(content)));
        }
        if is_over {
            drop(state);
            if let Some(slow) = &mut self.slow {
                slow.sending.rest();
                slow.sending_limit.clear();
            }
            return Poll::Ready(Ok(None));
        }
        state.stream(self.place).map_err(lost)?.reader = Some(cx.waker().clone());
        drop(state);
        let slow = self.slow();
        slow.sending_limit.set(slow.sending.wait(Instant::now()));
        ready!(slow.sending_limit.poll(cx));
        Poll::Ready(Err(StreamLost("the body comes too slowly".into())))
    }

    /// How much of a response may wait for the client; more when it is large and there is room.
    fn queued_max(&mut self, announced: Announced) -> usize {
        let is_large = match announced {
            Announced::Nothing => false,
            Announced::Exactly(length) => length > WINDOW_MIN,
            Announced::Open => true,
        };
        let buffer = self.shared.send_buffer;
        let has_room =
            is_large && self.room.as_mut().is_some_and(|room| room.cover(EXCHANGE + buffer as u64));
        if has_room { buffer } else { buffer.min(WINDOW_MIN as usize) }
    }

    /// Takes a piece that is to be sent.
    fn take(&mut self, data: Bytes, is_last: bool) -> Result<(), StreamLost> {
        let Phase::Body(mut announced) = self.phase else {
            return Err(self.cut("content without a head, or behind its end"));
        };
        if self.behind.len() >= PIECES_MAX {
            return Err(self.cut("content faster than it can leave"));
        }
        if !announced.take(data.len(), is_last) {
            return Err(self.cut("content of another length than announced"));
        }
        self.phase = if is_last { Phase::Ended } else { Phase::Body(announced) };
        let data = if announced == Announced::Nothing { Bytes::new() } else { data };
        if !data.is_empty() || is_last {
            self.wait(Waiting::Data(data, is_last));
        }
        Ok(())
    }

    fn wait(&mut self, waiting: Waiting) {
        if self.next.is_none() {
            self.next = Some(waiting);
        } else {
            self.behind.push_back(waiting);
        }
    }

    /// Hands over what waits, as flow control and the order among streams allow.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        if self.next.is_some() {
            let mut state = self.shared.lock();
            while let Some(next) = &mut self.next {
                state.stream(self.place).map_err(lost)?;
                let (data, is_last) = match next {
                    Waiting::Trailers(trailers) => {
                        state.output.write(|out| put_trailers(out, self.id, trailers));
                        state.end_response(self.place);
                        self.next = self.behind.pop_front();
                        continue;
                    }
                    Waiting::Data(data, is_last) => (data, *is_last),
                };
                if data.is_empty() {
                    if is_last {
                        state.send(self.place, Bytes::new(), true);
                    }
                    self.next = self.behind.pop_front();
                    continue;
                }
                let rank = state.order.rank(self.id, self.priority);
                if state.order.poll_turn(self.id, rank, cx).is_pending() {
                    state.touch();
                    drop(state);
                    // Others hold it up, not the client.
                    self.rest();
                    return Poll::Pending;
                }
                let room = state.room(self.place);
                if room == 0 {
                    state.order.blocked(self.id, rank);
                    state.touch();
                    state.stream(self.place).map_err(lost)?.writer = Some(cx.waker().clone());
                    drop(state);
                    return self.poll_slow(cx);
                }
                let length = data.len().min(room).min(FRAME_BYTES);
                let piece = data.split_to(length);
                let is_done = data.is_empty();
                state.send(self.place, piece, is_last && is_done);
                state.order.queued(self.id, rank, length, is_last && is_done);
                self.sent += length as u64;
                if let Some(slow) = &mut self.slow
                    && slow.taking.is_waiting()
                {
                    slow.taking.moved(length, Instant::now());
                }
                if is_done {
                    self.next = self.behind.pop_front();
                }
            }
            state.touch();
        }
        self.rest();
        Poll::Ready(Ok(()))
    }

    /// Nothing waits for the client.
    fn rest(&mut self) {
        if let Some(slow) = &mut self.slow
            && slow.taking.is_waiting()
        {
            slow.taking.rest();
            slow.taking_limit.clear();
        }
    }

    /// Waits for room, but not for ever.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        let slow = self.slow();
        slow.taking_limit.set(slow.taking.wait(Instant::now()));
        ready!(slow.taking_limit.poll(cx));
        Poll::Ready(Err(StreamLost("the client takes too slowly".into())))
    }

    fn slow(&mut self) -> &mut Slow {
        self.slow.get_or_insert_with(|| {
            Box::new(Slow {
                taking: Pace::new(self.shared.taking),
                taking_limit: Alarm::default(),
                sending: Pace::new(self.shared.sending),
                sending_limit: Alarm::default(),
            })
        })
    }

    fn cut(&mut self, why: &'static str) -> StreamLost {
        self.phase = Phase::Cut;
        StreamLost(why.into())
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            self.shared.lock().conclude(self.place, self.is_finished, room);
        }
    }
}

fn lost(why: Lost) -> StreamLost {
    StreamLost(match why {
        Lost::Reset(code) => format!("the client has reset the stream with code {code}").into(),
        Lost::Broken(why) => why.into(),
        Lost::Connection => "the connection has ended".into(),
    })
}

/// A frame of this size with its head fills one TLS record.
const FRAME_BYTES: usize = 16 * 1024 - 9;
/// Pieces that may wait for flow control; only a caller that does not wait gets this far.
const PIECES_MAX: usize = 64;
/// Frames of ours that may wait when an interim response is still worth sending.
const INTERIM_BYTES_MAX: usize = 32 * 1024;
