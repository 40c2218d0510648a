//! The receiving half of a request stream: from QUIC's pieces to a request and its content.
//!
//! Invariant: a request is complete, or unfinished, or an error; what a client announced and did not send, or sent and
//! had not announced, never looks like a request.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use futures::FutureExt;
use http::Method;
use quinn::ReadError;
use tokio::time::timeout;

use super::{
    code::{Broken, Code},
    message::{Event, Message},
    pace::Pace,
    peer::Limits,
    request::{self, NoHead},
};
use crate::listener::{refusal::Refusal, section::Head, stream::BodyLength};

/// The receiving half.
pub(super) struct Incoming {
    quic: quinn::RecvStream,
    message: Message,
    /// Content that came along with the head.
    early: VecDeque<Bytes>,
    pace: Pace,
}

/// Why a request stream gives nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client broke the protocol.
    Broken(Broken),
    /// The client reset the stream.
    Cancelled,
    /// The connection is gone.
    ConnectionLost,
    /// The client was too slow.
    TooSlow,
}

/// Why there is no request to answer.
pub(super) enum NoRequest {
    /// The client ended it, or broke it.
    Ended(Ended),
    /// It is refused.
    Refused(Refusal),
}

impl<E: Into<Ended>> From<E> for NoRequest {
    fn from(ended: E) -> Self {
        Self::Ended(ended.into())
    }
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Incoming {
    pub(super) fn new(quic: quinn::RecvStream, limits: &Limits) -> Self {
        let message = Message::new(limits.frame_max);
        Self { quic, message, early: VecDeque::new(), pace: Pace::default() }
    }

    /// Whether the stream began before the handshake ended.
    pub(super) fn is_early_data(&self) -> bool {
        self.quic.is_0rtt()
    }

    /// Waits for the head of the request.
    pub(super) async fn head(&mut self, limits: &Limits) -> Result<(Head, BodyLength), NoRequest> {
        let begun = Instant::now();
        let section = loop {
            match self.message.next_event()? {
                Event::Head(section) => break section,
                Event::More => {}
                // Neither comes before the head; the message would have refused it.
                Event::Data(_) | Event::Trailers(_) | Event::End => {
                    return Err(Broken::unexpected("no header section").into());
                }
            }
            if !self.fill_now()? {
                let left = limits.header_timeout.saturating_sub(begun.elapsed());
                timeout(left, self.fill()).await.map_err(|_| Ended::TooSlow)??;
            }
        };
        let head = request::read_head(&section, &limits.of_requests).map_err(|why| match why {
            NoHead::Broken(broken) => broken.into(),
            NoHead::Refused(refusal) => NoRequest::Refused(refusal),
        })?;
        self.message.announce(head.content_length);
        let is_complete = self.take_early(limits)?;
        let early: usize = self.early.iter().map(Bytes::len).sum();
        let length = match (head.content_length, is_complete) {
            (Some(0), _) => BodyLength::Empty,
            (Some(length), _) => BodyLength::Known(length),
            (None, true) if early == 0 => BodyLength::Empty,
            (None, true) => BodyLength::Known(early as u64),
            // The end often comes in a packet of its own, and these have no content that would mean anything. What
            // comes nevertheless is not taken.
            (None, false) if early == 0 && has_no_content(&head.method) => {
                self.message.announce(Some(0));
                BodyLength::Empty
            }
            (None, false) => BodyLength::Unknown,
        };
        Ok((head, length))
    }

    /// Looks through what has arrived with the head, so that a message whose faults are here is refused before anybody
    /// acts on it. True when the message is complete.
    fn take_early(&mut self, limits: &Limits) -> Result<bool, Ended> {
        let mut bytes = 0;
        loop {
            match self.message.next_event()? {
                Event::Data(data) => {
                    bytes += data.len();
                    self.early.push_back(data);
                    if bytes >= EARLY_BYTES_MAX {
                        return Ok(false);
                    }
                }
                Event::Trailers(section) => request::check_trailers(&section, &limits.of_requests)?,
                Event::More if self.fill_now()? => {}
                Event::More | Event::Head(_) => return Ok(false),
                Event::End => return Ok(true),
            }
        }
    }

    /// The next piece of content.
    pub(super) async fn read(&mut self, limits: &Limits) -> Result<Option<Bytes>, Ended> {
        if let Some(data) = self.early.pop_front() {
            return Ok(Some(data));
        }
        loop {
            match self.message.next_event()? {
                Event::Data(data) => return Ok(Some(data)),
                Event::Trailers(section) => request::check_trailers(&section, &limits.of_requests)?,
                Event::End => return Ok(None),
                // A head comes once, and was taken.
                Event::Head(_) => return Err(Broken::unexpected("second header section").into()),
                Event::More => {}
            }
            if self.fill_now()? {
                continue;
            }
            let begun = Instant::now();
            let left =
                self.pace.left(limits.rate_min, limits.rate_grace).unwrap_or(limits.body_timeout);
            let filled = timeout(left.min(limits.body_timeout), self.fill()).await;
            let bytes = filled.map_err(|_| Ended::TooSlow)??;
            self.pace.add(begun.elapsed(), bytes as u64);
        }
    }

    /// Whether all of the request has arrived; asks QUIC once more.
    pub(super) fn is_complete(&mut self) -> bool {
        if !self.message.is_ended() && matches!(self.message.next_event(), Ok(Event::More)) {
            let _ = self.fill_now();
        }
        self.message.is_ended()
    }

    /// Tells the client to send no more.
    pub(super) fn stop(&mut self, code: Code) {
        // Fails only on a stream that has ended.
        let _ = self.quic.stop(code.into());
    }

    /// Waits until the client resets the stream; never ends when the request is complete.
    pub(super) async fn reset(&mut self) -> Ended {
        if !self.message.is_ended() {
            match self.quic.received_reset().await {
                Ok(Some(_)) => return Ended::Cancelled,
                Ok(None) => {}
                Err(_) => return Ended::ConnectionLost,
            }
        }
        std::future::pending().await
    }

    /// Takes what QUIC has, without waiting. False when it has nothing.
    fn fill_now(&mut self) -> Result<bool, Ended> {
        if self.message.is_ended() {
            return Ok(false);
        }
        self.fill().now_or_never().map_or(Ok(false), |filled| filled.map(|_| true))
    }

    /// Waits for the next piece or the end. A dropped future loses nothing.
    async fn fill(&mut self) -> Result<usize, Ended> {
        match self.quic.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => {
                let length = chunk.bytes.len();
                self.message.push(chunk.bytes);
                Ok(length)
            }
            Ok(None) => {
                self.message.set_ended();
                Ok(0)
            }
            Err(ReadError::ConnectionLost(_) | ReadError::ZeroRttRejected) => {
                Err(Ended::ConnectionLost)
            }
            // The others cannot come: the stream is read in order, and not after its end.
            Err(ReadError::Reset(_) | ReadError::ClosedStream | ReadError::IllegalOrderedRead) => {
                Err(Ended::Cancelled)
            }
        }
    }
}

fn has_no_content(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Content that is taken along with a head before anybody asks for it.
const EARLY_BYTES_MAX: usize = 8 * 1024;
