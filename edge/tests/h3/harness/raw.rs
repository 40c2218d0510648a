//! Hand-made bytes on QUIC streams, for what no library would send.

use quinn::{ConnectionError, ReadToEndError, RecvStream, SendStream, VarInt};

use super::{Edge, client, within};

/// A connection without HTTP/3 on it.
pub(crate) async fn connect(edge: &Edge) -> quinn::Connection {
    let endpoint = client::endpoint(client::trusting());
    within(endpoint.connect(edge.address, "localhost").unwrap()).await.unwrap()
}

/// A connection whose client has said its settings.
pub(crate) async fn greeted(edge: &Edge) -> (quinn::Connection, SendStream) {
    let connection = connect(edge).await;
    let control = one_way(&connection, &[&[0][..], &frame(SETTINGS, &[])].concat()).await;
    (connection, control)
}

/// A request stream with these bytes on it, still open.
pub(crate) async fn open(connection: &quinn::Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = within(connection.open_bi()).await.unwrap();
    send.write_all(bytes).await.unwrap();
    (send, recv)
}

/// A request stream with these bytes and its end.
pub(crate) async fn ask(connection: &quinn::Connection, bytes: &[u8]) -> RecvStream {
    let (mut send, recv) = open(connection, bytes).await;
    send.finish().unwrap();
    recv
}

/// A one-way stream with these bytes on it, still open.
pub(crate) async fn one_way(connection: &quinn::Connection, bytes: &[u8]) -> SendStream {
    let mut send = within(connection.open_uni()).await.unwrap();
    send.write_all(bytes).await.unwrap();
    send
}

/// A frame (RFC 9114 7.1).
pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = varint(kind);
    bytes.extend(varint(payload.len() as u64));
    bytes.extend_from_slice(payload);
    bytes
}

/// A HEADERS frame with these fields.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        prefixed(&mut section, 0x20, 3, name.len());
        section.extend_from_slice(name.as_bytes());
        prefixed(&mut section, 0, 7, value.len());
        section.extend_from_slice(value.as_bytes());
    }
    frame(HEADERS, &section)
}

/// The four pseudo-headers of an ordinary request, and more fields.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ];
    fields.extend_from_slice(more);
    headers(&fields)
}

pub(crate) fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The stream ended cleanly with these bytes.
    Answered(Vec<u8>),
    Reset(u32),
    /// The connection was closed.
    Closed(u32),
    Lost,
}

impl Outcome {
    /// Whether the answer has this status, of those in the static table.
    pub(crate) fn has_status(&self, status: u16) -> bool {
        let place: &[u8] = match status {
            200 => &[0xd9],
            400 => &[0xff, 4],
            425 => &[0xff, 7],
            _ => return self.bytes().is_some_and(|b| contains(b, status.to_string().as_bytes())),
        };
        // Behind the head of the frame and the section's prefix.
        self.bytes().is_some_and(|bytes| contains(&bytes[..bytes.len().min(8)], place))
    }

    fn bytes(&self) -> Option<&[u8]> {
        if let Self::Answered(bytes) = self { Some(bytes) } else { None }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

pub(crate) async fn outcome(mut response: RecvStream) -> Outcome {
    match within(response.read_to_end(1 << 24)).await {
        Ok(bytes) => Outcome::Answered(bytes),
        Err(ReadToEndError::Read(quinn::ReadError::Reset(code))) => Outcome::Reset(number(code)),
        Err(ReadToEndError::Read(quinn::ReadError::ConnectionLost(error))) => closed(error),
        Err(error) => panic!("{error:?}"),
    }
}

/// Waits until the connection is closed, and with which code.
pub(crate) async fn close_code(connection: &quinn::Connection) -> Outcome {
    closed(within(connection.closed()).await)
}

fn closed(error: ConnectionError) -> Outcome {
    match error {
        ConnectionError::ApplicationClosed(closed) => Outcome::Closed(number(closed.error_code)),
        _ => Outcome::Lost,
    }
}

fn number(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap()
}

/// Whether the connection still answers.
pub(crate) async fn is_alive(connection: &quinn::Connection) -> bool {
    let Ok((mut send, recv)) = within(connection.open_bi()).await else { return false };
    if send.write_all(&request("GET", "/bytes/5", &[])).await.is_err() {
        return false;
    }
    let _ = send.finish();
    outcome(recv).await.has_status(200)
}

/// An integer after `flags` in a byte with `bits` left (RFC 7541 5.1).
fn prefixed(out: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let max = (1 << bits) - 1;
    if value < max {
        return out.push(flags | value as u8);
    }
    out.push(flags | max as u8);
    let mut rest = value - max;
    while rest >= 128 {
        out.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

pub(crate) const DATA: u64 = 0;
pub(crate) const HEADERS: u64 = 1;
pub(crate) const SETTINGS: u64 = 4;

pub(crate) const NO_ERROR: u32 = 0x100;
pub(crate) const INTERNAL_ERROR: u32 = 0x102;
pub(crate) const STREAM_CREATION_ERROR: u32 = 0x103;
pub(crate) const CLOSED_CRITICAL_STREAM: u32 = 0x104;
pub(crate) const FRAME_UNEXPECTED: u32 = 0x105;
pub(crate) const FRAME_ERROR: u32 = 0x106;
pub(crate) const EXCESSIVE_LOAD: u32 = 0x107;
pub(crate) const ID_ERROR: u32 = 0x108;
pub(crate) const SETTINGS_ERROR: u32 = 0x109;
pub(crate) const MISSING_SETTINGS: u32 = 0x10a;
pub(crate) const REQUEST_REJECTED: u32 = 0x10b;
pub(crate) const REQUEST_INCOMPLETE: u32 = 0x10d;
pub(crate) const MESSAGE_ERROR: u32 = 0x10e;
pub(crate) const QPACK_DECOMPRESSION_FAILED: u32 = 0x200;
pub(crate) const QPACK_ENCODER_STREAM_ERROR: u32 = 0x201;
pub(crate) const QPACK_DECODER_STREAM_ERROR: u32 = 0x202;
