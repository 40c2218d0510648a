//! What comes in on a connection: frames become changes of its state, header sections become requests.
//!
//! Invariant: whatever breaks the protocol ends the stream or the connection with the code that the RFC has for it,
//! before anybody else sees the request; and every stream that is ended for it is counted.

use std::{sync::Arc, time::SystemTime};

use http::HeaderValue;
use tokio::time::Instant;

use super::{
    code::{Broken, Code},
    floods::Floods,
    frame::{Frame, FrameHead, STREAM_ID_MASK, put_ping},
    hpack::Decoder,
    reader::{Next, Reader},
    request::{NoHead, check_trailers, read_head},
    response::put_refusal,
    shared::Shared,
    streams::{EndedBy, Known, Lost},
};
use crate::listener::{
    account::Grant,
    config::Limits,
    downstream::Downstream,
    priority::Priority,
    refusal::Refusal,
    request::admit,
    stream::{BodyLength, Request},
};

/// The receiving side of one connection.
pub(super) struct Arrival {
    shared: Arc<Shared>,
    reader: Reader,
    decoder: Decoder,
    floods: Floods,
    limits: Limits,
    downstream: Downstream,
    /// Taken while a header section is long.
    room: Grant,
    /// Streams that were ended because of what the client did.
    malformed: u32,
    has_begun: bool,
    is_leaving: bool,
    /// The highest stream that is served, once the client was told.
    last: Option<u32>,
}

/// Why a connection ends at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: Code,
    pub(super) why: &'static str,
}

/// A request with its stream, or why there is none; a stream that broke the protocol has nothing to answer.
type Begun = Result<(Request, (u32, usize), Priority), Refusal>;

impl Ending {
    /// A client is too much.
    pub(super) fn calm() -> Self {
        Self { code: Code::ENHANCE_YOUR_CALM, why: "more than a client may send" }
    }

    pub(super) fn is_calm(self) -> bool {
        self.code == Code::ENHANCE_YOUR_CALM
    }

    /// The client is to blame.
    pub(super) fn is_of_client(self) -> bool {
        self.code != Code::NO_ERROR
    }
}

impl Arrival {
    pub(super) fn new(shared: Arc<Shared>, limits: &Limits, downstream: Downstream) -> Self {
        let section_max = usize::try_from(limits.header_bytes_max.as_u64()).unwrap_or(usize::MAX);
        Self {
            reader: Reader::new(section_max.saturating_mul(2)),
            decoder: Decoder::default(),
            floods: Floods::new(
                limits.resets_per_minute_max,
                limits.control_frames_per_minute_max,
                Instant::now(),
            ),
            limits: limits.clone(),
            downstream,
            room: shared.nothing(),
            shared,
            malformed: 0,
            has_begun: false,
            is_leaving: false,
            last: None,
        }
    }

    /// A request has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Part of a header section has come, and more must come.
    pub(super) fn is_within_head(&self) -> bool {
        self.reader.is_within_head()
    }

    /// The client knows which streams are not served.
    pub(super) fn has_taken_leave(&self) -> bool {
        self.last.is_some()
    }

    /// Bytes were sent.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.floods.sent(bytes);
    }

    /// Tells the client to open no more streams; those that are on their way are still served (RFC 9113 6.8).
    pub(super) fn begin_leave(&mut self) {
        let mut state = self.shared.lock();
        self.is_leaving = true;
        state.go_away(STREAM_ID_MASK, Code::NO_ERROR);
        state.output.write(|out| put_ping(out, LEAVE, false));
    }

    /// Ends everything but what has begun to leave.
    pub(super) fn leave(&mut self, code: Code) {
        let mut state = self.shared.lock();
        state.output.cut(None);
        let last = state.streams.last();
        state.go_away(last, code);
    }

    /// Takes bytes until a request has come; `None` when they are used up.
    ///
    /// # Errors
    /// When the connection has to end.
    pub(super) fn next(
        &mut self,
        bytes: &mut &[u8],
        now: Instant,
    ) -> Result<Option<Begun>, Ending> {
        // Away for a while, so that what it holds may be looked at.
        let mut reader = std::mem::replace(&mut self.reader, Reader::new(0));
        let taken = self.take(&mut reader, bytes, now);
        self.reader = reader;
        taken
    }

    fn take(
        &mut self,
        reader: &mut Reader,
        bytes: &mut &[u8],
        now: Instant,
    ) -> Result<Option<Begun>, Ending> {
        loop {
            if self.malformed >= self.limits.malformed_requests_max {
                return Err(Ending::calm());
            }
            let begun = match reader.next(bytes).map_err(ending)? {
                Next::More => return Ok(None),
                Next::Part(held) => {
                    let has_room = held <= SECTION_USUAL || self.room.cover(held as u64);
                    if !self.floods.allows_part(now) || !has_room {
                        return Err(Ending::calm());
                    }
                    continue;
                }
                Next::Section { stream, section, is_last } => {
                    let begun = self.section(stream, &section, is_last, now);
                    self.room.shrink(0);
                    begun
                }
                Next::Frame(head, frame) => {
                    if !self.floods.allows(head, now) {
                        return Err(Ending::calm());
                    }
                    self.frame(head, frame).map(|()| None)
                }
            };
            match begun {
                Ok(None) => {}
                Ok(Some(Ok(begun))) => return Ok(Some(Ok(begun))),
                Ok(Some(Err(refusal))) => {
                    self.malformed += u32::from(matches!(refusal, Refusal::Malformed(_)));
                    return Ok(Some(Err(refusal)));
                }
                Err((_, Broken::Connection(code, why))) => return Err(Ending { code, why }),
                Err((stream, Broken::Stream(code, why))) => {
                    self.malformed += 1;
                    if self.break_stream(stream, code, why) {
                        return Ok(Some(Err(Refusal::Malformed(why))));
                    }
                }
            }
        }
    }

    /// Ends a stream; true when it was a request that nobody has seen.
    fn break_stream(&mut self, stream: u32, code: Code, why: &'static str) -> bool {
        let mut state = self.shared.lock();
        match state.streams.known(stream) {
            Known::Open(place) => {
                state.reset(place, code, Lost::Broken(why));
                false
            }
            _ => {
                state.refuse(stream, code);
                true
            }
        }
    }

    fn frame(&mut self, head: FrameHead, frame: Frame<'_>) -> Result<(), (u32, Broken)> {
        let mut state = self.shared.lock();
        let done = match frame {
            Frame::Data { stream, content, flow, is_last } => {
                state.receive(stream, content, flow, is_last)
            }
            Frame::Reset { stream, code } => state.end(stream, code),
            Frame::Settings(settings) => state.heed(settings),
            Frame::Window { stream, increment } => state.widen(stream, increment),
            Frame::Ping(data) => {
                state.pong(data);
                Ok(())
            }
            Frame::PingAck(LEAVE) if self.is_leaving && self.last.is_none() => {
                // What was on its way when the client heard of it has come.
                let last = state.streams.last();
                self.last = Some(last);
                state.go_away(last, Code::NO_ERROR);
                Ok(())
            }
            Frame::Urgency { stream, value } => {
                let streams_max = self.limits.streams_per_connection_max as usize;
                let priority = Priority::default().with(value);
                match state.streams.known(stream) {
                    Known::Idle => {
                        let last = state.streams.last();
                        let room = streams_max.saturating_sub(state.streams.open());
                        if state.order.expect(stream, priority, last, room) {
                            Ok(())
                        } else {
                            Err(Broken::protocol("priorities of more streams than there may be"))
                        }
                    }
                    Known::Open(_) => {
                        state.order.update(stream, priority, streams_max);
                        Ok(())
                    }
                    Known::Ended(_) | Known::Past => Ok(()),
                }
            }
            Frame::PingAck(_)
            | Frame::SettingsAck
            | Frame::GoAway
            | Frame::Headers { .. }
            | Frame::Continuation { .. }
            | Frame::Ignored => Ok(()),
        };
        done.map_err(|broken| (head.stream, broken))
    }

    /// A whole header section: a request, or the trailers of one.
    fn section(
        &mut self,
        stream: u32,
        section: &[u8],
        is_last: bool,
        now: Instant,
    ) -> Result<Option<Begun>, (u32, Broken)> {
        let on_connection = |broken| (stream, broken);
        let known = self.shared.lock().streams.known(stream);
        match known {
            Known::Idle if stream.is_multiple_of(2) => {
                Err(on_connection(Broken::protocol("a stream that no client may begin")))
            }
            Known::Idle if self.last.is_some() => {
                let mut state = self.shared.lock();
                state.streams.begin(stream);
                state.streams.remember(stream, EndedBy::Us);
                drop(state);
                self.pass_over(section).map_err(on_connection)
            }
            Known::Idle => self.request(stream, section, is_last, now),
            Known::Open(place) => {
                let is_over = match self.shared.lock().stream(place) {
                    Ok(entry) => entry.is_request_over,
                    Err(_) => false,
                };
                if is_over {
                    return Err(on_connection(HEADERS_BEHIND));
                }
                let checked = check_trailers(&mut self.decoder, section, &self.limits);
                checked.map_err(on_connection)?;
                if !is_last {
                    return Err(on_connection(Broken::message("trailers that do not end it")));
                }
                let ended = self.shared.lock().end_request(place);
                ended.map(|()| None).map_err(on_connection)
            }
            Known::Ended(EndedBy::Us) => self.pass_over(section).map_err(on_connection),
            Known::Ended(EndedBy::Client) => Err(on_connection(HEADERS_BEHIND)),
            Known::Past => Err(on_connection(Broken::protocol("a stream below the last"))),
        }
    }

    /// Reads a section only for the table.
    fn pass_over(&mut self, section: &[u8]) -> Result<Option<Begun>, Broken> {
        let decoded = self.decoder.decode(section, |_, _, _| {});
        decoded.map_err(|error| Broken::Connection(Code::COMPRESSION_ERROR, error.0))?;
        Ok(None)
    }

    fn request(
        &mut self,
        stream: u32,
        section: &[u8],
        is_last: bool,
        now: Instant,
    ) -> Result<Option<Begun>, (u32, Broken)> {
        let streams_max = self.limits.streams_per_connection_max as usize;
        {
            let mut state = self.shared.lock();
            state.streams.begin(stream);
            let is_full = state.streams.open() >= streams_max
                || state.exchanges >= streams_max.saturating_mul(2);
            if is_full {
                state.refuse(stream, Code::REFUSED_STREAM);
                drop(state);
                if !self.floods.allows_part(now) {
                    let why = "more streams than there may be";
                    return Err((stream, Broken::Connection(Code::ENHANCE_YOUR_CALM, why)));
                }
                return self.pass_over(section).map_err(|broken| (stream, broken));
            }
        }
        self.has_begun = true;
        let head = match read_head(&mut self.decoder, section, &self.limits) {
            Ok(head) => head,
            Err(NoHead::Broken(broken)) => return Err((stream, broken)),
            Err(NoHead::Refused(refusal)) => {
                return Ok(Some(Err(self.refuse(stream, is_last, refusal))));
            }
        };
        if is_last && head.content_length.is_some_and(|length| length > 0) {
            return Err((stream, Broken::message("content-length without content")));
        }
        let expected = head.content_length;
        let priority = head.priority();
        let body = if is_last { BodyLength::Empty } else { BodyLength::Unknown };
        Ok(Some(match admit(head, self.downstream, body) {
            Ok(request) => {
                let place = self.shared.lock().open(stream, is_last, expected);
                Ok((request, (stream, place), priority))
            }
            Err(refusal) => Err(self.refuse(stream, is_last, refusal)),
        }))
    }

    /// Answers a request that was not opened with a status alone.
    fn refuse(&self, stream: u32, is_last: bool, refusal: Refusal) -> Refusal {
        let mut state = self.shared.lock();
        if matches!(refusal, Refusal::Malformed(_)) {
            // As if a single field of it were (RFC 9113 8.1.1).
            state.refuse(stream, Code::PROTOCOL_ERROR);
            return refusal;
        }
        let is_first = state.is_first_answer();
        state.output.write(|out| write_refusal(out, stream, refusal, is_first));
        if is_last {
            state.streams.remember(stream, EndedBy::Client);
        } else {
            state.refuse(stream, Code::NO_ERROR);
        }
        refusal
    }

    /// The same for one that was opened, and for which there is no exchange.
    pub(super) fn refuse_opened(&self, (stream, place): (u32, usize), refusal: Refusal) -> Refusal {
        let mut state = self.shared.lock();
        let is_first = state.is_first_answer();
        state.output.write(|out| write_refusal(out, stream, refusal, is_first));
        state.end_response(place);
        state.conclude(place, true, self.shared.nothing());
        refusal
    }
}

fn write_refusal(out: &mut Vec<u8>, stream: u32, refusal: Refusal, is_first: bool) {
    let date = httpdate::fmt_http_date(SystemTime::now());
    // A date has no characters that a value may not have.
    let Ok(date) = HeaderValue::from_str(&date) else { return };
    let after = refusal.retry_after();
    put_refusal(out, stream, refusal.status(), &date, after.as_ref(), is_first);
}

fn ending(broken: Broken) -> Ending {
    match broken {
        Broken::Connection(code, why) | Broken::Stream(code, why) => Ending { code, why },
    }
}

const HEADERS_BEHIND: Broken =
    Broken::Connection(Code::STREAM_CLOSED, "HEADERS behind the end of a stream");
/// The data of the PING that follows the first GOAWAY.
const LEAVE: [u8; 8] = *b"tidegate";
/// What of a header section needs no room beside the connection's own.
const SECTION_USUAL: usize = 16 * 1024;
