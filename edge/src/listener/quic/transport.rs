//! QUIC streams in the form that the h3 crate asks for, on quinn.
//!
//! The stock adapter copies every body byte, loses its place when a write is dropped, hides that a
//! client has stopped a stream, and lets it fill memory with an unfinished frame; this one does not.
//! Invariant: what is buffered of a frame that is not complete never exceeds its allowance.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::stream::{Allowance, Stream, varint};

/// A QUIC connection for h3.
pub(super) struct Connection {
    quinn: quinn::Connection,
    next_request: BoxFuture<Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>>,
    next_control: BoxFuture<Result<quinn::RecvStream, ConnectionError>>,
    opening: Opener,
    accepted: Accepted,
    frame_bytes_max: usize,
    control_allowance: Arc<Allowance>,
}

/// Hands over the stream that h3 accepted last, which h3 itself does not show.
#[derive(Clone, Default)]
pub(super) struct Accepted(Arc<Mutex<Option<Arc<Stream>>>>);

impl Accepted {
    /// The stream of the request that `accept` just returned.
    pub(super) fn take(&self) -> Option<Arc<Stream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, stream: Arc<Stream>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }
}

impl Connection {
    /// `frame_bytes_max` bounds what may be buffered of a frame that is not complete.
    pub(super) fn new(quinn: quinn::Connection, frame_bytes_max: usize) -> (Self, Accepted) {
        let accepted = Accepted::default();
        let connection = Self {
            next_request: next_request(&quinn),
            next_control: next_control(&quinn),
            opening: Opener::new(quinn.clone()),
            quinn,
            accepted: accepted.clone(),
            frame_bytes_max,
            control_allowance: Arc::new(Allowance::new(frame_bytes_max)),
        };
        (connection, accepted)
    }
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvHalf;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<RecvHalf, ConnectionErrorIncoming>> {
        let stream = ready!(self.next_control.as_mut().poll(cx));
        self.next_control = next_control(&self.quinn);
        let payer = Payer::Connection(self.control_allowance.clone());
        Poll::Ready(stream.map(|quinn| RecvHalf { quinn, payer }).map_err(connection_error))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.next_request.as_mut().poll(cx));
        self.next_request = next_request(&self.quinn);
        let (send, recv) = accepted.map_err(connection_error)?;
        // Each request allows some more control bytes (priority updates), so a long connection is not
        // cut, and an endless frame still is.
        self.control_allowance.grant(CONTROL_BYTES_PER_REQUEST);
        let bidi = BidiStream::new(send, recv, self.frame_bytes_max);
        self.accepted.put(bidi.send.0.clone());
        Poll::Ready(Ok(bidi))
    }

    fn opener(&self) -> Opener {
        Opener::new(self.quinn.clone())
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendHalf;

    fn poll_open_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.opening.poll_open_bidi(cx)
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        self.opening.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opening.close(code, reason);
    }
}

/// Opens streams towards the client: control and QPACK; servers open no bidirectional ones.
pub(super) struct Opener {
    quinn: quinn::Connection,
    opening: Option<BoxFuture<Result<quinn::SendStream, ConnectionError>>>,
}

impl Opener {
    fn new(quinn: quinn::Connection) -> Self {
        Self { quinn, opening: None }
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendHalf;

    fn poll_open_bidi(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        let problem = "an H3 server opens no bidirectional streams (RFC 9114 6.1)";
        Poll::Ready(Err(StreamErrorIncoming::Unknown(problem.into())))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        let quinn = &self.quinn;
        let opening = self.opening.get_or_insert_with(|| {
            let quinn = quinn.clone();
            Box::pin(async move { quinn.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        let stream = opened.map_err(|error| StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: connection_error(error),
        })?;
        Poll::Ready(Ok(SendHalf(Arc::new(Stream::new(stream, false, 0)))))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quinn.close(varint(code.value()), reason);
    }
}

/// The sending half, as h3 sees it.
pub(super) struct SendHalf(Arc<Stream>);

impl quic::SendStream<Bytes> for SendHalf {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.0.poll_pending(cx).map_err(write_error)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        let mut frame = data.into();
        let frame = frame.copy_to_bytes(frame.remaining());
        self.0.append(&frame);
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.0.poll_finish(cx).map_err(write_error)
    }

    fn reset(&mut self, code: u64) {
        self.0.reset(Code::from(code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.0.id())
    }
}

/// The receiving half, as h3 sees it.
pub(super) struct RecvHalf {
    quinn: quinn::RecvStream,
    payer: Payer,
}

/// Whose allowance pays for buffered bytes.
enum Payer {
    /// The request's own.
    Request(Arc<Stream>),
    /// One for all control streams of a connection.
    Connection(Arc<Allowance>),
}

impl Payer {
    fn allowance(&self) -> &Allowance {
        match self {
            Self::Request(stream) => stream.allowance(),
            Self::Connection(allowance) => allowance,
        }
    }
}

impl quic::RecvStream for RecvHalf {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let read = ready!(pin!(self.quinn.read_chunk(usize::MAX, true)).poll(cx));
        let Some(chunk) = read.map_err(read_error)? else {
            if let Payer::Request(stream) = &self.payer {
                stream.set_received();
            }
            return Poll::Ready(Ok(None));
        };
        if !self.payer.allowance().spend(chunk.bytes.len()) {
            let code = Code::H3_EXCESSIVE_LOAD.value();
            // Fails only on a stream that has ended.
            let _ = self.quinn.stop(varint(code));
            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code }));
        }
        Poll::Ready(Ok(Some(chunk.bytes)))
    }

    fn stop_sending(&mut self, code: u64) {
        // Fails only on a stream that has ended.
        let _ = self.quinn.stop(varint(code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(VarInt::from(self.quinn.id()))
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        // quinn would stop an unread stream with code 0, which HTTP/3 does not have (RFC 9114, 8.1). Fails only on a
        // stream that has ended.
        let _ = self.quinn.stop(varint(Code::H3_NO_ERROR.value()));
    }
}

/// A request stream.
pub(super) struct BidiStream {
    send: SendHalf,
    recv: RecvHalf,
}

impl BidiStream {
    fn new(send: quinn::SendStream, recv: quinn::RecvStream, frame_bytes_max: usize) -> Self {
        let stream = Arc::new(Stream::new(send, recv.is_0rtt(), frame_bytes_max));
        let payer = Payer::Request(stream.clone());
        Self { send: SendHalf(stream), recv: RecvHalf { quinn: recv, payer } }
    }
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendHalf;
    type RecvStream = RecvHalf;

    fn split(self) -> (SendHalf, RecvHalf) {
        (self.send, self.recv)
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        quic::SendStream::poll_finish(&mut self.send, cx)
    }

    fn reset(&mut self, code: u64) {
        quic::SendStream::reset(&mut self.send, code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

fn next_request(
    quinn: &quinn::Connection,
) -> BoxFuture<Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>> {
    let quinn = quinn.clone();
    Box::pin(async move { quinn.accept_bi().await })
}

fn next_control(
    quinn: &quinn::Connection,
) -> BoxFuture<Result<quinn::RecvStream, ConnectionError>> {
    let quinn = quinn.clone();
    Box::pin(async move { quinn.accept_uni().await })
}

fn connection_error(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(closed) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: closed.error_code.into() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn write_error(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        WriteError::ConnectionLost(error) => StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: connection_error(error),
        },
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn read_error(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        ReadError::ConnectionLost(error) => StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: connection_error(error),
        },
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn stream_id(id: VarInt) -> StreamId {
    id.into_inner().try_into().expect("a QUIC stream id is below 2^62, as h3's are")
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + Sync>>;

/// Control bytes a request may bring along; a priority update has about 30.
const CONTROL_BYTES_PER_REQUEST: usize = 256;
