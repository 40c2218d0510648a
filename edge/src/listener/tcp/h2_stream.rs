//! One H2 stream as a carrier: flow control decides how much of a body it takes.
//!
//! Invariant: the stream ends with END_STREAM or RST_STREAM, never by being dropped.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};

use crate::listener::carrier::{Carrier, Reset, StreamLost};

/// An H2 request stream.
pub(super) struct H2Stream {
    respond: SendResponse<Bytes>,
    /// Gone once the rest of the request is not wanted; h2 then discards it.
    request: Option<RecvStream>,
    /// There once the header was sent.
    response: Option<SendStream<Bytes>>,
}

impl H2Stream {
    pub(super) fn new(request: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self { respond, request: Some(request), response: None }
    }
}

impl Carrier for H2Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamLost>> {
        let Some(request) = &mut self.request else { return Poll::Ready(Ok(None)) };
        let Some(piece) = ready!(request.poll_data(cx)) else { return Poll::Ready(Ok(None)) };
        let piece = piece.map_err(lost)?;
        // The proxy reads only what it can pass on, so what it has read may be refilled at once.
        request.flow_control().release_capacity(piece.len()).map_err(lost)?;
        Poll::Ready(Ok(Some(piece)))
    }

    fn is_read_to_end(&self) -> bool {
        self.request.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn stop_reading(&mut self) {
        self.request = None;
    }

    fn send_header(&mut self, header: Response<()>, end: bool) -> Result<(), StreamLost> {
        self.response = Some(self.respond.send_response(header, end).map_err(lost)?);
        Ok(())
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        end: bool,
    ) -> Poll<Result<(), StreamLost>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(StreamLost("no header was sent".into())));
        };
        if data.is_empty() {
            let ended = if end { response.send_data(Bytes::new(), true) } else { Ok(()) };
            return Poll::Ready(ended.map_err(lost));
        }
        while !data.is_empty() {
            response.reserve_capacity(data.len());
            let capacity = response.capacity();
            if capacity == 0 {
                match ready!(response.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(lost(error))),
                    None => return Poll::Ready(Err(StreamLost("stream closed".into()))),
                }
            }
            let piece = data.split_to(capacity.min(data.len()));
            response.send_data(piece, end && data.is_empty()).map_err(lost)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_trailers(
        &mut self,
        _cx: &mut Context<'_>,
        trailers: &HeaderMap,
    ) -> Poll<Result<(), StreamLost>> {
        Poll::Ready(match &mut self.response {
            Some(response) => response.send_trailers(trailers.clone()).map_err(lost),
            None => Err(StreamLost("no header was sent".into())),
        })
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamLost> {
        let reason = match &mut self.response {
            Some(response) => ready!(response.poll_reset(cx)),
            None => ready!(self.respond.poll_reset(cx)),
        };
        Poll::Ready(match reason {
            Ok(reason) => StreamLost(format!("stream reset: {reason}")),
            Err(error) => lost(error),
        })
    }

    fn reset(&mut self, reason: Reset) {
        let reason = match reason {
            Reset::Internal => Reason::INTERNAL_ERROR,
            Reset::Cancelled => Reason::CANCEL,
            Reset::Malformed => Reason::PROTOCOL_ERROR,
        };
        match &mut self.response {
            Some(response) => response.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

fn lost(error: h2::Error) -> StreamLost {
    StreamLost(error.to_string())
}
