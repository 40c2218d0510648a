//! H2 frame by frame, for what no client library would send.
//!
//! Header sections are written with literal names and values (RFC 7541 6.2.2), without Huffman.

use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Edge, client_of_anyone, within};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const PRIORITY_UPDATE: u8 = 0x10;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Connects and sends the preface.
pub(crate) async fn connect(edge: &Edge) -> Connection {
    let tcp = TcpStream::connect(edge.https).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client_of_anyone(&[b"h2"])));
    let name = ServerName::try_from("localhost").unwrap();
    let mut io = within(connector.connect(name, tcp)).await.unwrap();
    io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut connection = Connection { io, next_stream: 1 };
    connection.frame(SETTINGS, 0, 0, &[]).await;
    connection
}

pub(crate) struct Connection {
    io: TlsStream<TcpStream>,
    next_stream: u32,
}

/// What the edge said to a stream or to the whole connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Reset(u32),
    GoAway(u32),
    Closed,
}

impl Connection {
    /// Sends a request without body.
    pub(crate) async fn request(&mut self, fields: &[(&str, &str)]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.frame(HEADERS, END_STREAM | END_HEADERS, stream, &section(fields)).await;
        stream
    }

    /// The next frame: kind, flags, stream, payload; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        within(self.io.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        within(self.io.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }

    /// Waits until the edge cannot send any more, because nobody reads what it sends.
    pub(crate) async fn until_blocked(&mut self) {
        let (tcp, _) = self.io.get_ref();
        let (mut last, mut peeked) = (0, vec![0; 8 << 20]);
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(50));
        within(async {
            loop {
                pause.tick().await;
                let come = tcp.peek(&mut peeked).await.unwrap();
                if come == last && come > 100_000 {
                    return;
                }
                last = come;
            }
        })
        .await;
    }

    /// Reads until something ends this stream or the connection.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some((kind, _, on, payload)) = self.next().await {
            let number = |from| u32::from_be_bytes(payload[from..from + 4].try_into().unwrap());
            match kind {
                HEADERS if on == stream => return Outcome::Answered,
                RST_STREAM if on == stream => return Outcome::Reset(number(0)),
                GOAWAY => return Outcome::GoAway(number(4)),
                _ => {}
            }
        }
        Outcome::Closed
    }

    pub(crate) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let bytes = frame(kind, flags, stream, payload);
        self.say(&bytes).await;
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        // The edge may have closed the connection; the outcome tells.
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header section with literal fields.
pub(crate) fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    for (name, value) in fields {
        section.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "short texts only");
            section.push(text.len() as u8);
            section.extend_from_slice(text.as_bytes());
        }
    }
    section
}
