//! H2 frame by frame, for what no client library would send.
//!
//! Header sections are written with literal names and values (RFC 7541 6.2.2), without Huffman.

use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Edge, trusting, within};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Connects and sends the preface.
pub(crate) async fn connect(edge: &Edge) -> Connection {
    let tcp = TcpStream::connect(edge.https).await.unwrap();
    let connector = TlsConnector::from(Arc::new(trusting(&[b"h2"])));
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
        let mut section = Vec::new();
        for (name, value) in fields {
            section.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "short texts only");
                section.push(text.len() as u8);
                section.extend_from_slice(text.as_bytes());
            }
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        self.frame(HEADERS, END_STREAM | END_HEADERS, stream, &section).await;
        stream
    }

    /// Reads until something ends this stream or the connection.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        within(async {
            loop {
                let mut head = [0; 9];
                if self.io.read_exact(&mut head).await.is_err() {
                    return Outcome::Closed;
                }
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let mut payload = vec![0; length];
                if self.io.read_exact(&mut payload).await.is_err() {
                    return Outcome::Closed;
                }
                let on = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                let number = |from| u32::from_be_bytes(payload[from..from + 4].try_into().unwrap());
                match head[3] {
                    HEADERS if on == stream => return Outcome::Answered,
                    RST_STREAM if on == stream => return Outcome::Reset(number(0)),
                    GOAWAY => return Outcome::GoAway(number(4)),
                    _ => {}
                }
            }
        })
        .await
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        // The edge may have closed the connection; the outcome tells.
        let _ = self.io.write_all(&bytes).await;
        let _ = self.io.flush().await;
    }
}
