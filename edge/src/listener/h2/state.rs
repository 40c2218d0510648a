//! The state of one connection: its streams and windows, and what waits to leave.
//!
//! Both the connection's task and its exchanges change it, one at a time. Invariant: what a stream has in the output
//! was taken from both windows, and comes back to the connection's when the stream is cut before it left.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};

use super::{
    code::{Broken, Code},
    flow::{ReceiveWindow, SendWindow},
    frame::{
        self, WINDOW_INITIAL, put_goaway, put_ping, put_reset, put_settings_ack, put_window_update,
        setting,
    },
    order::Order,
    output::{Output, Owner},
    streams::{EndedBy, Entry, Known, Lost, Streams},
};
use crate::listener::{account::Grant, config::Limits, tcp::Transport};

/// The state of one connection.
pub(super) struct State {
    /// Gone when the connection is being closed.
    pub(super) io: Option<Transport>,
    pub(super) output: Output,
    pub(super) streams: Streams,
    pub(super) order: Order,
    /// Exchanges that are open; they may outlast their streams.
    pub(super) exchanges: usize,
    /// What may be sent on all streams together.
    window: SendWindow,
    /// What may be sent at first on a stream.
    window_of_streams: u32,
    receive: ReceiveWindow,
    /// A header section was written.
    has_answered: bool,
    /// Responses that began since the last flush.
    begun: u32,
    is_in_turn: bool,
    /// The connection's task.
    task: Option<Waker>,
}

impl State {
    pub(super) fn new(mut io: Transport) -> Self {
        io.gather_at_most(GATHERED_BYTES_MAX);
        Self {
            io: Some(io),
            output: Output::default(),
            streams: Streams::default(),
            order: Order::default(),
            exchanges: 0,
            window: SendWindow::new(WINDOW_INITIAL),
            window_of_streams: WINDOW_INITIAL,
            receive: ReceiveWindow::new(CONNECTION_WINDOW),
            has_answered: false,
            begun: 0,
            is_in_turn: false,
            task: None,
        }
    }

    /// Says what we want of the client.
    pub(super) fn introduce(&mut self, limits: &Limits) {
        let header_bytes = u32::try_from(limits.header_bytes_max.as_u64()).unwrap_or(u32::MAX);
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, limits.streams_per_connection_max),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, header_bytes),
            (setting::NO_RFC7540_PRIORITIES, 1),
        ];
        self.output.write(|out| frame::put_preface(out, &settings, CONNECTION_WINDOW));
    }

    pub(super) fn begin_turn(&mut self, task: &Waker) {
        self.is_in_turn = true;
        if self.task.as_ref().is_none_or(|known| !known.will_wake(task)) {
            self.task = Some(task.clone());
        }
    }

    pub(super) fn end_turn(&mut self) {
        self.is_in_turn = false;
    }

    /// Something was handed over: the connection's task has to look, if it is not looking already.
    pub(super) fn touch(&self) {
        if let (false, Some(task)) = (self.is_in_turn, &self.task) {
            task.wake_by_ref();
        }
    }

    /// Opens a stream for a request.
    pub(super) fn open(&mut self, id: u32, is_request_over: bool, expected: Option<u64>) -> usize {
        self.exchanges += 1;
        self.order.begin(id);
        self.streams.insert(Entry {
            id,
            window: SendWindow::new(self.window_of_streams),
            queued: 0,
            queued_max: 0,
            incoming: BytesMut::new(),
            receive: ReceiveWindow::new(STREAM_WINDOW),
            expected,
            is_request_over,
            is_response_over: false,
            lost: None,
            concluded: None,
            reader: None,
            writer: None,
            watcher: None,
        })
    }

    /// The stream of an exchange, while it carries something.
    pub(super) fn stream(&mut self, place: usize) -> Result<&mut Entry, Lost> {
        match self.streams.get(place) {
            Some(entry) => entry.lost.map_or(Ok(entry), Err),
            None => Err(Lost::Connection),
        }
    }

    /// Whether the next header section is the first, which says something more.
    pub(super) fn is_first_answer(&mut self) -> bool {
        !std::mem::replace(&mut self.has_answered, true)
    }

    /// How much content a stream may hand over now.
    pub(super) fn room(&mut self, place: usize) -> usize {
        let window = self.window.room();
        let Some(entry) = self.streams.get(place) else { return 0 };
        let buffer = entry.queued_max.saturating_sub(entry.queued);
        window.min(entry.window.room()).min(buffer)
    }

    /// Takes content for which there is room.
    pub(super) fn send(&mut self, place: usize, content: Bytes, is_last: bool) {
        let Some(entry) = self.streams.get(place) else { return };
        let bytes = content.len();
        entry.window.sent(bytes);
        entry.queued += bytes;
        self.window.sent(bytes);
        let owner = Owner { stream: entry.id, place };
        self.output.data(owner, content, is_last);
        if is_last {
            self.end_response(place);
        }
    }

    /// A response has begun: if it is the only one of a turn, its first bytes do not wait for more.
    pub(super) fn begin_response(&mut self) {
        self.begun += 1;
    }

    /// The response has ended: with it the stream, when the request has.
    pub(super) fn end_response(&mut self, place: usize) {
        let Some(entry) = self.streams.get(place) else { return };
        entry.is_response_over = true;
        // What waits counts as open: a client that takes nothing gets no room for more.
        if entry.is_request_over && entry.queued == 0 {
            self.streams.close(place, EndedBy::Client);
        }
    }

    /// The next piece of a request's content.
    pub(super) fn read(&mut self, place: usize) -> Result<Option<Bytes>, Lost> {
        let entry = self.stream(place)?;
        if entry.incoming.is_empty() {
            return Ok(None);
        }
        let content = entry.incoming.split().freeze();
        let (id, bytes) = (entry.id, content.len() as u32);
        // The app reads only what it can pass on, so what it has read may be refilled at once.
        if let (Some(more), false) = (entry.receive.release(bytes), entry.is_request_over) {
            self.output.write(|out| put_window_update(out, id, more));
        }
        self.release(bytes);
        self.touch();
        Ok(Some(content))
    }

    /// An exchange is over; what is left of its stream ends. `room` is given back when its content has left.
    pub(super) fn conclude(&mut self, place: usize, is_finished: bool, room: Grant) {
        self.exchanges -= 1;
        let Some(entry) = self.streams.get(place) else { return };
        self.order.forget(entry.id);
        if entry.lost.is_none() && !is_finished {
            self.reset(place, Code::INTERNAL_ERROR, Lost::Connection);
        } else if entry.lost.is_none() && !entry.is_request_over {
            // RFC 9113 8.1: the response did not need it.
            let id = entry.id;
            self.streams.close(place, EndedBy::Us);
            self.output.write(|out| put_reset(out, id, Code::NO_ERROR));
        }
        self.touch();
        let Some(entry) = self.streams.get(place) else { return };
        let unread = std::mem::take(&mut entry.incoming).len();
        if entry.queued > 0 && entry.lost.is_none() {
            entry.concluded = Some(room);
        } else {
            self.streams.remove(place);
        }
        self.release(unread as u32);
    }

    /// Content has come.
    ///
    /// # Errors
    /// What the client broke with it.
    pub(super) fn receive(
        &mut self,
        id: u32,
        content: &[u8],
        flow: u32,
        is_last: bool,
    ) -> Result<(), Broken> {
        let overflow =
            |_| Broken::Connection(Code::FLOW_CONTROL_ERROR, "more than the connection's window");
        self.receive.received(flow).map_err(overflow)?;
        let place = match self.streams.known(id) {
            Known::Open(place) => place,
            Known::Idle => return Err(Broken::protocol("DATA on an idle stream")),
            Known::Ended(EndedBy::Client) => return Err(ENDED),
            Known::Ended(EndedBy::Us) | Known::Past => {
                self.release(flow);
                return Ok(());
            }
        };
        let taken = self.take_content(place, content, flow, is_last);
        // Only what is kept counts until it is read.
        let kept = if taken.is_ok() { content.len() as u32 } else { 0 };
        self.release(flow - kept);
        taken
    }

    /// The request ends with trailers.
    ///
    /// # Errors
    /// What the client broke with it.
    pub(super) fn end_request(&mut self, place: usize) -> Result<(), Broken> {
        self.take_content(place, &[], 0, true)
    }

    /// The client has made a window larger.
    ///
    /// # Errors
    /// When that is too large, or no change.
    pub(super) fn widen(&mut self, id: u32, increment: u32) -> Result<(), Broken> {
        if id == 0 {
            if increment == 0 {
                return Err(Broken::protocol("window update of 0"));
            }
            let overflow = Broken::Connection(Code::FLOW_CONTROL_ERROR, "window above 2^31-1");
            self.window.add(increment.into()).map_err(|_| overflow)?;
            self.wake_writers();
            return Ok(());
        }
        let place = match self.streams.known(id) {
            Known::Idle => return Err(Broken::protocol("window update of an idle stream")),
            Known::Open(place) => place,
            Known::Ended(_) | Known::Past => return Ok(()),
        };
        if increment == 0 {
            return Err(Broken::message("window update of 0"));
        }
        let Some(entry) = self.streams.get(place) else { return Ok(()) };
        let overflow = Broken::Stream(Code::FLOW_CONTROL_ERROR, "window above 2^31-1");
        entry.window.add(increment.into()).map_err(|_| overflow)?;
        if let Some(writer) = entry.writer.take() {
            writer.wake();
        }
        Ok(())
    }

    /// The client has settings.
    ///
    /// # Errors
    /// When a window becomes too large by them.
    pub(super) fn heed(&mut self, settings: frame::Settings) -> Result<(), Broken> {
        if let Some(size) = settings.initial_window {
            let change = i64::from(size) - i64::from(self.window_of_streams);
            self.window_of_streams = size;
            // The client has forgotten the others.
            let is_open = |entry: &&mut Entry| {
                entry.lost.is_none() && !(entry.is_response_over && entry.queued == 0)
            };
            for entry in self.streams.all().filter(is_open) {
                let overflow = Broken::Connection(Code::FLOW_CONTROL_ERROR, "window above 2^31-1");
                entry.window.add(change).map_err(|_| overflow)?;
            }
            self.wake_writers();
        }
        self.output.write(put_settings_ack);
        Ok(())
    }

    /// The client has ended a stream.
    ///
    /// # Errors
    /// When it has never begun it.
    pub(super) fn end(&mut self, id: u32, code: u32) -> Result<(), Broken> {
        match self.streams.known(id) {
            Known::Idle => Err(Broken::protocol("RST_STREAM of an idle stream")),
            Known::Open(place) => {
                self.lose(place, EndedBy::Client, Lost::Reset(code));
                Ok(())
            }
            Known::Ended(_) | Known::Past => Ok(()),
        }
    }

    /// Ends a stream; the client is told.
    pub(super) fn reset(&mut self, place: usize, code: Code, lost: Lost) {
        let Some(entry) = self.streams.get(place) else { return };
        let id = entry.id;
        self.lose(place, EndedBy::Us, lost);
        self.output.write(|out| put_reset(out, id, code));
    }

    /// Ends a stream that was never opened.
    pub(super) fn refuse(&mut self, id: u32, code: Code) {
        self.streams.remember(id, EndedBy::Us);
        self.output.write(|out| put_reset(out, id, code));
    }

    pub(super) fn pong(&mut self, data: [u8; 8]) {
        self.output.write(|out| put_ping(out, data, true));
    }

    /// Takes leave of the client; streams above `last` are not served.
    pub(super) fn go_away(&mut self, last: u32, code: Code) {
        self.output.write(|out| put_goaway(out, last, code));
    }

    /// Hands everything that waits to the kernel; true when a turn more is needed for the order of the streams.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(false)) };
        // Several leave best in few large writes.
        if std::mem::take(&mut self.begun) == 1 {
            io.hurry();
        }
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.output.slices(&mut slices);
            let taken = ready!(io.poll_gather(cx, &slices[..used]))?;
            let streams = &mut self.streams;
            self.output.advance(taken, |owner, bytes| left(streams, owner, bytes));
        }
        ready!(io.poll_push(cx))?;
        Poll::Ready(Ok(self.order.drained()))
    }

    /// Bytes that the kernel took so far.
    pub(super) fn pushed(&self) -> u64 {
        self.io.as_ref().map_or(0, Transport::pushed)
    }

    /// The connection has ended: everybody who waits learns it, and the transport is given back.
    pub(super) fn close(&mut self) -> Option<Transport> {
        self.order.close();
        for entry in self.streams.all() {
            entry.lost.get_or_insert(Lost::Connection);
            entry.wake();
        }
        self.output = Output::default();
        self.task = None;
        self.io.take()
    }

    fn take_content(
        &mut self,
        place: usize,
        content: &[u8],
        flow: u32,
        is_last: bool,
    ) -> Result<(), Broken> {
        let Some(entry) = self.streams.get(place) else { return Ok(()) };
        if entry.is_request_over {
            return Err(ENDED);
        }
        let overflow =
            |_| Broken::Stream(Code::FLOW_CONTROL_ERROR, "more than the stream's window");
        entry.receive.received(flow).map_err(overflow)?;
        if let Some(left) = &mut entry.expected {
            *left = left
                .checked_sub(content.len() as u64)
                .ok_or(Broken::message("more content than announced"))?;
            if is_last && *left > 0 {
                return Err(Broken::message("less content than announced"));
            }
        }
        entry.incoming.extend_from_slice(content);
        entry.is_request_over = is_last;
        if let Some(reader) = entry.reader.take() {
            reader.wake();
        }
        let padding = flow - content.len() as u32;
        let id = entry.id;
        if padding > 0
            && let (Some(more), false) = (entry.receive.release(padding), is_last)
        {
            self.output.write(|out| put_window_update(out, id, more));
        }
        if is_last && entry.is_response_over && entry.queued == 0 {
            self.streams.close(place, EndedBy::Client);
        }
        Ok(())
    }

    /// A stream carries nothing any more.
    fn lose(&mut self, place: usize, by: EndedBy, lost: Lost) {
        let Some(entry) = self.streams.get(place) else { return };
        let (id, queued) = (entry.id, entry.queued);
        let is_concluded = entry.concluded.is_some();
        entry.lost.get_or_insert(lost);
        entry.wake();
        self.streams.close(place, by);
        if is_concluded {
            self.streams.remove(place);
        }
        if queued > 0 {
            // What has not left never will, and others may have its room.
            let cut = self.output.cut(Some(id));
            // It was taken from the window, so it fits back.
            let _ = self.window.add(cut as i64);
            self.wake_writers();
        }
    }

    /// Received content is held no longer.
    fn release(&mut self, bytes: u32) {
        if let (1.., Some(more)) = (bytes, self.receive.release(bytes)) {
            self.output.write(|out| put_window_update(out, 0, more));
        }
    }

    fn wake_writers(&mut self) {
        for entry in self.streams.all() {
            if let Some(writer) = entry.writer.take() {
                writer.wake();
            }
        }
    }
}

/// Content of a stream has left: it may hand over more, or is over.
fn left(streams: &mut Streams, owner: Owner, bytes: usize) {
    let place = owner.place;
    let Some(entry) = streams.get(place).filter(|entry| entry.id == owner.stream) else { return };
    entry.queued -= bytes;
    if entry.queued == 0 && entry.is_response_over && entry.lost.is_none() {
        let (is_request_over, is_concluded) = (entry.is_request_over, entry.concluded.is_some());
        if is_request_over {
            streams.close(place, EndedBy::Client);
        }
        if is_concluded {
            streams.remove(place);
        }
    } else if entry.queued <= entry.queued_max / 2
        && let Some(writer) = entry.writer.take()
    {
        writer.wake();
    }
}

const ENDED: Broken = Broken::Connection(Code::STREAM_CLOSED, "frame behind the end of a stream");
/// Request bytes one stream may have unread at the edge, and all streams of a connection together; as for QUIC.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes that leave in one write.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
/// Pieces that are encrypted together: two dozen small responses.
const SLICES: usize = 72;
