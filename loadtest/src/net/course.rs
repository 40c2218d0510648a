//! One fetch under way: what it has met so far, kept where a timeout does not take it away.
//!
//! Invariant: a body is an object only when as many bytes came as were announced.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;
use url::Url;

use super::{
    Answer, Ask, Connected, Facts, Failure, Fetched, failure::Step, greeting::Greeting, pace::Pace,
    verdict::Verdict,
};
use crate::kind::{FailureClass, Protocol};

/// One fetch.
pub(super) struct Course<'a> {
    pub(super) ask: &'a Ask,
    /// Where it is asked now: after redirects.
    pub(super) url: Url,
    pub(super) pace: &'a Pace,
    pub(super) stage: Stage,
    pub(super) verdict: Option<Verdict>,
    progress: &'a mut dyn FnMut(u64),
    began: Instant,
    connection: Option<Connection>,
    first_byte: Option<Duration>,
    facts: Facts,
    announced: Option<u64>,
    bytes: u64,
    kept: Vec<u8>,
    hasher: Option<Box<blake3::Hasher>>,
}

/// What it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A free connection.
    Queue,
    Dns,
    Connect,
    Handshake,
    Answer,
}

/// A connection that was made for it.
pub(super) struct Connection {
    pub(super) protocol: Protocol,
    pub(super) dns: Option<Duration>,
    pub(super) connect: Option<Duration>,
    /// When TLS or QUIC began, and how that goes on.
    pub(super) handshake: Option<(Instant, Rc<Greeting>)>,
}

impl<'a> Course<'a> {
    pub(super) fn new(ask: &'a Ask, pace: &'a Pace, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self {
            ask,
            url: ask.url.clone(),
            pace,
            stage: Stage::Queue,
            verdict: None,
            progress,
            began: Instant::now(),
            connection: None,
            first_byte: None,
            facts: Facts::default(),
            announced: None,
            bytes: 0,
            kept: Vec::new(),
            hasher: None,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.began + self.ask.timeout.min(TIMEOUT_MAX)
    }

    /// Forgets an answer, for another attempt.
    pub(super) fn again(&mut self) {
        self.stage = Stage::Queue;
        self.verdict = None;
        self.first_byte = None;
        self.facts = Facts::default();
        self.announced = None;
        self.bytes = 0;
        self.kept = Vec::new();
        self.hasher = None;
    }

    pub(super) fn connected(&mut self, connection: Connection) {
        self.stage = Stage::Answer;
        self.connection = Some(connection);
    }

    /// How far its connection is, for what an error means.
    pub(super) fn step(&self) -> Step {
        let greeting = self.connection.as_ref().and_then(|made| made.handshake.as_ref());
        match greeting {
            Some((_, greeting)) if greeting.done().is_none() => Step::Handshake,
            _ => Step::Exchange,
        }
    }

    /// The first byte of a head has come.
    pub(super) fn first_byte(&mut self) {
        self.first_byte.get_or_insert_with(|| self.began.elapsed());
    }

    /// That head was an interim one.
    pub(super) fn interim(&mut self) {
        self.first_byte = None;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.first_byte.is_some()
    }

    /// Takes the head.
    pub(super) fn head(&mut self, status: u16, headers: &HeaderMap, from: std::net::IpAddr) {
        self.first_byte();
        self.facts = Facts::read(status, headers, Some(from));
        let (verdict, announced) = Verdict::of(self.ask, &self.url, status, headers);
        let is_object = matches!(verdict, Verdict::Object);
        self.verdict = Some(verdict);
        self.announced = announced;
        self.hasher = (is_object && self.ask.hash).then(|| Box::new(blake3::Hasher::new()));
        if is_object && let (Some(keep), Some(length)) = (self.ask.keep, announced) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            self.kept.reserve_exact(length.min(keep).min(RESERVE_MAX));
        }
    }

    /// Takes a piece of the body; false means that the rest is not worth having.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<bool, Failure> {
        self.bytes += piece.len() as u64;
        if self.announced.is_some_and(|announced| self.bytes > announced) {
            return Err(Failure::new(FailureClass::Truncated, "more bytes than announced"));
        }
        if !matches!(self.verdict, Some(Verdict::Object)) {
            return Ok(self.bytes <= DRAIN_MAX);
        }
        if let Some(keep) = self.ask.keep {
            if self.kept.len() + piece.len() > keep {
                return Err(Failure::new(FailureClass::TooLarge, "a body over the limit"));
            }
            self.kept.extend_from_slice(piece);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        (self.progress)(self.bytes);
        Ok(true)
    }

    /// The body is over.
    pub(super) fn end(&self) -> Result<(), Failure> {
        match self.is_short() {
            true => Err(Failure::new(FailureClass::Truncated, "fewer bytes than announced")),
            false => Ok(()),
        }
    }

    /// Fewer bytes have come than were announced.
    pub(super) fn is_short(&self) -> bool {
        self.announced.is_some_and(|announced| self.bytes < announced)
    }

    /// Whether the head announces more than is read of what nobody wants.
    pub(super) fn is_unwanted(&self) -> bool {
        !matches!(self.verdict, Some(Verdict::Object))
            && self.announced.is_some_and(|announced| announced > DRAIN_MAX)
    }

    /// The object.
    pub(super) fn answer(&mut self) -> Answer {
        Answer {
            status: self.facts.status.unwrap_or_default(),
            url: self.url.clone(),
            body: self.ask.keep.map(|_| Bytes::from(std::mem::take(&mut self.kept))),
            blake3: self.hasher.take().map(|hasher| *hasher.finalize().as_bytes()),
        }
    }

    /// What running out of time means.
    pub(super) fn late(&self) -> Failure {
        let (class, detail) = match self.stage {
            Stage::Dns => (FailureClass::Dns, "the name was not found in time"),
            Stage::Connect => (FailureClass::Connect, "no connection in time"),
            Stage::Handshake => (FailureClass::Handshake, "no handshake in time"),
            Stage::Queue => (FailureClass::Timeout, "no free connection in time"),
            Stage::Answer if self.has_begun() => (FailureClass::Timeout, "no end in time"),
            Stage::Answer => (FailureClass::Timeout, "no answer in time"),
        };
        Failure::new(class, detail)
    }

    pub(super) fn fetched(self, outcome: Result<Answer, Failure>) -> Fetched {
        Fetched {
            outcome,
            connection: self.connection.map(|made| {
                let greeted = made.handshake.as_ref().and_then(|(_, greeting)| greeting.done());
                let began = made.handshake.as_ref().map(|(began, _)| *began);
                Connected {
                    protocol: made.protocol,
                    dns: made.dns,
                    connect: made.connect,
                    handshake: began
                        .zip(greeted)
                        .map(|(began, greeted)| greeted.at.saturating_duration_since(began)),
                    is_resumed: greeted.is_some_and(|greeted| greeted.is_resumed),
                    is_early: greeted.is_some_and(|greeted| greeted.is_early),
                }
            }),
            first_byte: self.first_byte,
            took: self.began.elapsed(),
            bytes: self.bytes,
            facts: self.facts,
        }
    }
}

/// What is read of an error's page, so that its connection stays usable.
const DRAIN_MAX: u64 = 64 * 1024;
/// What an announced length alone makes us set aside.
const RESERVE_MAX: usize = 1024 * 1024;
/// A day, so that the clock's arithmetic holds.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
