//! One connection's protocol (RFC 9113, a client's side): bytes in, answers and frames out. Knows no socket.
//!
//! Whoever waits for an answer feeds what has come, and takes its own data where it lies: nothing is copied or kept. Data
//! of another stream stops the feeding until that one takes it. Invariant: what is fed is used once and in order; the only
//! things that are kept are a frame that has come in part, a header section in several frames, heads that nobody has
//! taken, and what is to be sent, each with a limit.

mod feed;
mod stream;
#[cfg(test)]
mod tests;

use std::task::Waker;

use http::HeaderMap;

use self::{feed::Input, stream::Stream};
pub(super) use self::{
    feed::Section,
    stream::{End, Heading},
};
use super::{
    HEADERS_MAX, frame,
    hpack::{self, Decoder},
};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Engine {
    input: Input,
    decoder: Decoder,
    section: Option<Box<Section>>,
    streams: Vec<Stream>,
    next_id: u32,
    /// What the server lets us have at once.
    streams_max: u32,
    /// What a server may send ahead, on a stream and on the connection.
    window: u32,
    /// What it still may send on the connection.
    credit: i64,
    /// What was taken, and the server was not told of.
    owed: u32,
    has_settings: bool,
    is_leaving: bool,
    /// What is to be sent.
    pub(super) output: Vec<u8>,
}

impl Engine {
    /// A connection whose streams have this window; what goes out first is there to be sent.
    pub(super) fn new(window: u32) -> Self {
        let mut output = frame::PREFACE.to_vec();
        let mut settings = Vec::with_capacity(18);
        for (name, value) in [
            (frame::ENABLE_PUSH, 0),
            (frame::INITIAL_WINDOW_SIZE, window),
            (frame::MAX_HEADER_LIST_SIZE, HEADERS_MAX),
        ] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frame::put(&mut output, frame::SETTINGS, 0, 0, &settings);
        if let Some(more) = window.checked_sub(WINDOW_AT_FIRST).filter(|more| *more > 0) {
            frame::put_number(&mut output, frame::WINDOW_UPDATE, 0, more);
        }
        Self {
            input: Input::default(),
            decoder: Decoder::default(),
            section: None,
            streams: Vec::new(),
            next_id: 1,
            streams_max: STREAMS_AT_FIRST,
            window,
            credit: i64::from(window.max(WINDOW_AT_FIRST)),
            owed: 0,
            has_settings: false,
            is_leaving: false,
            output,
        }
    }

    /// Whether no stream can be begun on it any more.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving || self.next_id > frame::STREAM_MAX
    }

    /// Whether the server lets another stream begin.
    pub(super) fn has_room(&self) -> bool {
        self.streams.len() < self.streams_max as usize
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Begins a stream with a GET.
    pub(super) fn open(
        &mut self,
        is_tls: bool,
        authority: &str,
        target: &str,
        headers: &HeaderMap,
    ) -> u32 {
        let id = self.next_id;
        self.next_id += 2;
        let mut section = Vec::with_capacity(SECTION_USUAL);
        hpack::encode(&mut section, is_tls, authority, target, headers);
        let mut pieces = section.chunks(frame::FRAME_MAX).peekable();
        let (mut kind, mut flags) = (frame::HEADERS, frame::END_STREAM);
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { frame::END_HEADERS } else { 0 };
            frame::put(&mut self.output, kind, flags | end, id, piece);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
        self.streams.push(Stream::new(id, self.window));
        id
    }

    /// Nobody waits for a stream any more. One that goes on is broken off.
    pub(super) fn close(&mut self, id: u32) {
        let Some(place) = self.streams.iter().position(|stream| stream.id == id) else { return };
        let stream = self.streams.swap_remove(place);
        if stream.end.is_none() {
            frame::put_number(&mut self.output, frame::RST_STREAM, id, frame::CANCEL);
        }
        self.give_back(stream.taken);
    }

    /// Ends the connection; the server is told why.
    pub(super) fn leave(&mut self, code: u32) {
        self.is_leaving = true;
        // The server opens no streams, so that the last of them is none.
        let payload = [0u32.to_be_bytes(), code.to_be_bytes()].concat();
        frame::put(&mut self.output, frame::GOAWAY, 0, 0, &payload);
    }

    /// Whether a stream has a head or its end to take.
    pub(super) fn has_news(&self, id: u32) -> bool {
        self.stream(id).is_some_and(|stream| stream.head.is_some() || stream.end.is_some())
    }

    pub(super) fn take_head(&mut self, id: u32) -> Option<Box<Heading>> {
        self.stream_mut(id)?.head.take()
    }

    pub(super) fn end(&self, id: u32) -> Option<End> {
        self.stream(id)?.end
    }

    /// Whether what comes next is for another one who waits.
    pub(super) fn is_blocked(&self, me: u32) -> bool {
        self.input.data_for().is_some_and(|stream| stream != me && self.stream(stream).is_some())
    }

    /// Who is woken when there is something for a stream.
    pub(super) fn wait(&mut self, id: u32, waker: &Waker) {
        if let Some(stream) = self.stream_mut(id) {
            stream.wait(waker);
        }
    }

    /// Whoever waits for a stream looks at it now, and need not be woken.
    pub(super) fn attend(&mut self, id: u32) {
        if let Some(stream) = self.stream_mut(id) {
            stream.attend();
        }
    }

    /// Wakes all who wait: another one has to read now, or all is over.
    pub(super) fn wake_all(&mut self) {
        for stream in &mut self.streams {
            stream.wake();
        }
    }

    /// The data that a stream was handed has passed its link: the server may send as much again.
    pub(super) fn release(&mut self, id: u32) {
        let half = self.window / 2;
        let Some(stream) = self.stream_mut(id) else { return };
        let taken = std::mem::take(&mut stream.taken);
        stream.owed += taken;
        let is_due = stream.owed >= half && stream.end.is_none();
        let owed = if is_due { std::mem::take(&mut stream.owed) } else { 0 };
        stream.credit += i64::from(owed);
        if owed > 0 {
            frame::put_number(&mut self.output, frame::WINDOW_UPDATE, id, owed);
        }
        self.give_back(taken);
    }

    /// The same for the connection.
    fn give_back(&mut self, bytes: u32) {
        self.owed += bytes;
        if self.owed > 0 && self.owed >= self.window / 2 {
            let owed = std::mem::take(&mut self.owed);
            self.credit += i64::from(owed);
            frame::put_number(&mut self.output, frame::WINDOW_UPDATE, 0, owed);
        }
    }

    fn stream(&self, id: u32) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    fn stream_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }
}

/// Windows before anything is said (RFC 9113 section 6.9.2).
const WINDOW_AT_FIRST: u32 = 65_535;
/// Streams that are begun before the server has said how many it takes; the least that it should (section 6.5.2).
const STREAMS_AT_FIRST: u32 = 100;
/// Room for the header section of most requests.
const SECTION_USUAL: usize = 256;
