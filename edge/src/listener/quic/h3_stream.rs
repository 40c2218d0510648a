//! One H3 stream as a carrier: h3 writes header sections, bodies go around it to QUIC.
//!
//! Invariant: h3's own futures are polled once and dropped. That is safe because the transport takes
//! all of a frame at once and keeps what QUIC did not take.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::FutureExt;
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http::{HeaderMap, Method, Response};
use quinn::{StoppedError, VarInt};

use super::stream::Stream;
use super::transport::{BidiStream, RecvHalf, SendHalf};
use crate::listener::carrier::{Carrier, Reset, StreamLost};

/// An H3 request stream.
pub(super) struct H3Stream {
    headers: RequestStream<SendHalf, Bytes>,
    request: RequestStream<RecvHalf, Bytes>,
    stream: Arc<Stream>,
    stopped: Stopped,
    /// A piece that was read while looking for the end.
    peeked: Option<Bytes>,
    is_read_to_end: bool,
    /// Bytes of the DATA frame that was begun and are not written yet.
    frame_left: usize,
    has_trailers_queued: bool,
}

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync>>;

impl H3Stream {
    /// `has_length` says that the request has a content-length.
    pub(super) fn new(
        request: RequestStream<BidiStream, Bytes>,
        stream: Arc<Stream>,
        method: &Method,
        has_length: bool,
    ) -> Self {
        let (headers, request) = request.split();
        let mut new = Self {
            headers,
            request,
            stopped: Box::pin(stream.stopped()),
            stream,
            peeked: None,
            is_read_to_end: false,
            frame_left: 0,
            has_trailers_queued: false,
        };
        new.look_for_end(method, has_length);
        new
    }

    /// A QUIC stream does not say in its header whether a body follows. The end of a request
    /// without one usually lies in the same packet; if not, a method that has no body by its
    /// definition is taken to have none (RFC 9110 9.3), else the proxy would announce one.
    fn look_for_end(&mut self, method: &Method, has_length: bool) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.poll_read(&mut cx) {
            Poll::Ready(Ok(Some(piece))) => self.peeked = Some(piece),
            Poll::Ready(Ok(None)) => {}
            // An error comes again when the proxy reads.
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let is_bodiless = matches!(
                    *method,
                    Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE
                );
                self.is_read_to_end = is_bodiless && !has_length;
            }
        }
    }

    /// The next DATA bytes. h3 reports an empty DATA frame like the end, so the end is believed
    /// only when QUIC has seen it too.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamError>> {
        let mut ends = 0;
        loop {
            if let Some(mut data) = ready!(self.request.poll_recv_data(cx))? {
                return Poll::Ready(Ok(Some(data.copy_to_bytes(data.remaining()))));
            }
            ends += u32::from(self.stream.is_received());
            if ends > EMPTY_FRAMES_MAX {
                return Poll::Ready(Ok(None));
            }
        }
    }
}

impl Carrier for H3Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamLost>> {
        if let Some(piece) = self.peeked.take() {
            return Poll::Ready(Ok(Some(piece)));
        }
        if self.is_read_to_end {
            return Poll::Ready(Ok(None));
        }
        let piece = ready!(self.poll_data(cx)).map_err(|error| StreamLost(error.to_string()))?;
        self.stream.allow_more();
        self.is_read_to_end = piece.is_none();
        Poll::Ready(Ok(piece))
    }

    fn is_read_to_end(&self) -> bool {
        self.is_read_to_end
    }

    fn stop_reading(&mut self) {
        self.is_read_to_end = true;
        self.request.stop_sending(Code::H3_NO_ERROR);
    }

    fn send_header(&mut self, header: Response<()>, end: bool) -> Result<(), StreamLost> {
        // Not ready means that the transport keeps the rest; it goes out before the body.
        if let Some(Err(error)) = self.headers.send_response(header).now_or_never() {
            return Err(StreamLost(error.to_string()));
        }
        if end {
            // Ready unless the header itself did not fit into the send window.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            return match self.stream.poll_finish(&mut cx) {
                Poll::Ready(ended) => ended.map_err(lost),
                Poll::Pending => Err(StreamLost("no room for a header section".into())),
            };
        }
        Ok(())
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        end: bool,
    ) -> Poll<Result<(), StreamLost>> {
        if self.frame_left == 0 && !data.is_empty() {
            self.stream.begin_data_frame(data.len());
            self.frame_left = data.len();
        }
        let polled = self.stream.poll_body(cx, data);
        self.frame_left = data.len();
        ready!(polled).map_err(lost)?;
        if end {
            ready!(self.stream.poll_finish(cx)).map_err(lost)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &HeaderMap,
    ) -> Poll<Result<(), StreamLost>> {
        if !self.has_trailers_queued {
            self.has_trailers_queued = true;
            let sent = self.headers.send_trailers(trailers.clone()).now_or_never();
            if let Some(Err(error)) = sent {
                return Poll::Ready(Err(StreamLost(error.to_string())));
            }
        }
        self.stream.poll_finish(cx).map_err(lost)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamLost> {
        let why = ready!(self.stopped.as_mut().poll(cx));
        // A future must not be polled after its end, and this question may be asked again.
        self.stopped = Box::pin(std::future::pending());
        Poll::Ready(StreamLost(match why {
            Ok(Some(code)) => format!("stream stopped: {}", Code::from(code.into_inner())),
            Ok(None) => "stream ended".to_owned(),
            Err(error) => error.to_string(),
        }))
    }

    fn reset(&mut self, reason: Reset) {
        self.stream.reset(match reason {
            Reset::Internal => Code::H3_INTERNAL_ERROR,
            Reset::Cancelled => Code::H3_REQUEST_CANCELLED,
            Reset::Malformed => Code::H3_MESSAGE_ERROR,
        });
    }
}

fn lost(error: quinn::WriteError) -> StreamLost {
    StreamLost(error.to_string())
}

/// Empty DATA frames in a row that are looked past once the client has ended the stream.
const EMPTY_FRAMES_MAX: u32 = 16;
