//! One exchange's stream, as whoever answers sees it.
//!
//! Invariant: whatever the app does or leaves undone, the client sees either the response that was announced, whole, or
//! a reset.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::RETRY_AFTER};

use super::{
    code::{Broken, Code},
    incoming::{Ended, Incoming, NoRequest},
    outgoing::Outgoing,
    peer::{OpenExchange, Peer},
    priority::of_stream,
    response::{self, Follows},
};
use crate::listener::{
    account::WINDOW_MIN,
    downstream::{Downstream, Protocol},
    priority::Priority,
    refusal::Refusal,
    request::admit,
    stream::{self, BodyLength, Request, ResponseHead, StreamLost, Way},
};

/// The stream of one exchange.
pub(super) struct H3Stream {
    peer: Arc<Peer>,
    id: u64,
    incoming: Incoming,
    outgoing: Outgoing,
    response: Response,
    is_head: bool,
    body_bytes: u64,
    priorities_seen: u32,
    /// What the request's header said; absent once a frame has said it, which is the client's last word.
    asked: Option<Priority>,
    ended: Option<Ended>,
    open: OpenExchange,
}

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    /// Only interim responses so far.
    NotBegun,
    /// Content follows: of the known length so many bytes, or until it ends.
    Content(Option<u64>),
    /// Everything was pushed.
    Pushed,
}

impl H3Stream {
    pub(super) fn new(peer: &Arc<Peer>, send: quinn::SendStream, recv: quinn::RecvStream) -> Self {
        Self {
            id: send.id().into(),
            incoming: Incoming::new(recv, &peer.limits),
            outgoing: Outgoing::new(send),
            response: Response::NotBegun,
            is_head: false,
            body_bytes: 0,
            priorities_seen: 0,
            asked: None,
            ended: None,
            open: peer.begin(),
            peer: peer.clone(),
        }
    }

    /// Waits for the request.
    pub(super) async fn request(&mut self) -> Result<Request, NoRequest> {
        if !self.open.has_room() {
            return Err(NoRequest::Refused(Refusal::Busy));
        }
        let (head, body) = self.incoming.head(&self.peer.limits).await?;
        if body != BodyLength::Empty {
            self.peer.windows.open(&self.peer.quic);
        }
        self.is_head = head.method == Method::HEAD;
        let said = self.peer.priority_of(self.id, &mut self.priorities_seen);
        let priority = said.unwrap_or_else(|| head.priority());
        self.asked = said.is_none().then_some(priority);
        self.outgoing.set_priority(of_stream(priority, self.id));
        let downstream = Downstream {
            protocol: Protocol::Http3,
            client: self.peer.quic.remote_address(),
            tls: true,
            early_data: self.incoming.is_early_data(),
        };
        admit(head, downstream, body).map_err(NoRequest::Refused)
    }

    /// Ends a stream that has no request to answer, with the answer or the code that tells why.
    pub(super) async fn refuse(mut self, why: NoRequest) {
        match why {
            NoRequest::Refused(refusal @ Refusal::Malformed(_)) => {
                self.peer.refused(refusal.as_str());
                self.fail(Ended::Broken(Broken::message("not admitted")));
            }
            NoRequest::Refused(refusal) => self.answer(refusal).await,
            NoRequest::Ended(ended) => {
                if matches!(ended, Ended::Broken(_)) {
                    self.peer.refused(Refusal::Malformed("").as_str());
                }
                self.fail(ended);
            }
        }
    }

    /// Answers with a status alone.
    async fn answer(mut self, refusal: Refusal) {
        self.peer.refused(refusal.as_str());
        let own: Vec<_> =
            refusal.retry_after().map(|after| (RETRY_AFTER, after)).into_iter().collect();
        let head =
            ResponseHead { status: refusal.status(), stored: None, own: &own, length: Some(0) };
        // Fails only if the client is gone, and then nobody waits for the answer.
        if stream::Stream::head(&mut self, &head, true).is_ok() {
            let _ = stream::Stream::finish(&mut self).await;
        }
        self.conclude();
    }

    /// The app is done with the stream: it ended properly, or is cut when this is dropped.
    pub(super) fn conclude(mut self) {
        if let Some(quic) = self.outgoing.take_ended() {
            if !self.incoming.is_complete() {
                // RFC 9114 4.1: the response did not need it.
                self.incoming.stop(Code::NO_ERROR);
            }
            self.peer.remember(quic);
        }
    }

    /// Ends both directions, or the connection when that is what the client broke.
    fn fail(&mut self, ended: Ended) -> StreamLost {
        let is_first = self.ended.replace(ended).is_none();
        let (code, text) = match ended {
            Ended::Broken(broken) => match broken {
                Broken::Connection(code, why) => {
                    self.peer.close(code, why);
                    (code, why)
                }
                Broken::Stream(code, why) => {
                    if is_first {
                        self.peer.count_malformed();
                    }
                    (code, why)
                }
            },
            Ended::Cancelled => {
                if is_first {
                    self.peer.count_cancelled();
                }
                (Code::REQUEST_CANCELLED, "the client cancelled the request")
            }
            Ended::ConnectionLost => (Code::REQUEST_CANCELLED, "the connection is lost"),
            Ended::TooSlow => {
                if is_first {
                    self.peer.count_slow();
                }
                (Code::EXCESSIVE_LOAD, "the client is slower than it may be")
            }
        };
        self.outgoing.reset(code);
        self.incoming.stop(code);
        StreamLost(Cow::Borrowed(text))
    }

    /// Puts a piece of the body behind what waits, with the frame it needs.
    fn push(&mut self, data: Bytes, is_last: bool) -> Result<(), StreamLost> {
        let Response::Content(left) = self.response else {
            return Err(self.misused("content without a head, or behind the end"));
        };
        let length = data.len() as u64;
        let left = match left {
            Some(left) if length > left || (is_last && length < left) => {
                return Err(self.misused("content of another length than the head's"));
            }
            Some(left) => Some(left - length),
            None => {
                if length > 0 {
                    let frame = self.peer.write(|scratch| response::data_head(scratch, length));
                    self.outgoing.push(frame);
                }
                None
            }
        };
        self.outgoing.push(data);
        let steps = self.body_bytes / WIDEN_EVERY;
        self.body_bytes += length;
        if self.body_bytes / WIDEN_EVERY > steps {
            self.peer.windows.widen(&self.peer.quic);
        }
        self.response = if is_last { Response::Pushed } else { Response::Content(left) };
        if is_last {
            self.outgoing.set_last();
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StreamLost> {
        if let Some(ended) = self.ended {
            return Err(self.fail(ended));
        }
        let changed = self.peer.priority_of(self.id, &mut self.priorities_seen);
        if let Some(priority) = changed {
            self.asked = None;
            self.outgoing.set_priority(of_stream(priority, self.id));
        }
        let flushed = self.outgoing.flush(&self.peer.limits).await;
        flushed.map_err(|ended| self.fail(ended))
    }

    /// The app does what the head does not allow; nothing of it may look like a response.
    fn misused(&mut self, why: &'static str) -> StreamLost {
        tracing::error!(why, "an H3 response was cut");
        self.outgoing.reset(Code::INTERNAL_ERROR);
        StreamLost(Cow::Borrowed(why))
    }
}

impl stream::Stream for H3Stream {
    async fn read(&mut self) -> Result<Option<Bytes>, StreamLost> {
        if let Some(ended) = self.ended {
            return Err(self.fail(ended));
        }
        let read = self.incoming.read(&self.peer.limits).await;
        read.map_err(|ended| self.fail(ended))
    }

    fn inform(&mut self, status: StatusCode, headers: &HeaderMap) {
        // What is not taken at once is not worth keeping.
        if self.response == Response::NotBegun && self.outgoing.waiting_bytes() == 0 {
            let frame = self.peer.write(|scratch| response::interim(scratch, status, headers));
            self.outgoing.push(frame);
            self.outgoing.flush_now();
        }
    }

    fn head(&mut self, head: &ResponseHead<'_>, is_last: bool) -> Result<(), StreamLost> {
        if self.response != Response::NotBegun {
            return Err(self.misused("second head"));
        }
        if let Some(ended) = self.ended {
            return Err(self.fail(ended));
        }
        let may_be_without = self.is_head || head.status == StatusCode::NOT_MODIFIED;
        if is_last && head.length.is_some_and(|length| length > 0) && !may_be_without {
            return Err(self.misused("head that promises a body and has none"));
        }
        let limit = self.peer.section_max.load(Relaxed);
        if limit < SECTION_USUAL && section_size(head) > limit {
            return Err(self.misused("head above the client's limit"));
        }
        let follows = match head.length {
            _ if is_last => Follows::Nothing,
            Some(0) => Follows::Nothing,
            Some(length) => Follows::Known(length),
            None => Follows::Pieces,
        };
        if let Some(asked) = self.asked {
            let priority = head.priority(asked);
            if priority != asked {
                self.outgoing.set_priority(of_stream(priority, self.id));
            }
        }
        if !is_last && head.length.is_none_or(|length| length > WINDOW_MIN) {
            self.peer.windows.widen(&self.peer.quic);
        }
        let frames = self.peer.write(|scratch| response::head(scratch, head, follows));
        self.outgoing.push(frames);
        self.response = if is_last { Response::Pushed } else { Response::Content(head.length) };
        if is_last {
            self.outgoing.set_last();
        }
        Ok(())
    }

    fn send(
        &mut self,
        data: Bytes,
        is_last: bool,
    ) -> impl Future<Output = Result<(), StreamLost>> + Send {
        // Before the first poll, so that a future that is dropped has taken the piece all the same.
        let pushed = self.push(data, is_last);
        async move {
            pushed?;
            self.flush().await
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), StreamLost> {
        if !matches!(self.response, Response::Content(None | Some(0))) {
            return Err(self.misused("trailers before the end of the content"));
        }
        if !trailers.is_empty() {
            let frame = self.peer.write(|scratch| response::trailers(scratch, trailers));
            self.outgoing.push(frame);
        }
        self.response = Response::Pushed;
        self.outgoing.set_last();
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), StreamLost> {
        match self.response {
            Response::Pushed => {}
            Response::Content(None | Some(0)) => {
                self.response = Response::Pushed;
                self.outgoing.set_last();
            }
            Response::NotBegun | Response::Content(Some(_)) => {
                return Err(self.misused("end before the whole response"));
            }
        }
        self.flush().await
    }

    async fn gone(&mut self) -> StreamLost {
        let ended = match self.ended {
            Some(ended) => ended,
            None => tokio::select! {
                ended = self.outgoing.stopped() => ended,
                ended = self.incoming.reset() => ended,
            },
        };
        self.fail(ended)
    }

    fn way(&self) -> Way {
        let path = self.peer.quic.stats().path;
        let bits = |rtt: Duration| {
            // A round trip is above a nanosecond and a window below an exabyte, so this is a number; it may be large.
            (path.cwnd as f64 * 8.0 / rtt.as_secs_f64()) as u64
        };
        Way {
            rtt: Some(path.rtt),
            bits_per_second: (!path.rtt.is_zero()).then(|| bits(path.rtt)),
            client: Some(self.peer.quic.remote_address()),
        }
    }

    fn sent(&self) -> u64 {
        // What waits is first of all the end of the body.
        self.body_bytes.saturating_sub(self.outgoing.waiting_bytes())
    }
}

/// The size of a header section as RFC 9114 4.2.2 counts it.
fn section_size(head: &ResponseHead<'_>) -> u64 {
    let stored = head.stored.into_iter().flat_map(|fields| fields.map());
    let fields = stored.chain(head.own.iter().map(|(name, value)| (name, value)));
    let sizes = fields.map(|(name, value)| name.as_str().len() + value.len() + LINE_OVERHEAD);
    // With status and length.
    (sizes.sum::<usize>() + 2 * SHORT_LINE) as u64
}

impl Drop for H3Stream {
    fn drop(&mut self) {
        if self.outgoing.is_ended() || self.ended.is_some() {
            return;
        }
        let is_lost = self.peer.quic.close_reason().is_some();
        let code = if is_lost { Code::REQUEST_CANCELLED } else { Code::INTERNAL_ERROR };
        self.outgoing.reset(code);
        self.incoming.stop(code);
    }
}

/// Content after which it is time to look at the way again.
const WIDEN_EVERY: u64 = 256 * 1024;
/// No head of ours is as large as this, so only a client with a lower limit has one that matters.
const SECTION_USUAL: u64 = 64 * 1024;
const LINE_OVERHEAD: usize = 32;
/// What `:status` or `content-length` counts.
const SHORT_LINE: usize = LINE_OVERHEAD + 34;
