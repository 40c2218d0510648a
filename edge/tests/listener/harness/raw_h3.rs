//! H3 byte by byte, for what no client library would send.
//!
//! Header sections are written with literal names and values (RFC 9204 4.5.6), without Huffman.

use quinn::{ReadToEndError, RecvStream, SendStream, VarInt};

use super::{Edge, quic_endpoint, trusting};

pub(crate) const HEADERS: u64 = 1;
pub(crate) const DATA: u64 = 0;

/// H3 error codes (RFC 9114 8.1).
pub(crate) const EXCESSIVE_LOAD: u32 = 0x107;
pub(crate) const MESSAGE_ERROR: u32 = 0x10e;

/// A plain QUIC connection to the edge.
pub(crate) async fn connect(edge: &Edge) -> quinn::Connection {
    let endpoint = quic_endpoint(trusting(&[b"h3"]));
    super::within(endpoint.connect(edge.https, "localhost").unwrap()).await.unwrap()
}

/// Opens a request stream and writes bytes on it.
pub(crate) async fn open(connection: &quinn::Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    (send, recv)
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
        _ => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The stream ended cleanly after this many bytes.
    Answered(usize),
    Reset(VarInt),
    ConnectionLost,
}

pub(crate) async fn outcome(mut response: RecvStream) -> Outcome {
    match super::within(response.read_to_end(1 << 20)).await {
        Ok(bytes) => Outcome::Answered(bytes.len()),
        Err(ReadToEndError::Read(quinn::ReadError::Reset(code))) => Outcome::Reset(code),
        Err(ReadToEndError::Read(_)) => Outcome::ConnectionLost,
        Err(ReadToEndError::TooLong) => panic!("a response above 1 MiB"),
    }
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
