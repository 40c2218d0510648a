//! HTTP/1.1: a few connections to a server, one exchange at a time on each.
//!
//! Written for a client that reads bodies and keeps nothing: data goes from the worker's read buffer to the count.
//! Invariant: a connection serves again only when its last answer ended where its head said.

mod chunked;
mod head;

use std::{cell::RefCell, io, net::IpAddr};

use tokio::{io::AsyncWriteExt, sync::Semaphore};

use self::head::Framing;
use super::{
    Failure,
    course::{Course, Stage},
    failure::{Fault, Step},
    link::{self, Call},
    transport::Transport,
};
use crate::kind::{FailureClass, Protocol};

/// The connections of one session to one server.
pub(super) struct Pool {
    places: Semaphore,
    idle: RefCell<Vec<Wire>>,
}

/// One connection.
struct Wire {
    transport: Transport,
    address: IpAddr,
}

impl Pool {
    pub(super) fn new(connections_max: usize) -> Self {
        Self { places: Semaphore::new(connections_max), idle: RefCell::default() }
    }

    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        course: &mut Course<'_>,
    ) -> Result<(), Fault> {
        let closed = |_| Failure::new(FailureClass::Rig, "the pool is closed");
        let _place = self.places.acquire().await.map_err(closed)?;
        let idle = if call.is_new { None } else { self.take_idle() };
        let is_reused = idle.is_some();
        let mut wire = match idle {
            Some(wire) => wire,
            None => {
                let (transport, address) = link::tcp(call, Protocol::H1, course).await?;
                Wire { transport, address }
            }
        };
        course.stage = Stage::Answer;
        let target = &course.url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = head::write(target, &call.origin.authority(), call.headers);
        course.pace.round_trip().await;
        match wire.exchange(&request, course).await {
            Ok(true) => {
                wire.transport.rest();
                self.idle.borrow_mut().push(wire);
            }
            Ok(false) => {}
            Err(failure) => {
                let is_cut = matches!(failure.class, FailureClass::Reset | FailureClass::Truncated);
                return Err(Fault {
                    may_retry: is_reused && is_cut && !course.has_begun(),
                    failure,
                });
            }
        }
        Ok(())
    }

    fn take_idle(&self) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop())
            .find_map(|mut wire| wire.transport.is_quiet().then_some(wire))
    }
}

impl Wire {
    /// Asks and reads; whether the connection can serve again.
    async fn exchange(&mut self, request: &[u8], course: &mut Course<'_>) -> Result<bool, Failure> {
        let failed = |error: io::Error, course: &Course<'_>| Failure::of_io(&error, course.step());
        if let Err(error) = self.transport.write_all(request).await {
            return Err(failed(error, course));
        }
        if let Err(error) = self.transport.flush().await {
            return Err(failed(error, course));
        }
        let pace = course.pace;
        let mut reading = Reading { head: Vec::new(), state: State::Head, is_last: false };
        loop {
            let mut result = Ok(());
            let read = std::future::poll_fn(|cx| {
                self.transport.poll_take(cx, &mut |piece| {
                    if result.is_ok() {
                        result = reading.feed(piece, self.address, course);
                    }
                    piece.len()
                })
            });
            let count = match read.await {
                Ok(count) => count,
                Err(error) => return Err(failed(error, course)),
            };
            result?;
            pace.pass(count as u64).await;
            match reading.state {
                State::Done => break,
                State::Left => return Ok(false),
                State::Head if count == 0 => {
                    let class = match (course.step(), reading.head.is_empty()) {
                        (Step::Handshake, _) => FailureClass::Handshake,
                        (_, true) => FailureClass::Reset,
                        (_, false) => FailureClass::Truncated,
                    };
                    return Err(Failure::new(class, "closed before an answer"));
                }
                State::Body(Framing::Close) if count == 0 => break,
                State::Body(_) if count == 0 => {
                    return Err(Failure::new(FailureClass::Truncated, "closed within a body"));
                }
                State::Head | State::Body(_) => {}
            }
        }
        course.end()?;
        pace.settle().await;
        Ok(!reading.is_last)
    }
}

/// An answer as it comes.
struct Reading {
    /// A head of which a part has come.
    head: Vec<u8>,
    state: State,
    is_last: bool,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    Body(Framing),
    Done,
    /// The rest is not worth reading.
    Left,
}

impl Reading {
    fn feed(
        &mut self,
        mut piece: &[u8],
        from: IpAddr,
        course: &mut Course<'_>,
    ) -> Result<(), Failure> {
        while !piece.is_empty() {
            match &mut self.state {
                State::Head => piece = self.head(piece, from, course)?,
                State::Left => return Ok(()),
                State::Done => {
                    return Err(Failure::new(FailureClass::Truncated, "more than one answer"));
                }
                State::Body(Framing::Close) => {
                    if !course.take(piece)? {
                        self.state = State::Left;
                    }
                    return Ok(());
                }
                State::Body(Framing::Length(left)) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                    *left -= count as u64;
                    let is_over = *left == 0;
                    let is_wanted = course.take(&piece[..count])?;
                    piece = &piece[count..];
                    if is_over {
                        self.state = State::Done;
                    } else if !is_wanted {
                        self.state = State::Left;
                    }
                }
                State::Body(Framing::Chunked(chunked)) => {
                    let (count, data) = chunked.next(piece)?;
                    piece = &piece[count..];
                    let is_over = chunked.is_done();
                    let is_wanted = data.is_empty() || course.take(data)?;
                    if is_over {
                        self.state = State::Done;
                    } else if !is_wanted {
                        self.state = State::Left;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads heads; what comes after the last of them is returned.
    fn head<'p>(
        &mut self,
        piece: &'p [u8],
        from: IpAddr,
        course: &mut Course<'_>,
    ) -> Result<&'p [u8], Failure> {
        course.first_byte();
        let before = self.head.len();
        let input = match before {
            0 => piece,
            _ => {
                self.head.extend_from_slice(piece);
                // Without the end of a line there is nothing new to read.
                if !piece.contains(&b'\n') && self.head.len() < PARTIAL_MAX {
                    return Ok(&[]);
                }
                &self.head
            }
        };
        let Some((length, head)) = head::read(input)? else {
            if before == 0 {
                self.head = piece.to_vec();
            }
            return Ok(&[]);
        };
        let rest = &piece[length - before..];
        self.head = Vec::new();
        match head.status {
            101 => return Err(Failure::new(FailureClass::Protocol, "another protocol, unasked")),
            100..=199 => {
                course.interim();
                return Ok(rest);
            }
            _ => {}
        }
        course.head(head.status, &head.headers, from);
        self.is_last = head.is_last;
        self.state = match head.framing {
            Framing::Length(0) => State::Done,
            _ if course.is_unwanted() => State::Left,
            framing => State::Body(framing),
        };
        Ok(rest)
    }
}

/// A head that is longer is refused by the parser.
const PARTIAL_MAX: usize = 32 * 1024;
