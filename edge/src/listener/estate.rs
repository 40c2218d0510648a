//! What a listener leaves to the process that follows: its sockets, and what must be known of their connections.
//!
//! Both processes hold the same sockets for a while. Of a TCP socket each may accept; a UDP socket is read by one alone,
//! which hands back what belongs to the other. Invariant: what was let go can be taken back until the other process
//! serves.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;
use tidegate_chassis::handover::{Passed, Predecessor};
use tokio_util::task::AbortOnDropHandle;

use super::{quic, tcp::Inherited};

/// The sockets of a listener, for as long as it does not drain: whoever holds this keeps them open.
#[derive(Default)]
pub struct Estate {
    tcp: Vec<(&'static str, SocketAddr, Vec<TcpListener>)>,
    quic: Vec<(SocketAddr, quic::Estate)>,
    lines: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl Estate {
    pub(super) fn add_tcp(
        &mut self,
        name: &'static str,
        asked: SocketAddr,
        sockets: &[TcpListener],
    ) -> io::Result<()> {
        let sockets = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        self.tcp.push((name, asked, sockets));
        Ok(())
    }

    pub(super) fn add_quic(&mut self, asked: SocketAddr, estate: quic::Estate) {
        self.quic.push((asked, estate));
    }

    /// Everything, once more, for a process that is to follow: the sockets, and what must be known of them.
    ///
    /// # Errors
    /// When there is no room for more descriptors.
    pub fn will(&self) -> io::Result<(Vec<Passed>, Value)> {
        let mut sockets = Vec::new();
        let mut pass = |name: &str, asked: SocketAddr, socket: OwnedFd| {
            sockets.push(Passed { name: name.to_owned(), asked: asked.to_string(), socket });
        };
        for (name, asked, listeners) in &self.tcp {
            for listener in listeners {
                pass(name, *asked, listener.try_clone()?.into());
            }
        }
        let mut known = serde_json::Map::new();
        let mut lines = Vec::new();
        for (asked, estate) in &self.quic {
            estate.sockets()?.into_iter().for_each(|socket| pass(QUIC, *asked, socket));
            let (line, receiving) = estate.line()?;
            pass(QUIC_LINE, *asked, line);
            lines.push(receiving);
            known.insert(asked.to_string(), estate.legacy()?);
        }
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = lines;
        Ok((sockets, known.into()))
    }

    /// Lets go of what two processes cannot read.
    pub async fn let_go(&self) {
        for (_, estate) in &self.quic {
            estate.give().await;
        }
    }

    /// The other process has failed: everything is as before.
    pub fn take_back(&self) {
        self.quic.iter().for_each(|(_, estate)| estate.take_back());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps only the lines over which the other process hands back what belongs here: the sockets are its own now.
    #[must_use]
    pub fn into_lines(self) -> Lines {
        Lines { _lines: self.lines.into_inner().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// What is left of an [`Estate`] that was handed over; held for as long as connections are open.
pub struct Lines {
    _lines: Vec<AbortOnDropHandle<()>>,
}

/// What the process before, or a supervisor, has handed over and nobody has claimed yet.
pub(super) struct Heritage {
    pub(super) tcp: Inherited,
    udp: Vec<Passed>,
    lines: Vec<Passed>,
    known: Value,
}

impl Heritage {
    /// From the process before, if there is one, else from a supervisor.
    pub(super) fn new(predecessor: Option<&mut Predecessor>) -> Self {
        let Some(predecessor) = predecessor else {
            let (udp, lines) = (Vec::new(), Vec::new());
            return Self { tcp: Inherited::of_process(), udp, lines, known: Value::Null };
        };
        Self {
            tcp: Inherited::passed(["http", "https"].map(|name| predecessor.take(name))),
            udp: predecessor.take(QUIC),
            lines: predecessor.take(QUIC_LINE),
            known: predecessor.state().get(STATE_KEY).cloned().unwrap_or_default(),
        }
    }

    /// Takes the sockets of a QUIC address.
    pub(super) fn take_quic(&mut self, asked: SocketAddr) -> Option<quic::Inherited> {
        let asked = asked.to_string();
        let (taken, left) =
            std::mem::take(&mut self.udp).into_iter().partition(|passed| passed.asked == asked);
        self.udp = left;
        let taken: Vec<Passed> = taken;
        let place = self.lines.iter().position(|line| line.asked == asked)?;
        let line = self.lines.swap_remove(place).socket;
        let sockets = taken.into_iter().map(|passed| passed.socket).collect();
        quic::Inherited::new(sockets, line, self.known.get(&asked)?)
    }

    /// Addresses that nobody asked for.
    pub(super) fn left(&self) -> Vec<SocketAddr> {
        let of_udp = self.udp.iter().filter_map(|passed| {
            UdpSocket::from(passed.socket.try_clone().ok()?).local_addr().ok()
        });
        self.tcp.left().into_iter().chain(of_udp).collect()
    }
}

/// Under which key of what is handed over the listener's part stands.
pub const STATE_KEY: &str = "listener";
const QUIC: &str = "quic";
const QUIC_LINE: &str = "quic_line";
