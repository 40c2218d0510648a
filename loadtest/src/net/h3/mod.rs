//! HTTP/3: one QUIC connection to a server, which may send its first request with the handshake, and may move.
//!
//! Invariant: a request that went out as 0-RTT data and was refused as such goes out again on the same connection.

mod wire;

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use quinn::Endpoint;
use tokio::{sync::Mutex, time::Instant};

use self::wire::{Early, Wire};
use super::{
    Failure,
    course::{Connection, Course, Stage},
    dial,
    endpoints::Endpoints,
    failure::Fault,
    greeting::Greeting,
    link::Call,
    quic,
    shared::Shared,
};
use crate::kind::{FailureClass, Protocol};

/// The connection of one session to one server.
#[derive(Default)]
pub(super) struct Slot {
    /// Held by who makes a connection, so that others wait for it.
    making: Mutex<()>,
    wire: RefCell<Option<Rc<Wire>>>,
}

/// Where a session's connections leave from.
#[derive(Default)]
pub(super) struct Home {
    /// Whether it has a socket of its own.
    pub(super) is_own: bool,
    /// A connection must not move before its handshake is confirmed (RFC 9000 section 9): not before an answer.
    pub(super) may_move: Cell<bool>,
    pub(super) endpoints: RefCell<Vec<(IpAddr, Endpoint)>>,
}

impl Slot {
    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        home: &Home,
        course: &mut Course<'_>,
    ) -> Result<(), Fault> {
        let before = self.wire.borrow().clone();
        let is_alive = |wire: &Rc<Wire>| wire.quic.close_reason().is_none();
        let (wire, is_reused) = match before {
            Some(wire) if !call.is_new && is_alive(&wire) => (wire, true),
            before => self.make(call, home, before.as_ref(), course).await?,
        };
        course.stage = Stage::Answer;
        course.pace.round_trip().await;
        let was_early = wire.early.get() == Early::Open;
        let mut result = wire.exchange(call, course).await;
        // Whoever sent its request early also says whether that was taken.
        if was_early && wire.is_refused().await && result.is_err() && !course.has_begun() {
            course.again();
            course.stage = Stage::Answer;
            result = wire.exchange(call, course).await;
        }
        home.may_move.set(home.may_move.get() || result.is_ok());
        if let Err(fault) = &result {
            let mut slot = self.wire.borrow_mut();
            if !fault.is_stream && slot.as_ref().is_some_and(|kept| Rc::ptr_eq(kept, &wire)) {
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
        home: &Home,
        before: Option<&Rc<Wire>>,
        course: &mut Course<'_>,
    ) -> Result<(Rc<Wire>, bool), Failure> {
        let Call { shared, origin, resume, .. } = *call;
        let _making = self.making.lock().await;
        let now = self.wire.borrow().clone();
        if let Some(now) = now
            && before.is_none_or(|before| !Rc::ptr_eq(before, &now))
        {
            return Ok((now, true));
        }
        if !origin.is_tls {
            return Err(Failure::new(FailureClass::Protocol, "HTTP/3 needs https"));
        }
        course.stage = Stage::Dns;
        let (addresses, dns) = shared.names.find(&shared.config, &origin.host, origin.port).await?;

        course.stage = Stage::Handshake;
        home.may_move.set(false);
        let window = course.pace.window(shared.config.h3_window.as_u64());
        let tls = shared.trust.of(Protocol::H3, resume);
        let config = quic::config(tls, window, shared.config.quic_idle)?;
        let began = Instant::now();
        let greeting = Greeting::new(Rc::clone(&shared.tally));
        let dial = dial::first(&addresses, shared.config.stagger, |address| {
            wire::connect(shared, home, origin, config.clone(), address, Rc::clone(&greeting))
        });
        let dial = tokio::time::timeout(shared.config.handshake_timeout, dial).await;
        let late = |_| Failure::new(FailureClass::Connect, "no handshake in time");
        let wire = dial.map_err(late)??;
        if wire.early.get() == Early::Settled {
            course.pace.round_trip().await;
        }
        let handshake = Some((began, greeting));
        course.connected(Connection { protocol: Protocol::H3, dns, connect: None, handshake });
        *self.wire.borrow_mut() = Some(Rc::clone(&wire));
        Ok((wire, false))
    }
}

impl Home {
    pub(super) fn endpoint(&self, shared: &Shared, to: SocketAddr) -> Result<Endpoint, Failure> {
        if !self.is_own {
            return shared.endpoints.shared(&shared.config, &shared.sources, to);
        }
        let mut endpoints = self.endpoints.borrow_mut();
        if let Some((_, endpoint)) = endpoints.iter().find(|(known, _)| *known == to.ip()) {
            return Ok(endpoint.clone());
        }
        let made = Endpoints::own(&shared.config, &shared.sources, to)?;
        if endpoints.len() == OWN_MAX {
            endpoints.remove(0);
        }
        endpoints.push((to.ip(), made.clone()));
        Ok(made)
    }
}

/// Servers of a session that it has a socket for.
const OWN_MAX: usize = 6;
