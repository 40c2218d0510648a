//! HTTP/2: one connection to a server, with as many exchanges at once as it lets.
//!
//! Written for a client that reads bodies and keeps nothing, as thousands of players at once have to: a connection has no
//! buffer for what comes. Invariant: what has not been counted is not released, so a slow link of ours slows the server
//! down.

mod wire;
mod engine;
mod hpack;
mod frame;
mod wrong;

use std::{cell::RefCell, rc::Rc};

use http::HeaderMap;
use tokio::sync::Mutex;

use self::{engine::Engine, wire::Wire};
use super::{
    Failure,
    course::{Course, Stage},
    failure::Fault,
    link::{self, Call},
};
use crate::kind::Protocol;

/// The connection of one session to one server.
#[derive(Default)]
pub(super) struct Slot {
    /// Held by who makes a connection, so that others wait for it.
    making: Mutex<()>,
    wire: RefCell<Option<Rc<Wire>>>,
}

impl Slot {
    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        course: &mut Course<'_>,
    ) -> Result<(), Fault> {
        let before = self.wire.borrow().clone();
        let (wire, is_reused) = match before {
            Some(wire) if !call.is_new && !wire.is_leaving() => (wire, true),
            // What making one needs is set aside only while one is made.
            before => Box::pin(self.make(call, before.as_ref(), course)).await?,
        };
        course.stage = Stage::Answer;
        course.pace.round_trip().await;
        let result = wire.exchange(call, course).await;
        if let Err(fault) = &result {
            let is_stream = fault.is_stream;
            let mut slot = self.wire.borrow_mut();
            // Others must not try a connection that is broken.
            if !is_stream && slot.as_ref().is_some_and(|kept| Rc::ptr_eq(kept, &wire)) {
                *slot = None;
            }
        }
        result.map_err(|fault| Fault {
            may_retry: !course.has_begun() && (fault.is_undone || is_reused && !fault.is_stream),
            failure: fault.failure,
        })
    }

    /// A connection that is another than `before`: made here, or meanwhile by someone else.
    async fn make(
        &self,
        call: &Call<'_>,
        before: Option<&Rc<Wire>>,
        course: &mut Course<'_>,
    ) -> Result<(Rc<Wire>, bool), Failure> {
        let _making = self.making.lock().await;
        let now = self.wire.borrow().clone();
        if let Some(now) = now
            && before.is_none_or(|before| !Rc::ptr_eq(before, &now))
        {
            return Ok((now, true));
        }
        let (transport, address) = link::tcp(call, Protocol::H2, course).await?;
        let window = course.pace.window(call.shared.config.h2_window.as_u64());
        let window = u32::try_from(window).unwrap_or(u32::MAX >> 1);
        let wire = Wire::new(transport, window, address);
        *self.wire.borrow_mut() = Some(Rc::clone(&wire));
        Ok((wire, false))
    }
}

/// Reads an answer to a GET out of what a server sends in these pieces: its status, its body, and whether it ended. An error
/// says what is no HTTP/2. For fuzzing.
///
/// # Errors
/// What the server would be told when the connection ends.
pub fn read_answer(pieces: &[&[u8]]) -> Result<(Option<u16>, Vec<u8>, bool), &'static str> {
    let mut engine = Engine::new(READ_WINDOW);
    let id = engine.open(true, "a.example", "/", &HeaderMap::new());
    let (mut status, mut body) = (None, Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let used = engine
                .feed(rest, id, &mut |data| body.extend_from_slice(data))
                .map_err(|wrong| wrong.detail)?;
            rest = &rest[used..];
            engine.release(id);
            if let Some(head) = engine.take_head(id) {
                status = Some(head.status);
            } else if engine.end(id).is_some() {
                return Ok((status, body, true));
            } else if used == 0 {
                break;
            }
        }
    }
    Ok((status, body, false))
}

const READ_WINDOW: u32 = 1 << 20;

/// Bytes of an answer's head.
pub(super) const HEADERS_MAX: u32 = 64 * 1024;
