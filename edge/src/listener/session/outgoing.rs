//! The response as it goes out: tasks in order, each of them resumable after its future was dropped.
//!
//! The proxy races writing against reading from the upstream and drops the loser, so all progress
//! lives in [`Outgoing`], none in futures; a slow client then never holds up the cache fill that
//! others wait for. Invariant: the stream ends cleanly only if every byte that the content-length
//! promised was handed over; anything else is cut.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, Result};
use tokio::time::Sleep;

use crate::listener::carrier::{Carrier, Reset};

/// Writes one response to a carrier.
pub(super) struct Outgoing {
    is_head: bool,
    header: Option<Box<ResponseHeader>>,
    /// Content-length of the body that will be sent; `None` when unknown or when there is no body.
    expected: Option<u64>,
    has_no_body: bool,
    /// Body bytes handed to us, and of these the ones that the stream has taken.
    accepted: u64,
    sent: u64,
    state: State,
    current: Option<Write>,
    queue: VecDeque<HttpTask>,
    timeout: Option<Duration>,
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Cut,
}

/// What is being written; it holds exactly what the stream has not taken.
enum Write {
    Data { rest: Bytes, end: bool },
    Trailers(HeaderMap),
}

impl Outgoing {
    pub(super) fn new(method: &Method, timeout: Duration) -> Self {
        Self {
            is_head: method == Method::HEAD,
            header: None,
            expected: None,
            has_no_body: false,
            accepted: 0,
            sent: 0,
            state: State::Open,
            current: None,
            queue: VecDeque::new(),
            timeout: Some(timeout),
            stalled: None,
        }
    }

    /// Puts a task at the end of the queue; [`Outgoing::flush`] writes it.
    pub(super) fn queue(&mut self, task: HttpTask) {
        self.queue.push_back(task);
    }

    /// Writes everything queued; true when the response has ended. May be dropped and called again.
    pub(super) async fn flush<C: Carrier>(&mut self, carrier: &mut C) -> Result<bool> {
        std::future::poll_fn(|cx| self.poll_flush(cx, carrier)).await.map_err(|e| e.into_down())
    }

    pub(super) fn is_pending(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// The response was completed.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Cuts the response unless it was completed.
    pub(super) fn cut<C: Carrier>(&mut self, carrier: &mut C, reason: Reset) {
        if self.state == State::Open {
            self.state = State::Cut;
            carrier.reset(reason);
        }
        self.current = None;
        self.queue.clear();
    }

    pub(super) fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_deref()
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
        self.stalled = None;
    }

    fn poll_flush<C: Carrier>(
        &mut self,
        cx: &mut Context<'_>,
        carrier: &mut C,
    ) -> Poll<Result<bool>> {
        loop {
            ready!(self.poll_current(cx, carrier))?;
            let Some(task) = self.queue.pop_front() else {
                return Poll::Ready(Ok(self.state == State::Ended));
            };
            self.begin(task, carrier)?;
        }
    }

    /// Finishes the write that has begun.
    fn poll_current<C: Carrier>(
        &mut self,
        cx: &mut Context<'_>,
        carrier: &mut C,
    ) -> Poll<Result<()>> {
        let (polled, ends) = match &mut self.current {
            None => return Poll::Ready(Ok(())),
            Some(Write::Data { rest, end }) => {
                let before = rest.len();
                let polled = carrier.poll_write(cx, rest, *end);
                let taken = before - rest.len();
                if taken > 0 {
                    self.sent += taken as u64;
                    self.stalled = None;
                }
                (polled, *end)
            }
            Some(Write::Trailers(trailers)) => (carrier.poll_trailers(cx, trailers), true),
        };
        match polled {
            Poll::Pending => self.poll_stall(cx, carrier),
            Poll::Ready(Ok(())) => {
                self.current = None;
                self.stalled = None;
                if ends {
                    self.state = State::Ended;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(lost)) => {
                self.cut(carrier, Reset::Cancelled);
                Poll::Ready(Error::e_explain(ErrorType::WriteError, format!("response: {lost}")))
            }
        }
    }

    /// Gives up on a client that has taken nothing for too long.
    fn poll_stall<C: Carrier>(
        &mut self,
        cx: &mut Context<'_>,
        carrier: &mut C,
    ) -> Poll<Result<()>> {
        let Some(timeout) = self.timeout else { return Poll::Pending };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        self.cut(carrier, Reset::Internal);
        let problem = format!("the client took no byte of the response for {timeout:?}");
        Poll::Ready(Error::e_explain(ErrorType::WriteTimedout, problem))
    }

    /// Starts one task; what needs waiting goes to `current`.
    fn begin<C: Carrier>(&mut self, task: HttpTask, carrier: &mut C) -> Result<()> {
        match task {
            HttpTask::Header(header, end) => self.begin_header(header, end, carrier),
            HttpTask::Body(data, end) => self.begin_body(data.unwrap_or_default(), end, carrier),
            HttpTask::Trailer(Some(trailers)) => self.begin_trailers(*trailers, carrier),
            HttpTask::Trailer(None) | HttpTask::Done => {
                // Without a header there is nothing to end; the session cuts the stream on drop.
                if self.header.is_none() {
                    return Ok(());
                }
                self.begin_body(Bytes::new(), true, carrier)
            }
            HttpTask::UpgradedBody(..) => {
                self.cut(carrier, Reset::Internal);
                Error::e_explain(ErrorType::InternalError, "an upgraded body cannot travel here")
            }
            HttpTask::Failed(error) => {
                self.cut(carrier, Reset::Internal);
                Err(error)
            }
        }
    }

    fn begin_header<C: Carrier>(
        &mut self,
        mut header: Box<ResponseHeader>,
        end: bool,
        carrier: &mut C,
    ) -> Result<()> {
        self.refuse_if_cut()?;
        // 1xx is optional for clients, and only one final header may follow (RFC 9110 15.2).
        if self.header.is_some() || header.status.is_informational() {
            return Ok(());
        }
        header.insert_header(header::DATE, get_cached_date())?;
        for name in CONNECTION_HEADERS {
            header.remove_header(*name);
        }
        self.has_no_body = self.is_head
            || matches!(header.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.expected = if self.has_no_body { None } else { content_length(&header.headers) };
        if end && self.expected.is_some_and(|length| length > 0) {
            return self.wrong_length(carrier);
        }
        let response = http::Response::from_parts(header.as_owned_parts(), ());
        if let Err(lost) = carrier.send_header(response, end) {
            self.cut(carrier, Reset::Internal);
            return Error::e_explain(ErrorType::WriteError, format!("response header: {lost}"));
        }
        self.header = Some(header);
        if end {
            self.state = State::Ended;
        }
        Ok(())
    }

    fn begin_body<C: Carrier>(
        &mut self,
        mut data: Bytes,
        end: bool,
        carrier: &mut C,
    ) -> Result<()> {
        self.refuse_if_cut()?;
        if self.state == State::Ended {
            return Ok(());
        }
        if self.header.is_none() {
            self.cut(carrier, Reset::Internal);
            return Error::e_explain(ErrorType::InternalError, "response body before its header");
        }
        if self.has_no_body {
            data.clear();
        }
        self.accepted += data.len() as u64;
        let is_wrong = self
            .expected
            .is_some_and(|length| self.accepted > length || (end && self.accepted != length));
        if is_wrong {
            return self.wrong_length(carrier);
        }
        if !data.is_empty() || end {
            self.current = Some(Write::Data { rest: data, end });
        }
        Ok(())
    }

    fn begin_trailers<C: Carrier>(&mut self, trailers: HeaderMap, carrier: &mut C) -> Result<()> {
        self.refuse_if_cut()?;
        if self.state == State::Ended {
            return Ok(());
        }
        if self.header.is_none() || self.expected.is_some_and(|length| self.accepted != length) {
            return self.wrong_length(carrier);
        }
        self.current = Some(Write::Trailers(trailers));
        Ok(())
    }

    fn refuse_if_cut(&self) -> Result<()> {
        if self.state == State::Cut {
            return Error::e_explain(ErrorType::WriteError, "the response was already cut");
        }
        Ok(())
    }

    fn wrong_length<C: Carrier>(&mut self, carrier: &mut C) -> Result<()> {
        let (accepted, expected) = (self.accepted, self.expected.unwrap_or_default());
        self.cut(carrier, Reset::Internal);
        Error::e_explain(
            ErrorType::WriteError,
            format!("response body of {accepted} bytes against content-length {expected}"),
        )
    }
}

/// The content-length of a header section, when it has one that is a number.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Headers that belong to one H1 connection and must not appear in H2 or H3 (RFC 9113 8.2.2).
const CONNECTION_HEADERS: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
