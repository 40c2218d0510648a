//! HTTP/2: one connection to a server, with as many exchanges at once as it lets.
//!
//! Invariant: what has not been counted is not released, so a slow link of ours slows the server down.

use std::{cell::RefCell, net::IpAddr, rc::Rc};

use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, SendRequest},
};
use http::{Request, Version};
use tokio::sync::Mutex;

use super::{
    Failure,
    course::{Course, Stage},
    failure::Fault,
    link::{self, Call},
};
use crate::kind::{FailureClass, Protocol};

/// The connection of one session to one server.
#[derive(Default)]
pub(super) struct Slot {
    /// Held by who makes a connection, so that others wait for it.
    making: Mutex<()>,
    wire: RefCell<Option<Rc<Wire>>>,
}

struct Wire {
    sender: SendRequest<Bytes>,
    address: IpAddr,
}

impl Slot {
    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        course: &mut Course<'_>,
    ) -> Result<(), Fault> {
        let before = self.wire.borrow().clone();
        let (wire, is_reused) = match before {
            Some(wire) if !call.is_new => (wire, true),
            before => self.make(call, before.as_ref(), course).await?,
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
        let handshake = Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(window)
            .max_header_list_size(HEADERS_MAX)
            .enable_push(false)
            .handshake::<_, Bytes>(transport);
        let (sender, connection) =
            handshake.await.map_err(|error| Broken::of(&error, course).failure)?;
        tokio::task::spawn_local(async move {
            // Its errors come to those who use it.
            let _ = connection.await;
        });
        let wire = Rc::new(Wire { sender, address });
        *self.wire.borrow_mut() = Some(Rc::clone(&wire));
        Ok((wire, false))
    }
}

impl Wire {
    async fn exchange(&self, call: &Call<'_>, course: &mut Course<'_>) -> Result<(), Broken> {
        let pace = course.pace;
        let request = request(call, course, Version::HTTP_2)?;
        let sender = self.sender.clone().ready().await;
        let mut sender = sender.map_err(|error| Broken::of(&error, course))?;
        let sent = sender.send_request(request, true);
        let (response, _) = sent.map_err(|error| Broken::of(&error, course))?;
        // One who waits for the end of this one may be waiting for a free stream.
        drop(sender);
        let response = response.await.map_err(|error| Broken::of(&error, course))?;
        course.head(response.status().as_u16(), response.headers(), self.address);
        let mut body = response.into_body();
        if course.is_unwanted() {
            return Ok(());
        }
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(|error| Broken::of(&error, course))?;
            let is_wanted = course.take(&piece)?;
            pace.pass(piece.len() as u64).await;
            let released = body.flow_control().release_capacity(piece.len());
            released.map_err(|error| Broken::of(&error, course))?;
            if !is_wanted {
                return Ok(());
            }
        }
        if !body.is_end_stream() {
            body.trailers().await.map_err(|error| Broken::of(&error, course))?;
        }
        course.end()?;
        pace.settle().await;
        Ok(())
    }
}

/// The request of an exchange.
pub(super) fn request(
    call: &Call<'_>,
    course: &Course<'_>,
    version: Version,
) -> Result<Request<()>, Failure> {
    let scheme = if call.origin.is_tls { "https" } else { "http" };
    let target = &course.url[url::Position::BeforePath..url::Position::AfterQuery];
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(call.origin.authority())
        .path_and_query(target)
        .build();
    let uri = uri.map_err(|_| Failure::new(FailureClass::Protocol, "a URL that is no target"))?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = call.headers.clone();
    Ok(request)
}

/// How an exchange broke off.
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// The connection may go on.
    pub(super) is_stream: bool,
    /// The server said that it did nothing.
    pub(super) is_undone: bool,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, is_stream: true, is_undone: false }
    }
}

impl Broken {
    fn of(error: &h2::Error, course: &Course<'_>) -> Self {
        if let Some(error) = error.get_io() {
            let failure = Failure::of_io(error, course.step());
            // However a connection ends, a stream that was open on it was cut.
            let failure = match failure.class {
                FailureClass::Truncated => Failure { class: FailureClass::Reset, ..failure },
                _ => failure,
            };
            return Self { failure, is_stream: false, is_undone: false };
        }
        let class = match (error.is_remote(), error.reason()) {
            (true, _) => FailureClass::Reset,
            // The length is checked before the last piece is handed out.
            (false, Some(Reason::PROTOCOL_ERROR)) if error.is_reset() && course.has_length() => {
                FailureClass::Truncated
            }
            (false, Some(Reason::CANCEL | Reason::NO_ERROR)) => FailureClass::Reset,
            (false, None) => FailureClass::Reset,
            (false, Some(_)) => FailureClass::Protocol,
        };
        let is_undone = error.is_remote()
            && (error.reason() == Some(Reason::REFUSED_STREAM)
                || error.is_go_away() && error.reason() == Some(Reason::NO_ERROR));
        Self {
            failure: Failure::new(class, error.to_string()),
            is_stream: error.is_reset(),
            is_undone,
        }
    }
}

/// Bytes of an answer's head.
pub(super) const HEADERS_MAX: u32 = 64 * 1024;
