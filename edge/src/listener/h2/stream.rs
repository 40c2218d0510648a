//! One exchange on an H2 stream as the app sees it: flow control, the order among streams, and the client's pace.
//!
//! Invariant: the stream ends with END_STREAM behind exactly what was announced, or with RST_STREAM.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Response, StatusCode, header::CONTENT_LENGTH};
use tokio::time::Instant;

use super::exchanges::OpenExchange;
use crate::listener::{
    account::WINDOW_MIN,
    alarm::Alarm,
    announced::Announced,
    pace::Pace,
    priority::Priority,
    stream::{ResponseHead, Stream, StreamLost, Way},
};

/// The stream of one request.
pub(super) struct H2Stream(Box<Inner>);

struct Inner {
    respond: SendResponse<Bytes>,
    request: RecvStream,
    /// There once the head was sent.
    response: Option<SendStream<Bytes>>,
    open: OpenExchange,
    id: u32,
    /// How much may wait for the client behind flow control.
    send_buffer: usize,
    priority: Priority,
    is_head: bool,
    phase: Phase,
    is_finished: bool,
    /// What flow control has not let through yet.
    waiting: VecDeque<Waiting>,
    sent: u64,
    taking: Pace,
    taking_limit: Alarm,
    sending: Pace,
    sending_limit: Alarm,
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

impl H2Stream {
    pub(super) fn new(
        request: RecvStream,
        respond: SendResponse<Bytes>,
        is_head: bool,
        priority: Priority,
        open: OpenExchange,
    ) -> Self {
        let (taking, sending) = (Pace::new(open.0.taking), Pace::new(open.0.sending));
        Self(Box::new(Inner {
            id: respond.stream_id().as_u32(),
            respond,
            request,
            response: None,
            send_buffer: 0,
            open,
            priority,
            is_head,
            phase: Phase::Waiting,
            is_finished: false,
            waiting: VecDeque::new(),
            sent: 0,
            taking,
            taking_limit: Alarm::default(),
            sending,
            sending_limit: Alarm::default(),
        }))
    }
}

impl Stream for H2Stream {
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, StreamLost>> + Send {
        poll_fn(|cx| self.0.poll_read(cx))
    }

    fn inform(&mut self, status: StatusCode, headers: &HeaderMap) {
        if self.0.phase != Phase::Waiting || !status.is_informational() {
            return;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        response.headers_mut().clone_from(headers);
        // The client may have gone, which is found out soon enough.
        let _ = self.0.respond.send_informational(response);
    }

    fn head(&mut self, head: &ResponseHead<'_>, is_last: bool) -> Result<(), StreamLost> {
        let inner = &mut *self.0;
        let announced = match inner.phase {
            Phase::Waiting => Announced::of(head, is_last, inner.is_head),
            _ => None,
        };
        let Some(announced) = announced else {
            return Err(inner.cut("a head that contradicts its body, or a second one"));
        };
        let response = response(head, announced);
        inner.priority = head.priority(inner.priority);
        let is_large = match announced {
            Announced::Nothing => false,
            Announced::Exactly(length) => length > WINDOW_MIN,
            Announced::Open => true,
        };
        inner.send_buffer = inner.open.send_buffer(is_large);
        inner.response = Some(inner.respond.send_response(response, is_last).map_err(lost)?);
        inner.phase = if is_last { Phase::Ended } else { Phase::Body(announced) };
        Ok(())
    }

    fn send(
        &mut self,
        data: Bytes,
        is_last: bool,
    ) -> impl Future<Output = Result<(), StreamLost>> + Send {
        // Taken here and not when the future is polled: dropping the future loses nothing.
        let taken = self.0.take(data, is_last);
        async move {
            taken?;
            poll_fn(|cx| self.0.poll_room(cx)).await
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), StreamLost> {
        let inner = &mut *self.0;
        match inner.phase {
            Phase::Body(announced) if announced.may_end() => {}
            _ => return Err(inner.cut("trailers in the wrong place")),
        }
        inner.phase = Phase::Ended;
        inner.waiting.push_back(Waiting::Trailers(trailers.clone()));
        // Goes out at once when nothing waits before it; else with `finish`.
        let _ = inner.poll_room(&mut Context::from_waker(Waker::noop()));
        Ok(())
    }

    fn finish(&mut self) -> impl Future<Output = Result<(), StreamLost>> + Send {
        poll_fn(|cx| {
            let inner = &mut *self.0;
            if inner.phase != Phase::Ended {
                return Poll::Ready(Err(StreamLost("the response is not complete".into())));
            }
            inner.poll_room(cx).map_ok(|()| inner.is_finished = true)
        })
    }

    fn gone(&mut self) -> impl Future<Output = StreamLost> + Send {
        poll_fn(|cx| {
            let inner = &mut *self.0;
            if inner.phase == Phase::Ended && inner.waiting.is_empty() {
                return Poll::Pending;
            }
            inner.poll_reset(cx)
        })
    }

    fn way(&self) -> Way {
        self.0.open.0.gather.way()
    }

    fn sent(&self) -> u64 {
        self.0.sent
    }
}

impl Inner {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamLost>> {
        let Poll::Ready(piece) = self.request.poll_data(cx) else {
            self.sending_limit.set(self.sending.wait(Instant::now()));
            ready!(self.sending_limit.poll(cx));
            return Poll::Ready(Err(StreamLost("the body comes too slowly".into())));
        };
        let Some(piece) = piece else {
            self.sending.rest();
            self.sending_limit.clear();
            return Poll::Ready(Ok(None));
        };
        let piece = piece.map_err(lost)?;
        if self.sending.is_waiting() {
            self.sending.moved(piece.len(), Instant::now());
            self.sending.pause();
            self.sending_limit.clear();
        }
        // The app reads only what it can pass on, so what it has read may be refilled at once.
        self.request.flow_control().release_capacity(piece.len()).map_err(lost)?;
        Poll::Ready(Ok(Some(piece)))
    }

    /// Takes a piece that is to be sent.
    fn take(&mut self, data: Bytes, is_last: bool) -> Result<(), StreamLost> {
        let Phase::Body(mut announced) = self.phase else {
            return Err(self.cut("content without a head, or behind its end"));
        };
        if self.waiting.len() >= PIECES_MAX {
            return Err(self.cut("content faster than it can leave"));
        }
        if !announced.take(data.len(), is_last) {
            return Err(self.cut("content of another length than announced"));
        }
        self.phase = if is_last { Phase::Ended } else { Phase::Body(announced) };
        let data = if announced == Announced::Nothing { Bytes::new() } else { data };
        if !data.is_empty() || is_last {
            self.waiting.push_back(Waiting::Data(data, is_last));
        }
        Ok(())
    }

    /// Hands over what waits, as flow control and the order among streams allow.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        while let Some(next) = self.waiting.front_mut() {
            let Some(response) = &mut self.response else {
                return Poll::Ready(Err(StreamLost("no head was sent".into())));
            };
            let (data, is_last) = match next {
                Waiting::Trailers(trailers) => {
                    response.send_trailers(std::mem::take(trailers)).map_err(lost)?;
                    self.waiting.pop_front();
                    continue;
                }
                Waiting::Data(data, is_last) if data.is_empty() => {
                    if *is_last {
                        response.send_data(Bytes::new(), true).map_err(lost)?;
                    }
                    self.waiting.pop_front();
                    continue;
                }
                Waiting::Data(data, is_last) => (data, *is_last),
            };
            let exchanges = &self.open.0;
            let turn = {
                let mut order = exchanges.order();
                let rank = order.rank(self.id, self.priority);
                order.poll_turn(self.id, rank, cx).map(|()| rank)
            };
            let Poll::Ready(rank) = turn else {
                // Others hold it up, not the client.
                self.taking.rest();
                self.taking_limit.clear();
                return Poll::Pending;
            };
            response.reserve_capacity(data.len().min(self.send_buffer));
            let capacity = response.capacity();
            if capacity == 0 {
                match response.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(lost(error))),
                    Poll::Ready(None) => {
                        return Poll::Ready(Err(StreamLost("stream closed".into())));
                    }
                    Poll::Pending => {
                        exchanges.order().blocked(self.id, rank);
                        return self.poll_slow(cx);
                    }
                }
            }
            let length = data.len().min(capacity).min(FRAME_BYTES);
            let piece = data.split_to(length);
            let is_end = is_last && data.is_empty();
            let is_done = data.is_empty();
            response.send_data(piece, is_end).map_err(lost)?;
            exchanges.order().queued(self.id, rank, length, is_end);
            self.sent += length as u64;
            if self.taking.is_waiting() {
                self.taking.moved(length, Instant::now());
            }
            if is_done {
                self.waiting.pop_front();
            }
        }
        if self.taking.is_waiting() {
            self.taking.rest();
            self.taking_limit.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for room, but not for ever.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamLost>> {
        self.taking_limit.set(self.taking.wait(Instant::now()));
        ready!(self.taking_limit.poll(cx));
        Poll::Ready(Err(StreamLost("the client takes too slowly".into())))
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<StreamLost> {
        let reason = match &mut self.response {
            Some(response) => ready!(response.poll_reset(cx)),
            None => ready!(self.respond.poll_reset(cx)),
        };
        Poll::Ready(match reason {
            Ok(reason) => StreamLost(format!("stream reset: {reason}").into()),
            Err(error) => lost(error),
        })
    }

    fn cut(&mut self, why: &'static str) -> StreamLost {
        self.phase = Phase::Cut;
        StreamLost(why.into())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.open.0.order().forget(self.id);
        if self.is_finished {
            return;
        }
        // Does nothing to a stream that the client has reset.
        match &mut self.response {
            Some(response) => response.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

fn response(head: &ResponseHead<'_>, announced: Announced) -> Response<()> {
    let mut headers = head.stored.map(|stored| stored.map().clone()).unwrap_or_default();
    headers.reserve(head.own.len() + 1);
    for (name, value) in head.own {
        headers.append(name.clone(), value.clone());
    }
    let length = match announced {
        Announced::Exactly(length) => Some(length),
        Announced::Nothing if head.status != StatusCode::NO_CONTENT => head.length,
        Announced::Nothing | Announced::Open => None,
    };
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    response
}

fn lost(error: h2::Error) -> StreamLost {
    StreamLost(error.to_string().into())
}

/// A frame of this size with its head fills one TLS record.
const FRAME_BYTES: usize = 16 * 1024 - 9;
/// Pieces that may wait for flow control; only a caller that does not wait gets this far.
const PIECES_MAX: usize = 64;
