//! A request as the bytes of HTTP/1.1.
//!
//! Pure. Invariant: the body's framing is the one said here; no header of the request says another.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method};

use super::super::message::{BodyLength, Outgoing};

/// The request line and the headers.
pub(super) fn head(request: &Outgoing) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES_USUAL);
    bytes.put_slice(request.method.as_str().as_bytes());
    bytes.put_u8(b' ');
    bytes.put_slice(request.path.as_str().as_bytes());
    bytes.put_slice(b" HTTP/1.1\r\n");
    line(&mut bytes, b"host", request.host.as_bytes());
    fields(&mut bytes, &request.headers);
    match request.body {
        BodyLength::Known(length) => {
            line(&mut bytes, b"content-length", length.to_string().as_bytes());
        }
        BodyLength::Unknown => line(&mut bytes, b"transfer-encoding", b"chunked"),
        // Servers expect a length where there could be a body.
        BodyLength::None if has_usually_body(&request.method) => {
            line(&mut bytes, b"content-length", b"0");
        }
        BodyLength::None => {}
    }
    bytes.put_slice(b"\r\n");
    bytes.freeze()
}

/// What stands before a chunk of this size.
pub(super) fn chunk_start(size: usize) -> Bytes {
    Bytes::from(format!("{size:x}\r\n"))
}

/// What ends chunks.
pub(super) fn chunks_end(trailers: Option<&HeaderMap>) -> Bytes {
    let mut bytes = BytesMut::from(&b"0\r\n"[..]);
    if let Some(trailers) = trailers {
        fields(&mut bytes, trailers);
    }
    bytes.put_slice(b"\r\n");
    bytes.freeze()
}

fn fields(bytes: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        let name: &HeaderName = name;
        line(bytes, name.as_str().as_bytes(), value.as_bytes());
    }
}

fn line(bytes: &mut BytesMut, name: &[u8], value: &[u8]) {
    bytes.put_slice(name);
    bytes.put_slice(b": ");
    bytes.put_slice(value);
    bytes.put_slice(b"\r\n");
}

fn has_usually_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

const HEAD_BYTES_USUAL: usize = 1024;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_is_written() {
        let request = |method, body| Outgoing {
            method,
            path: "/a?b".parse().unwrap(),
            host: HeaderValue::from_static("a.org"),
            headers: HeaderMap::from_iter([(
                http::header::ACCEPT,
                HeaderValue::from_static("*/*"),
            )]),
            body,
        };
        for (method, body, expected) in [
            (Method::GET, BodyLength::None, ""),
            (Method::POST, BodyLength::None, "content-length: 0\r\n"),
            (Method::POST, BodyLength::Known(7), "content-length: 7\r\n"),
            (Method::PUT, BodyLength::Unknown, "transfer-encoding: chunked\r\n"),
        ] {
            let expected =
                format!("{method} /a?b HTTP/1.1\r\nhost: a.org\r\naccept: */*\r\n{expected}\r\n");
            assert_eq!(head(&request(method, body)), expected);
        }
        assert_eq!(chunk_start(26), "1a\r\n");
        assert_eq!(chunks_end(None), "0\r\n\r\n");
    }
}
