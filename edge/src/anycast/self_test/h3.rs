//! One request over HTTP/3, on a connection of its own: just as much of a client as it takes.
//!
//! The request's head is made of the static table alone; of the answer nothing is read but the first head. Invariant:
//! what a server answers is bounded, and anything but status 200 is a failure.

use std::{net::SocketAddr, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use quinn::crypto::rustls::QuicClientConfig;
use tidegate_contract::telemetry::SELF_TEST_PATH;

use super::trust;
use crate::listener::h3::{
    frame::{FrameHeadReader, kind, put_frame_head},
    qpack::{self, Name, Pseudo, Value},
};

/// What asks.
pub(super) struct H3Client {
    endpoint: quinn::Endpoint,
    name: String,
    request: Bytes,
}

impl H3Client {
    pub(super) fn new(address: SocketAddr, name: &str) -> std::io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut endpoint = quinn::Endpoint::client(any)?;
        let tls = QuicClientConfig::try_from(trust::client(b"h3"))
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        Ok(Self { endpoint, name: name.to_owned(), request: request(name) })
    }

    /// Whether the node answers. The caller limits the time.
    pub(super) async fn ask(&self, address: SocketAddr) -> bool {
        let Ok(connecting) = self.endpoint.connect(address, &self.name) else { return false };
        let Ok(connection) = connecting.await else { return false };
        let is_good = exchange(&connection, self.request.clone()).await.is_some_and(|is_ok| is_ok);
        connection.close(H3_NO_ERROR, b"");
        is_good
    }
}

/// Whether the answer has status 200; `None` when there is none.
async fn exchange(connection: &quinn::Connection, request: Bytes) -> Option<bool> {
    let mut control = connection.open_uni().await.ok()?;
    control.write_all(CONTROL_BEGIN).await.ok()?;
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(&request).await.ok()?;
    send.finish().ok()?;
    let mut heads = FrameHeadReader::default();
    let mut input = Bytes::new();
    let mut left = READ_BYTES_MAX;
    let head = loop {
        if let Some(head) = heads.read(&mut input) {
            break head;
        }
        input = more(&mut receive, &mut left).await?;
    };
    // An answer may begin with frames of unknown kinds; ours never does.
    if head.kind != kind::HEADERS || head.length > READ_BYTES_MAX as u64 {
        return None;
    }
    let length = usize::try_from(head.length).ok()?;
    let mut section = BytesMut::from(&input[..]);
    while section.len() < length {
        section.extend_from_slice(&more(&mut receive, &mut left).await?);
    }
    Some(is_ok(&section.freeze().slice(..length)))
}

async fn more(receive: &mut quinn::RecvStream, left: &mut usize) -> Option<Bytes> {
    let chunk = receive.read_chunk(*left, true).await.ok()??;
    *left = left.checked_sub(chunk.bytes.len())?;
    Some(chunk.bytes)
}

fn is_ok(section: &Bytes) -> bool {
    let mut status = None;
    let take = |name, value, _| {
        if let (Name::Pseudo(Pseudo::Status), Value::Pseudo(value)) = (name, value) {
            status = Some(value);
        }
    };
    qpack::decode(section, take).is_ok() && status.is_some_and(|status| &status[..] == b"200")
}

/// The HEADERS frame of the request.
fn request(name: &str) -> Bytes {
    let mut section = BytesMut::from(&qpack::PREFIX[..]);
    section.put_u8(INDEXED | METHOD_GET);
    section.put_u8(INDEXED | SCHEME_HTTPS);
    for (place, value) in [(AUTHORITY, name), (PATH, SELF_TEST_PATH)] {
        section.put_u8(LITERAL_WITH_STATIC_NAME | place);
        // Longer ones would need a second byte; a host of that length is cut, and answered all the same.
        let value = &value.as_bytes()[..value.len().min(LITERAL_BYTES_MAX)];
        section.put_u8(u8::try_from(value.len()).unwrap_or_default());
        section.put_slice(value);
    }
    let mut frame = BytesMut::new();
    put_frame_head(&mut frame, kind::HEADERS, section.len() as u64);
    frame.extend_from_slice(&section);
    frame.freeze()
}

/// A control stream (0) with empty SETTINGS (RFC 9114 6.2.1, 7.2.4).
const CONTROL_BEGIN: &[u8] = &[0x00, 0x04, 0x00];
const H3_NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x100);
/// RFC 9204 4.5.2, 4.5.4 and places of its table A.
const INDEXED: u8 = 0xc0;
const LITERAL_WITH_STATIC_NAME: u8 = 0x50;
const AUTHORITY: u8 = 0;
const PATH: u8 = 1;
const METHOD_GET: u8 = 17;
const SCHEME_HTTPS: u8 = 23;
const LITERAL_BYTES_MAX: usize = 126;
/// Of an answer; its head is a tenth of that.
const READ_BYTES_MAX: usize = 16 * 1024;
