//! One request that has not been answered to the end, and how it ends.
//!
//! Invariant: its end is told once; what comes after it changes nothing.

use std::task::Waker;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// What the server may still send on it.
    pub(super) credit: i64,
    /// Data that was handed out and has not passed its link yet.
    pub(super) taken: u32,
    /// Data that has, and that the server was not told of.
    pub(super) owed: u32,
    /// The answer has begun; a second header section ends it.
    pub(super) has_head: bool,
    /// The answer's head, until it is taken.
    pub(super) head: Option<Box<Heading>>,
    pub(super) end: Option<End>,
    waker: Option<Waker>,
}

/// The head of an answer.
#[derive(Debug)]
pub(in super::super) struct Heading {
    pub(in super::super) status: u16,
    pub(in super::super) headers: HeaderMap,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum End {
    Whole,
    /// The server broke it off, with this code.
    Reset(u32),
    /// The server has said that it did not begin with it.
    Undone,
    /// The answer is none.
    Wrong(&'static str),
}

impl Stream {
    pub(super) fn new(id: u32, window: u32) -> Self {
        Self {
            id,
            credit: i64::from(window),
            taken: 0,
            owed: 0,
            has_head: false,
            head: None,
            end: None,
            waker: None,
        }
    }

    pub(super) fn finish(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
        }
        self.wake();
    }

    pub(super) fn wait(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    pub(super) fn attend(&mut self) {
        self.waker = None;
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// A header section has come: the head, one before it, or what stands behind the data.
    pub(super) fn headed(&mut self, lines: Lines, is_last: bool) {
        match lines.read() {
            Err(detail) => self.finish(End::Wrong(detail)),
            Ok(_) if self.has_head && !is_last => {
                self.finish(End::Wrong("trailers before the end"));
            }
            Ok(_) if self.has_head => {}
            Ok(heading) => match heading.status {
                0 => self.finish(End::Wrong("an answer without a status")),
                100..=199 if is_last => self.finish(End::Wrong("an interim answer at the end")),
                100..=199 => {}
                _ => {
                    self.has_head = true;
                    self.head = Some(Box::new(heading));
                    self.wake();
                }
            },
        }
        if is_last {
            self.finish(End::Whole);
        }
    }
}

/// The lines of a header section as they are read.
#[derive(Debug, Default)]
pub(super) struct Lines {
    status: u16,
    headers: HeaderMap,
    wrong: Option<&'static str>,
}

impl Lines {
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if let Err(detail) = self.try_add(name, value) {
            self.wrong.get_or_insert(detail);
        }
    }

    fn try_add(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if name.first() == Some(&b':') {
            let is_first = self.status == 0 && self.headers.is_empty();
            let text = std::str::from_utf8(value).unwrap_or_default();
            let status = text.parse().ok().filter(|_| text.len() == 3 && name == b":status");
            self.status = status.filter(|_| is_first).ok_or("a pseudo-header that is none")?;
            return Ok(());
        }
        // RFC 9113 section 8.2.
        if name.iter().any(u8::is_ascii_uppercase) || FORBIDDEN.contains(&name) {
            return Err("a header line that HTTP/2 has not");
        }
        let name = HeaderName::from_bytes(name).map_err(|_| "a header line without a name")?;
        let value = HeaderValue::from_bytes(value).map_err(|_| "a header line's value")?;
        self.headers.try_append(name, value).map_err(|_| "too many header lines")?;
        Ok(())
    }

    fn read(self) -> Result<Heading, &'static str> {
        match self.wrong {
            Some(detail) => Err(detail),
            None => Ok(Heading { status: self.status, headers: self.headers }),
        }
    }
}

/// What speaks of a connection, which HTTP/2 says in frames.
const FORBIDDEN: [&[u8]; 5] =
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
