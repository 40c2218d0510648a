//! One request and its answer on a connection of HTTP/1.1.
//!
//! Pingora's own session reads an answer laxly (it drops a length that stands beside chunks, and lines may end with LF
//! alone), knows no trailers, and cannot read while it writes; so the codec is ours, on Pingora's connection.
//! Invariant: a connection is kept only after an answer that was whole, with nothing behind it.

mod body;
mod head;
mod request;

use std::io;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use pingora::protocols::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, timeout, timeout_at},
};

pub(super) use self::head::HEAD_BYTES_MAX;
use self::{
    body::{BodyReader, Step},
    head::{Head, HeadReader},
};
use super::{
    super::{
        ask::{Piece, RequestBody},
        failed::Failed,
    },
    fields::{has_token, keep_end_to_end, keep_trailers},
    framing::{self, Framing},
    message::{BodyLength, Incoming, Interims, Outgoing, Received, Times},
    pool::Home,
    sending::Sending,
};

/// Sends a request and reads the head of its answer.
pub(super) async fn exchange(
    stream: Stream,
    home: Home,
    request: &Outgoing,
    body: Option<RequestBody>,
    times: Times,
    interims: &mut Interims<'_>,
) -> Result<Received, Failed> {
    let mut connection = Connection::send(stream, request, body, times).await?;
    let (head, framing) = connection.final_head(&request.method, times, interims).await?;
    let Head { status, mut headers, is_http_1_1 } = head;
    let may_keep = is_http_1_1 && !has_token(&headers, &header::CONNECTION, "close");
    keep_end_to_end(&mut headers);
    let mut body = Body {
        connection: Some(connection),
        home: Some(home).filter(|_| may_keep && framing != Framing::UntilClose),
        reader: BodyReader::new(framing),
        times,
        trailers: None,
    };
    if framing == Framing::Empty {
        body.end(None);
        return Ok(Received { status, headers, body: Incoming::Empty });
    }
    Ok(Received { status, headers, body: Incoming::H1(Box::new(body)) })
}

/// Reads an answer to a GET out of bytes that come in pieces of this size: its status, its body, and how many bytes
/// stand behind it. `None` when it is refused, or not whole while the connection is open. For fuzzing.
#[must_use]
pub fn read_answer(bytes: &[u8], piece: usize) -> Option<(u16, Vec<u8>, usize)> {
    let mut pieces = bytes.chunks(piece.max(1));
    let mut buffer = BytesMut::new();
    let mut reader = HeadReader::default();
    let (status, framing) = loop {
        match reader.read(&mut buffer).ok()? {
            None => buffer.extend_from_slice(pieces.next()?),
            Some(head) => {
                let Head { status, is_http_1_1, headers } = head;
                let framing = framing::of_h1(&Method::GET, status, is_http_1_1, &headers).ok()?;
                if !status.is_informational() {
                    break (status, framing);
                }
            }
        }
    };
    let (mut reader, mut body) = (BodyReader::new(framing), Vec::new());
    loop {
        match reader.read(&mut buffer).ok()? {
            Step::Data(data) => body.extend_from_slice(&data),
            Step::More => buffer.extend_from_slice(pieces.next()?),
            Step::End(_) => {
                return Some((status.as_u16(), body, buffer.len() + pieces.flatten().count()));
            }
        }
    }
}

/// The body of an answer as it comes.
pub(in crate::upstream) struct Body {
    /// Gone once the body has ended.
    connection: Option<Connection>,
    home: Option<Home>,
    reader: BodyReader,
    times: Times,
    trailers: Option<HeaderMap>,
}

impl Body {
    pub(in crate::upstream) async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        loop {
            let Some(connection) = &mut self.connection else { return Ok(None) };
            match self.reader.read(&mut connection.buffer)? {
                Step::Data(data) => {
                    // Whoever knows the length may not come back for the end.
                    if self.reader.is_at_end() {
                        self.end(None);
                    }
                    return Ok(Some(data));
                }
                Step::End(trailers) => {
                    self.end(trailers);
                    return Ok(None);
                }
                Step::More => {}
            }
            let read = connection.read(BODY_READ_BYTES);
            match timeout(self.times.read, read).await.map_err(|_| Failed::ReadTime)?? {
                Read::Bytes | Read::RequestSent => {}
                Read::Closed if self.reader.ends_with_close() => {
                    self.end(None);
                    return Ok(None);
                }
                Read::Closed => return Err(Failed::Short),
            }
        }
    }

    pub(in crate::upstream) fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.trailers = trailers.map(|mut trailers| {
            keep_trailers(&mut trailers);
            trailers
        });
        let connection = self.connection.take();
        if let (Some(home), Some(connection)) = (self.home.take(), connection)
            && let Some(stream) = connection.idle()
        {
            home.keep(stream);
        }
    }
}

/// A connection with a request under way.
struct Connection {
    io: Io,
    buffer: BytesMut,
}

enum Io {
    /// The request is sent.
    Whole(Stream),
    /// Its body may still be on its way.
    Split(ReadHalf<Stream>, Sending<WriteHalf<Stream>>),
}

/// What reading from a connection came to.
enum Read {
    Bytes,
    Closed,
    /// Nothing was read, but the request is sent now.
    RequestSent,
}

impl Connection {
    async fn send(
        mut stream: Stream,
        request: &Outgoing,
        body: Option<RequestBody>,
        times: Times,
    ) -> Result<Self, Failed> {
        let head = request::head(request);
        let io = match body {
            None => {
                write(&mut stream, &[&head], times).await.map_err(closed_if_gone)?;
                Io::Whole(stream)
            }
            Some(body) => {
                let (reading, writing) = tokio::io::split(stream);
                let length = request.body;
                Io::Split(reading, Sending::start(send_body(writing, head, body, length, times)))
            }
        };
        Ok(Self { io, buffer: BytesMut::new() })
    }

    /// Reads heads until the final one.
    async fn final_head(
        &mut self,
        method: &Method,
        times: Times,
        interims: &mut Interims<'_>,
    ) -> Result<(Head, Framing), Failed> {
        let mut reader = HeadReader::default();
        let mut deadline = None;
        let mut has_come = false;
        loop {
            if let Some(mut head) = reader.read(&mut self.buffer)? {
                let framing = framing::of_h1(method, head.status, head.is_http_1_1, &head.headers)?;
                if !head.status.is_informational() {
                    return Ok((head, framing));
                }
                keep_end_to_end(&mut head.headers);
                interims.came(head.status, head.headers)?;
                continue;
            }
            if deadline.is_none() && self.is_sent() {
                deadline = Some(Instant::now() + times.first_byte);
            }
            let read = self.read(HEAD_READ_BYTES);
            let read = match deadline {
                Some(deadline) => {
                    timeout_at(deadline, read).await.map_err(|_| Failed::FirstByteTime)?
                }
                None => read.await,
            };
            match read {
                Ok(Read::Bytes) => has_come = true,
                Ok(Read::RequestSent) => {}
                Ok(Read::Closed) if has_come => return Err(Failed::Short),
                Ok(Read::Closed) => return Err(Failed::Closed),
                Err(failed) if has_come => return Err(failed),
                Err(failed) => return Err(closed_if_gone(failed)),
            }
        }
    }

    fn is_sent(&self) -> bool {
        match &self.io {
            Io::Whole(_) => true,
            Io::Split(_, sending) => sending.is_over(),
        }
    }

    /// Reads what is there, or waits until the request is sent. May be dropped and called again.
    async fn read(&mut self, bytes: usize) -> Result<Read, Failed> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN {
            self.buffer.reserve(bytes);
        }
        let read = match &mut self.io {
            Io::Whole(stream) => stream.read_buf(&mut self.buffer).await?,
            Io::Split(reading, sending) if sending.is_over() => {
                reading.read_buf(&mut self.buffer).await?
            }
            Io::Split(reading, sending) => tokio::select! {
                read = reading.read_buf(&mut self.buffer) => read?,
                done = sending.done() => return done.map(|()| Read::RequestSent),
            },
        };
        Ok(if read == 0 { Read::Closed } else { Read::Bytes })
    }

    /// The connection for another request, when nothing is left of this one.
    fn idle(self) -> Option<Stream> {
        if !self.buffer.is_empty() {
            return None;
        }
        match self.io {
            Io::Whole(stream) => Some(stream),
            Io::Split(reading, mut sending) => Some(reading.unsplit(sending.take()?)),
        }
    }
}

async fn send_body(
    mut writing: WriteHalf<Stream>,
    head: Bytes,
    mut body: RequestBody,
    length: BodyLength,
    times: Times,
) -> Result<WriteHalf<Stream>, Failed> {
    write(&mut writing, &[&head], times).await?;
    let mut left = match length {
        BodyLength::Known(length) => Some(length),
        BodyLength::None => Some(0),
        BodyLength::Unknown => None,
    };
    loop {
        match body.recv().await {
            Some(Ok(Piece::Data(data))) if data.is_empty() => {}
            Some(Ok(Piece::Data(data))) => match &mut left {
                Some(left) => {
                    *left = left.checked_sub(data.len() as u64).ok_or(TOO_LONG)?;
                    write(&mut writing, &[&data], times).await?;
                }
                None => {
                    let start = request::chunk_start(data.len());
                    write(&mut writing, &[&start, &data, b"\r\n"], times).await?;
                }
            },
            Some(Ok(Piece::End(mut trailers))) => {
                trailers.iter_mut().for_each(keep_trailers);
                match left {
                    Some(0) => {}
                    Some(_) => return Err(Failed::ClientGone),
                    None => {
                        let end = request::chunks_end(trailers.as_ref());
                        write(&mut writing, &[&end], times).await?;
                    }
                }
                return Ok(writing);
            }
            Some(Err(_)) | None => return Err(Failed::ClientGone),
        }
    }
}

async fn write(
    stream: &mut (impl AsyncWriteExt + Unpin),
    pieces: &[&[u8]],
    times: Times,
) -> Result<(), Failed> {
    let writing = async {
        for piece in pieces {
            stream.write_all(piece).await?;
        }
        stream.flush().await
    };
    timeout(times.write, writing).await.map_err(|_| Failed::WriteTime)?.map_err(Failed::Io)
}

/// A connection that breaks before the first byte of an answer was closed meanwhile.
fn closed_if_gone(failed: Failed) -> Failed {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    match failed {
        Failed::Io(error)
            if matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
            ) =>
        {
            Failed::Closed
        }
        other => other,
    }
}

const TOO_LONG: Failed = Failed::Request("its body is longer than it says");
/// What is read at once: of heads, which are small, and of bodies.
const HEAD_READ_BYTES: usize = 16 * 1024;
const BODY_READ_BYTES: usize = 64 * 1024;
/// With less room than this another buffer is taken.
const READ_BYTES_MIN: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_read_behind_interim_ones() {
        let text =
            b"HTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc";
        assert_eq!(read_answer(text, 1), Some((200, b"ab".to_vec(), 1)));
        assert_eq!(read_answer(b"HTTP/1.1 200 OK\r\n\r\nabc", 1), None);
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_makes_no_difference(
            parts in prop::collection::vec(prop::sample::select(vec![
                "HTTP/1.1 200 OK\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "\r\n", "\n",
                "\r", "3\r\n", "abc", "0\r\n", "A: b\r\n", " ", ":", "HTTP/1.1 100 C\r\n\r\n", "3;x=y\r\n",
            ]), 0..12),
            piece in 1usize..9,
        ) {
            let text = ["HTTP/1.1 200 OK\r\n", &parts.concat()].concat();
            prop_assert_eq!(read_answer(text.as_bytes(), piece), read_answer(text.as_bytes(), usize::MAX));
        }
    }
}
