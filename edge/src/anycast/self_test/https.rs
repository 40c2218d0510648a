//! One request over TLS over TCP, on a connection of its own.
//!
//! Invariant: only an answer of status 200 counts, and no more than a head is read.

use std::{net::SocketAddr, sync::Arc};

use rustls_pki_types::ServerName;
use tidegate_contract::telemetry::SELF_TEST_PATH;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::trust;

/// What asks.
pub(super) struct HttpsClient {
    tls: TlsConnector,
    name: ServerName<'static>,
    request: String,
}

impl HttpsClient {
    pub(super) fn new(name: &str) -> Self {
        let tls = TlsConnector::from(Arc::new(trust::client(b"http/1.1")));
        let request =
            format!("GET {SELF_TEST_PATH} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        Self { tls, name: trust::server_name(name), request }
    }

    /// Whether the node answers. The caller limits the time.
    pub(super) async fn ask(&self, address: SocketAddr) -> bool {
        self.status(address).await.is_ok_and(|status| status == *OK)
    }

    async fn status(&self, address: SocketAddr) -> std::io::Result<[u8; OK.len()]> {
        let tcp = TcpStream::connect(address).await?;
        let mut stream = self.tls.connect(self.name.clone(), tcp).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut begin = [0; OK.len()];
        stream.read_exact(&mut begin).await?;
        Ok(begin)
    }
}

const OK: &[u8; 12] = b"HTTP/1.1 200";
