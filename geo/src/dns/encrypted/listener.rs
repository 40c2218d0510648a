//! Binds what the settings name, and serves it.
//!
//! Invariant: an address or certificate that cannot be used is said before the first query is answered.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::Context;
use tidegate_chassis::Process;
use tokio::net::TcpListener;

use super::{
    certificate::Certificate, config::Config, doh, doh3, doq, dot, exchange::Desk,
    metrics::Metrics, places::Places, quic,
};
use crate::dns::{handler::Handler, transport::Transport};

/// What is bound.
#[derive(Debug)]
pub struct Listeners {
    config: Arc<Config>,
    tcp: Vec<(Transport, TcpListener)>,
    udp: Vec<(Transport, std::net::UdpSocket)>,
    certificate: Option<Arc<Certificate>>,
}

/// What is served.
#[derive(Debug)]
pub struct Serving(Vec<Arc<Places>>);

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    /// When an address is taken or the certificate cannot be used.
    pub async fn bind(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let (mut tcp, mut udp) = (vec![], vec![]);
        for (transport, addresses) in
            [(Transport::Tls, &config.dot), (Transport::Https, &config.doh)]
        {
            for address in addresses {
                let name = transport.as_str();
                let listener = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("{name} at {address}"))?;
                process.announce(name, listener.local_addr()?);
                tcp.push((transport, listener));
            }
        }
        for (transport, addresses) in
            [(Transport::Quic, &config.doq), (Transport::H3, &config.doh3)]
        {
            for address in addresses {
                let name = transport.as_str();
                let socket = bind_udp(*address).with_context(|| format!("{name} at {address}"))?;
                process.announce(name, socket.local_addr()?);
                udp.push((transport, socket));
            }
        }
        let certificate = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) if config.is_on() => {
                Some(Certificate::load(certificate, key).context("encrypted.certificate")?)
            }
            _ => None,
        };
        Ok(Self { config: Arc::new(config.clone()), tcp, udp, certificate })
    }

    /// Serves until the drain.
    ///
    /// # Errors
    /// When the settings of TLS or QUIC are refused.
    pub fn serve(self, handler: &Arc<Handler>, process: &Process) -> anyhow::Result<Serving> {
        let Some(certificate) = self.certificate else { return Ok(Serving(vec![])) };
        let metrics = Metrics::new(process.registry());
        let mut places = vec![];
        for (transport, listener) in self.tcp {
            let desk = Desk::new(transport, &self.config, handler, &metrics, process.drain());
            places.push(desk.places.clone());
            if transport == Transport::Tls {
                let served = dot::serve(listener, certificate.tls(b"dot", false)?, desk);
                process.spawn("dot", async { served.await.context("DNS over TLS") });
            } else {
                let served = doh::serve(listener, certificate.tls(b"h2", false)?, desk);
                process.spawn("doh", async { served.await.context("DNS over HTTP/2") });
            }
        }
        for (transport, socket) in self.udp {
            let desk = Desk::new(transport, &self.config, handler, &metrics, process.drain());
            places.push(desk.places.clone());
            if transport == Transport::Quic {
                let endpoint = quic::endpoint(socket, certificate.tls(b"doq", true)?, &desk, 0)?;
                let served = quic::serve(endpoint, desk, doq::converse);
                process.spawn("doq", async { served.await.context("DNS over QUIC") });
            } else {
                let endpoint =
                    quic::endpoint(socket, certificate.tls(b"h3", true)?, &desk, H3_STREAMS_MAX)?;
                let served = quic::serve(endpoint, desk, doh3::converse);
                process.spawn("doh3", async { served.await.context("DNS over HTTP/3") });
            }
        }
        follow(certificate, self.config.clone(), metrics, process);
        Ok(Serving(places))
    }
}

impl Serving {
    /// Waits until no connection is open.
    pub async fn closed(&self) {
        for places in &self.0 {
            places.all_free().await;
        }
    }
}

/// Takes the certificate again when its files change.
fn follow(certificate: Arc<Certificate>, config: Arc<Config>, metrics: Metrics, process: &Process) {
    let drain = process.drain();
    process.spawn("dns certificate", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(config.look_every) => {}
                () = drain.started() => return Ok(()),
            }
            let looked = certificate.clone();
            match tokio::task::spawn_blocking(move || looked.look()).await? {
                Ok(false) => {}
                Ok(true) => tracing::info!("another certificate is shown"),
                Err(error) => {
                    metrics.reload_failures.inc();
                    tracing::error!(%error, "a changed certificate is not taken, the old one is shown on");
                }
            }
        }
    });
}

fn bind_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The streams of HTTP/3 that no request is on: control, two of QPACK, and those that a client sends to keep us honest
/// (RFC 9114 6.2.3).
const H3_STREAMS_MAX: u32 = 8;
