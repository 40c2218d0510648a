//! What a server sends, frame by frame, and what it changes.
//!
//! Invariant: each frame is used or refused as a whole, data excepted, which passes as it comes; what one frame makes us
//! send is a few bytes, and a server that does not take them is left.

use super::{
    super::{
        frame::{self, Head},
        wrong::Wrong,
    },
    Engine,
    stream::{End, Lines},
};

/// Where in a frame the input is.
#[derive(Debug)]
pub(super) enum Input {
    /// Bytes of its head, and how many.
    Head([u8; frame::HEAD_BYTES], u8),
    /// Before the byte that says how long the padding is.
    Padding(Head),
    /// Data, and the padding behind it.
    Data { stream: u32, left: usize, padding: usize, is_last: bool },
    /// A payload of which a part has come.
    Payload(Head, Vec<u8>),
    /// What nobody knows.
    Skip(usize),
}

/// A header section that comes in several frames.
#[derive(Debug)]
pub(in super::super) struct Section {
    stream: u32,
    is_last: bool,
    bytes: Vec<u8>,
    frames: u32,
}

impl Default for Input {
    fn default() -> Self {
        Self::Head([0; frame::HEAD_BYTES], 0)
    }
}

impl Input {
    /// Whose data comes next.
    pub(super) fn data_for(&self) -> Option<u32> {
        match self {
            Self::Data { stream, left: 1.., .. } => Some(*stream),
            _ => None,
        }
    }
}

impl Engine {
    /// Uses what has come, and says how much of it. Data of stream `me` goes to `take`; everything else where it belongs.
    /// It ends before data of another one who waits, and when there is news for `me`.
    pub(in super::super) fn feed(
        &mut self,
        piece: &[u8],
        me: u32,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Wrong> {
        let mut rest = piece;
        while !rest.is_empty() && !self.has_news(me) && !self.is_blocked(me) {
            self.step(&mut rest, me, take)?;
        }
        let other = self.input.data_for().filter(|stream| *stream != me);
        if let Some(other) = other.and_then(|other| self.stream(other)) {
            other.wake();
        }
        Ok(piece.len() - rest.len())
    }

    fn step(
        &mut self,
        rest: &mut &[u8],
        me: u32,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Wrong> {
        match std::mem::take(&mut self.input) {
            Input::Head(mut bytes, count) => {
                let count = usize::from(count);
                let piece = cut(rest, frame::HEAD_BYTES - count);
                bytes[count..][..piece.len()].copy_from_slice(piece);
                let count = count + piece.len();
                if count < frame::HEAD_BYTES {
                    self.input = Input::Head(bytes, count as u8);
                    return Ok(());
                }
                self.begin(Head::read(bytes)?, rest)
            }
            Input::Padding(head) => {
                let padding = usize::from(cut(rest, 1)[0]);
                let left = (head.length - 1).checked_sub(padding);
                let left = left.ok_or(protocol("more padding than frame"))?;
                self.account(head.stream, 1);
                self.data(head, left, padding)
            }
            Input::Data { stream, left: left @ 1.., padding, is_last } => {
                let piece = cut(rest, left);
                if stream == me {
                    take(piece);
                }
                self.account(stream, piece.len());
                self.go_on(stream, left - piece.len(), padding, is_last);
                Ok(())
            }
            Input::Data { stream, padding, is_last, .. } => {
                let count = cut(rest, padding).len();
                self.account(stream, count);
                self.go_on(stream, 0, padding - count, is_last);
                Ok(())
            }
            Input::Payload(head, mut bytes) => {
                bytes.extend_from_slice(cut(rest, head.length - bytes.len()));
                if bytes.len() < head.length {
                    self.input = Input::Payload(head, bytes);
                    return Ok(());
                }
                self.frame(head, &bytes)
            }
            Input::Skip(left) => {
                let left = left - cut(rest, left).len();
                if left > 0 {
                    self.input = Input::Skip(left);
                }
                Ok(())
            }
        }
    }

    /// A frame begins.
    fn begin(&mut self, head: Head, rest: &mut &[u8]) -> Result<(), Wrong> {
        let goes_on = self.section.as_ref().map(|section| section.stream);
        if goes_on != (head.kind == frame::CONTINUATION).then_some(head.stream) {
            return Err(protocol("a header section that is cut"));
        }
        if !self.has_settings && head.kind != frame::SETTINGS {
            return Err(protocol("something before the settings"));
        }
        match head.kind {
            frame::DATA => {
                self.check_opened(head.stream)?;
                self.charge(head)?;
                match (head.has(frame::PADDED), head.length) {
                    (true, 0) => Err(protocol("padding without a frame")),
                    (true, _) => {
                        self.input = Input::Padding(head);
                        Ok(())
                    }
                    (false, length) => self.data(head, length, 0),
                }
            }
            frame::HEADERS..=frame::CONTINUATION => {
                if rest.len() >= head.length {
                    let payload = cut(rest, head.length);
                    return self.frame(head, payload);
                }
                self.input = Input::Payload(head, Vec::with_capacity(head.length));
                Ok(())
            }
            _ => {
                if head.length > 0 {
                    self.input = Input::Skip(head.length);
                }
                Ok(())
            }
        }
    }

    /// Takes a data frame off the windows.
    fn charge(&mut self, head: Head) -> Result<(), Wrong> {
        let length = head.length as i64;
        self.credit -= length;
        let mut is_over = self.credit < 0;
        if let Some(stream) = self.stream_mut(head.stream) {
            stream.credit -= length;
            is_over |= stream.credit < 0;
        }
        if is_over {
            return Err(Wrong::new(frame::FLOW_CONTROL_ERROR, "more data than the window lets"));
        }
        Ok(())
    }

    fn data(&mut self, head: Head, left: usize, padding: usize) -> Result<(), Wrong> {
        if let Some(stream) = self.stream_mut(head.stream)
            && !stream.has_head
        {
            stream.finish(End::Wrong("data before a head"));
        }
        self.go_on(head.stream, left, padding, head.has(frame::END_STREAM));
        Ok(())
    }

    /// Data goes on, or its frame is over.
    fn go_on(&mut self, stream: u32, left: usize, padding: usize, is_last: bool) {
        if left + padding > 0 {
            self.input = Input::Data { stream, left, padding, is_last };
        } else if is_last && let Some(known) = self.stream_mut(stream) {
            known.finish(End::Whole);
        }
    }

    /// Bytes of a data frame are taken; those that nobody waits for have passed with that.
    fn account(&mut self, stream: u32, count: usize) {
        match self.stream_mut(stream) {
            Some(stream) => stream.taken += count as u32,
            None => self.give_back(count as u32),
        }
    }

    /// A whole frame that is no data.
    fn frame(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        let size = |is_right| match is_right {
            true => Ok(()),
            false => Err(Wrong::new(frame::FRAME_SIZE_ERROR, "a frame of a wrong size")),
        };
        let is_connection = head.stream == 0;
        let on_connection = |is_right| match is_right {
            true => Ok(()),
            false => Err(protocol("a frame on a wrong stream")),
        };
        match head.kind {
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::RST_STREAM => {
                self.check_opened(head.stream)?;
                size(payload.len() == 4)?;
                let code = frame::number(payload).unwrap_or_default();
                if let Some(stream) = self.stream_mut(head.stream) {
                    stream.finish(End::Reset(code));
                }
                Ok(())
            }
            frame::SETTINGS => {
                on_connection(is_connection)?;
                size(payload.len().is_multiple_of(6))?;
                self.settings(head, payload)
            }
            frame::PUSH_PROMISE => Err(protocol("a push that nobody wants")),
            frame::PING => {
                on_connection(is_connection)?;
                size(payload.len() == 8)?;
                if !head.has(frame::ACK) {
                    frame::put(&mut self.output, frame::PING, frame::ACK, 0, payload);
                }
                Ok(())
            }
            frame::GOAWAY => {
                on_connection(is_connection)?;
                size(payload.len() >= 8)?;
                self.is_leaving = true;
                let last = frame::number(payload).unwrap_or_default() & frame::STREAM_MAX;
                for stream in self.streams.iter_mut().filter(|stream| stream.id > last) {
                    stream.finish(End::Undone);
                }
                Ok(())
            }
            // We send nothing that has a window, and take no advice on order.
            frame::WINDOW_UPDATE => size(payload.len() == 4),
            _ => size(payload.len() == 5),
        }
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        if head.has(frame::ACK) {
            return Ok(());
        }
        self.has_settings = true;
        for setting in payload.chunks_exact(6) {
            let [a, b, value @ ..] = setting else { continue };
            if u16::from_be_bytes([*a, *b]) == frame::MAX_CONCURRENT_STREAMS {
                self.streams_max = frame::number(value).unwrap_or_default();
            }
        }
        frame::put(&mut self.output, frame::SETTINGS, frame::ACK, 0, b"");
        Ok(())
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        self.check_opened(head.stream)?;
        let mut bytes = payload;
        let mut padding = 0;
        if head.has(frame::PADDED) {
            padding = usize::from(*cut(&mut bytes, 1).first().ok_or(protocol("no padding"))?);
        }
        if head.has(frame::WITH_PRIORITY) {
            bytes = bytes.get(5..).ok_or(protocol("no priority"))?;
        }
        let length = bytes.len().checked_sub(padding).ok_or(protocol("too much padding"))?;
        let bytes = &bytes[..length];
        let is_last = head.has(frame::END_STREAM);
        if head.has(frame::END_HEADERS) {
            return self.section(head.stream, is_last, bytes);
        }
        let bytes = bytes.to_vec();
        self.section = Some(Box::new(Section { stream: head.stream, is_last, bytes, frames: 1 }));
        Ok(())
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        let Some(mut section) = self.section.take() else {
            return Err(protocol("a header section that has not begun"));
        };
        section.frames += 1;
        if section.bytes.len() + payload.len() > SECTION_MAX || section.frames > FRAMES_MAX {
            return Err(Wrong::new(frame::ENHANCE_YOUR_CALM, "a header section over the limit"));
        }
        section.bytes.extend_from_slice(payload);
        if head.has(frame::END_HEADERS) {
            return self.section(section.stream, section.is_last, &section.bytes);
        }
        self.section = Some(section);
        Ok(())
    }

    /// A whole header section. It is read also when nobody waits for it: the table goes on.
    fn section(&mut self, stream: u32, is_last: bool, bytes: &[u8]) -> Result<(), Wrong> {
        let mut lines = Lines::default();
        self.decoder.decode(bytes, &mut |name, value| lines.add(name, value))?;
        if let Some(stream) = self.stream_mut(stream) {
            stream.headed(lines, is_last);
        }
        Ok(())
    }

    /// A server speaks only on streams that we have begun.
    fn check_opened(&self, stream: u32) -> Result<(), Wrong> {
        match stream % 2 == 1 && stream < self.next_id {
            true => Ok(()),
            false => Err(protocol("a stream that was not begun")),
        }
    }
}

/// Takes up to so many bytes from the front.
fn cut<'a>(rest: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (piece, behind) = rest.split_at(most.min(rest.len()));
    *rest = behind;
    piece
}

const fn protocol(detail: &'static str) -> Wrong {
    Wrong { code: frame::PROTOCOL_ERROR, detail }
}

/// A header section as it is sent.
const SECTION_MAX: usize = 64 * 1024;
/// Frames of one section, so that empty ones have an end.
const FRAMES_MAX: u32 = 128;
