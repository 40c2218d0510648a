//! One exchange on an H1 connection as the app sees it.
//!
//! The stream owns the connection while its exchange lasts. Invariant: no more and no fewer bytes leave than the head
//! announced; when that cannot be kept the connection is cut.

use std::{
    future::poll_fn,
    task::{Context, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{
    connection::{Connection, Phase, lost},
    response::{self, Framing, Persistence},
};
use crate::listener::stream::{ResponseHead, Stream, StreamLost, Way};

/// The stream of one request.
#[derive(Debug)]
pub(super) struct H1Stream(pub(super) Box<Connection>);

impl Stream for H1Stream {
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, StreamLost>> + Send {
        poll_fn(|cx| self.0.poll_body(cx))
    }

    fn inform(&mut self, status: StatusCode, headers: &HeaderMap) {
        let connection = &mut *self.0;
        let is_possible = connection.phase == Phase::Waiting && !connection.asked.is_http10;
        if !is_possible
            || !is_interim(status)
            || connection.output.lines().len() > INTERIM_BYTES_MAX
        {
            return;
        }
        // Said once, and only to a client that waits for it.
        if status == StatusCode::CONTINUE && !std::mem::take(&mut connection.awaits_continue) {
            return;
        }
        response::write_interim(connection.output.lines(), status, headers);
        // What does not fit now leaves with the next read, write or wait.
        let _ = connection.poll_drain(&mut Context::from_waker(Waker::noop()));
    }

    fn head(&mut self, head: &ResponseHead<'_>, is_last: bool) -> Result<(), StreamLost> {
        let connection = &mut *self.0;
        if connection.phase != Phase::Waiting {
            return Err(self.cut("a second head"));
        }
        let Some(framing) = Framing::of(head, is_last, connection.asked) else {
            return Err(self.cut("a head that promises a body and has none"));
        };
        connection.is_last |= framing == Framing::UntilClose
            || connection.is_draining()
            || connection.io.is_over()
            || !connection.is_body_short();
        let persistence = match (connection.is_last, connection.asked.is_http10) {
            (true, _) => Persistence::Close,
            (false, true) => Persistence::KeepAlive,
            (false, false) => Persistence::Implied,
        };
        // Without a length or chunks, only a reset tells a body that was cut from a whole one.
        connection.io.cut_when_dropped(framing == Framing::UntilClose);
        connection.io.hurry();
        response::write_head(connection.output.lines(), head, framing, persistence);
        connection.phase = if is_last { Phase::Ended } else { Phase::Body(framing) };
        Ok(())
    }

    fn send(
        &mut self,
        data: Bytes,
        is_last: bool,
    ) -> impl Future<Output = Result<(), StreamLost>> + Send {
        // Taken here and not when the future is polled: dropping the future loses nothing.
        let taken = self.take(data, is_last);
        async move {
            taken?;
            let connection = &mut *self.0;
            let written = if is_last {
                poll_fn(|cx| connection.poll_write(cx)).await
            } else {
                poll_fn(|cx| connection.poll_drain(cx)).await
            };
            written.map_err(|error| lost(&error))
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), StreamLost> {
        let connection = &mut *self.0;
        match connection.phase {
            Phase::Body(Framing::Chunked) if connection.takes_trailers => {
                response::write_trailers(connection.output.lines(), trailers);
            }
            Phase::Body(Framing::Chunked) => {
                connection.output.lines().extend_from_slice(LAST_CHUNK)
            }
            Phase::Body(Framing::None | Framing::UntilClose | Framing::Length(0)) => {}
            _ => return Err(self.cut("trailers in the wrong place")),
        }
        connection.phase = Phase::Ended;
        Ok(())
    }

    fn finish(&mut self) -> impl Future<Output = Result<(), StreamLost>> + Send {
        poll_fn(|cx| {
            let connection = &mut *self.0;
            if connection.phase != Phase::Ended {
                return std::task::Poll::Ready(Err(StreamLost(
                    "the response is not complete".into(),
                )));
            }
            connection.poll_drain(cx).map(|pushed| {
                connection.is_finished = pushed.is_ok();
                connection.io.cut_when_dropped(!connection.is_finished);
                pushed.map_err(|error| lost(&error))
            })
        })
    }

    fn gone(&mut self) -> impl Future<Output = StreamLost> + Send {
        poll_fn(|cx| self.0.poll_gone(cx))
    }

    fn way(&self) -> Way {
        self.0.io.way()
    }

    fn sent(&self) -> u64 {
        self.0.sent
    }
}

impl H1Stream {
    /// Frames a piece and puts it where it waits to leave.
    fn take(&mut self, data: Bytes, is_last: bool) -> Result<(), StreamLost> {
        let connection = &mut *self.0;
        let Phase::Body(framing) = connection.phase else {
            return Err(self.cut("content without a head, or behind its end"));
        };
        if connection.output.is_full() {
            return Err(self.cut("content faster than it can leave"));
        }
        match framing {
            Framing::None => {}
            Framing::UntilClose => connection.output.content(data, b""),
            Framing::Chunked if data.is_empty() => {
                if is_last {
                    connection.output.lines().extend_from_slice(LAST_CHUNK);
                }
            }
            Framing::Chunked => {
                response::write_chunk_size(connection.output.lines(), data.len());
                connection.output.content(data, if is_last { LAST_CHUNK_BEHIND } else { b"\r\n" });
            }
            Framing::Length(left) => {
                let length = data.len() as u64;
                if length > left || (is_last && length < left) {
                    return Err(self.cut("content of another length than announced"));
                }
                connection.phase = Phase::Body(Framing::Length(left - length));
                if !data.is_empty() {
                    connection.output.content(data, b"");
                }
            }
        }
        if is_last {
            connection.phase = Phase::Ended;
        }
        Ok(())
    }

    fn cut(&mut self, why: &'static str) -> StreamLost {
        self.0.phase = Phase::Cut;
        StreamLost(why.into())
    }
}

/// Interim responses but the one that would change the protocol.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const LAST_CHUNK_BEHIND: &[u8] = b"\r\n0\r\n\r\n";
/// Interim responses that may wait; a client that does not take them gets no more.
const INTERIM_BYTES_MAX: usize = 64 * 1024;
