//! From a server's name to a connection that is ready for requests, with what each step took.
//!
//! Invariant: a certificate is checked for the name in the URL, wherever settings lead the connection.

use std::{net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use http::HeaderMap;
use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tokio::time::Instant;
use url::{Host, Url};

use super::{
    Failure,
    counters::add,
    course::{Connection, Course, Stage},
    dial,
    failure::Step,
    greeting::Greeting,
    shared::Shared,
    transport::Transport,
    trust::{self, Resume},
};
use crate::kind::{FailureClass, Protocol};

/// A server: what browsers call an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) is_tls: bool,
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

impl Origin {
    pub(super) fn of(url: &Url) -> Result<Self, Failure> {
        let wrong = |detail| Failure::new(FailureClass::Protocol, detail);
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("neither http nor https")),
        };
        let host = url.host().ok_or_else(|| wrong("a URL without a host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| wrong("a URL without a port"))?;
        Ok(Self { is_tls, host, port })
    }

    /// As in `Host` and `:authority`.
    pub(super) fn authority(&self) -> String {
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    pub(super) fn server_name(&self) -> Result<ServerName<'static>, Failure> {
        let wrong = |_| Failure::new(FailureClass::Handshake, "a name that no certificate has");
        match &self.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(wrong),
            Host::Ipv4(address) => Ok(ServerName::from(IpAddr::from(*address))),
            Host::Ipv6(address) => Ok(ServerName::from(IpAddr::from(*address))),
        }
    }
}

/// One exchange that is wanted: with whom and what.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) origin: &'a Origin,
    pub(super) resume: Resume,
    pub(super) headers: &'a HeaderMap,
    /// On a connection that has not served yet.
    pub(super) is_new: bool,
}

/// A TCP connection to a server, with TLS when its scheme says so; and whom it reached.
pub(super) async fn tcp(
    call: &Call<'_>,
    protocol: Protocol,
    course: &mut Course<'_>,
) -> Result<(Transport, IpAddr), Failure> {
    let Call { shared, origin, resume, .. } = *call;
    course.stage = Stage::Dns;
    let (addresses, dns) = shared.names.find(&shared.config, &origin.host, origin.port).await?;

    course.stage = Stage::Connect;
    let began = Instant::now();
    let window = course.pace.is_shaped().then(|| course.pace.window(u64::MAX));
    let stream = dial::first(&addresses, shared.config.stagger, |address| {
        dial::tcp(&shared.config, &shared.sources, window, address)
    });
    let stream = stream.await?;
    course.pace.round_trip().await;
    let connect = Some(began.elapsed());
    let failed = |error| Failure::of_io(&error, Step::Connect);
    let address = stream.peer_addr().map_err(failed)?.ip();
    let read_max = course.pace.read_max();
    let (buffer, turns) = (Rc::clone(&shared.buffer), Rc::clone(&shared.turns));
    let plain = Transport::plain(stream, buffer, turns, read_max);
    if !origin.is_tls {
        add(&shared.tally.opened, true);
        course.connected(Connection { protocol, dns, connect, handshake: None });
        return Ok((plain, address));
    }

    course.stage = Stage::Handshake;
    let began = Instant::now();
    let config = Arc::clone(shared.trust.of(protocol, resume));
    let tls = ClientConnection::new(config, origin.server_name()?);
    let tls = tls.map_err(|error| Failure::new(FailureClass::Handshake, error.to_string()))?;
    let greeting = Greeting::new(Rc::clone(&shared.tally));
    let mut secured = plain.with_tls(tls, trust::alpn(protocol), Rc::clone(&greeting));
    if !secured.may_be_early() {
        let shake = std::future::poll_fn(|cx| secured.poll_handshake(cx));
        in_time(shared.config.handshake_timeout, shake).await?;
        course.pace.round_trip().await;
    }
    let handshake = Some((began, greeting));
    course.connected(Connection { protocol, dns, connect, handshake });
    Ok((secured, address))
}

async fn in_time(
    limit: Duration,
    shake: impl Future<Output = std::io::Result<()>>,
) -> Result<(), Failure> {
    match tokio::time::timeout(limit, shake).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::of_io(&error, Step::Handshake)),
        Err(_) => Err(Failure::new(FailureClass::Handshake, "no handshake in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (url, authority) in [
            ("https://a.example/x", Some("a.example")),
            ("https://a.example:443/x", Some("a.example")),
            ("https://a.example:80/x", Some("a.example:80")),
            ("http://a.example", Some("a.example")),
            ("http://[::1]:8080/x", Some("[::1]:8080")),
            ("https://192.0.2.1:8443/", Some("192.0.2.1:8443")),
            ("file:///etc/hosts", None),
            ("data:text/plain,x", None),
        ] {
            let origin = Origin::of(&Url::parse(url).unwrap());
            assert_eq!(origin.ok().map(|origin| origin.authority()).as_deref(), authority, "{url}");
        }
    }
}
