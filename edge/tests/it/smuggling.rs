//! HTTP/1.1 requests that two readers could cut differently: none reaches the origin, and what follows is no request.
//!
//! The parser's own tables are longer; here everything goes over sockets, with a body and a request behind it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{FakeOrigin, PATIENCE, TestEdge, reply};

/// Behind every request: what a smuggler would like to be taken for a request.
const NEXT: &str = "GET /next HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
/// A body in chunks that, read by a length of 4, begins something else.
const CHUNKS: &str = "1\r\nZ\r\n0\r\n\r\n";

/// Everything that the edge says to this, until it closes.
async fn said(edge: &TestEdge, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(edge.client.http).await.unwrap();
    // The edge may have closed before all was written.
    let _ = stream.write_all(text).await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the edge closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// An edge, and an origin that answers everything that there is.
async fn parties() -> (FakeOrigin, TestEdge) {
    let origin = FakeOrigin::start().await;
    for path in ["/p", "/next"] {
        origin.on(path, reply(200).body("x"));
    }
    let edge = TestEdge::before(&origin).start().await;
    (origin, edge)
}

async fn is_refused(edge: &TestEdge, request: &[u8]) {
    let answer = said(edge, &[request, NEXT.as_bytes()].concat()).await;
    let what = String::from_utf8_lossy(request);
    assert!(
        answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 50"),
        "{what:?}: {answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what:?}: {answer}");
    assert!(answer.contains("connection: close\r\n"), "{what:?}: {answer}");
}

#[tokio::test]
async fn a_body_whose_end_is_not_certain_ends_the_connection() {
    let (origin, edge) = parties().await;
    for coding in TRANSFER_ENCODINGS {
        for length in [&b""[..], b"content-length: 4\r\n"] {
            let head = b"POST /p HTTP/1.1\r\nhost: localhost\r\n";
            for fields in
                [[coding, &b"\r\n"[..], length].concat(), [length, coding, b"\r\n"].concat()]
            {
                let request = [head, &fields[..], b"\r\n", CHUNKS.as_bytes()].concat();
                is_refused(&edge, &request).await;
            }
        }
    }
    for length in CONTENT_LENGTHS {
        let head = b"POST /p HTTP/1.1\r\nhost: localhost\r\n";
        is_refused(&edge, &[head, *length, b"\r\n\r\nhello"].concat()).await;
    }
    assert!(origin.everything().is_empty(), "{:?}", origin.everything());
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways_end_the_connection() {
    let (origin, edge) = parties().await;
    for chunks in MALFORMED_CHUNKS {
        let head = b"POST /p HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
        let text = [head, *chunks, NEXT.as_bytes()].concat();
        let answer = said(&edge, &text).await;
        let what = String::from_utf8_lossy(chunks);
        // The head was good, so that the origin may have been asked; it never saw the end of a body.
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{what:?}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{what:?}: {answer}");
    }
    assert_eq!(origin.count("/next"), 0);
    assert!(origin.all("/p").is_empty(), "no whole request: {:?}", origin.all("/p"));
}

#[tokio::test]
async fn targets_and_hosts_that_name_two_things_are_refused() {
    let (origin, edge) = parties().await;
    for head in HEADS {
        is_refused(&edge, &[*head, b"\r\n\r\n"].concat()).await;
    }
    assert!(origin.everything().is_empty(), "{:?}", origin.everything());
}

#[tokio::test]
async fn the_well_formed_neighbours_reach_the_origin_as_they_are() {
    let (origin, edge) = parties().await;
    let (length, chunked) = ("content-length: 5\r\n", "transfer-encoding: chunked\r\n");
    for (method, fields, body) in [
        ("POST", length, "hello"),
        ("POST", "Content-Length:\t05 \r\n", "hello"),
        ("POST", chunked, "5\r\nhello\r\n0\r\n\r\n"),
        (
            "POST",
            "Transfer-Encoding:CHUNKED\r\n",
            "5;a;b=c;d=\"e\\\"f\"\r\nhello\r\n00\r\nx: y\r\n\r\n",
        ),
        ("GET", length, "hello"),
        ("GET", chunked, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ("DELETE", length, "hello"),
        ("OPTIONS", chunked, "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let before = origin.count("/p");
        let text = format!("{method} /p HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n{body}{NEXT}");
        let answer = said(&edge, text.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{method} {fields:?}: {answer}");
        assert_eq!(origin.count("/p"), before + 1, "{method} {fields:?}");
        assert_eq!(origin.last("/p").body, b"hello", "{method} {fields:?}");
    }
}

#[rustfmt::skip]
const TRANSFER_ENCODINGS: &[&[u8]] = &[
    b"transfer-encoding: xchunked", b"transfer-encoding : chunked", b"transfer-encoding: chunked\r\ntransfer-encoding: x",
    b"transfer-encoding: x\r\ntransfer-encoding: chunked", b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    b"transfer-encoding:\x0bchunked", b"transfer-encoding: chunked\x0c", b"transfer-encoding: \xa0chunked",
    b"transfer-encoding\r\n : chunked", b"transfer-encoding:\r\n chunked", b"x: x\ntransfer-encoding: chunked",
    b"x: x\rtransfer-encoding: chunked", b"x: x\r\n transfer-encoding: chunked", b"\0transfer-encoding: chunked",
    b"transfer-encoding\0: chunked", b"transfer_encoding: chunked", b"transfer encoding: chunked",
    b"transfer-encoding: identity", b"transfer-encoding: identity, chunked", b"transfer-encoding: chunked, identity",
    b"transfer-encoding: gzip, chunked", b"transfer-encoding: chunked, chunked", b"transfer-encoding: \"chunked\"",
    b"transfer-encoding: 'chunked'", b"transfer-encoding: chunked;q=1", b"transfer-encoding: chunked,",
    b"transfer-encoding: , chunked", b"transfer-encoding:", b"transfer-encoding: ch\xc5\xabnked",
    b"connection: transfer-encoding\r\ntransfer-encoding: chunked",
];

#[rustfmt::skip]
const CONTENT_LENGTHS: &[&[u8]] = &[
    b"content-length: +5", b"content-length: -5", b"content-length: 0x5", b"content-length: 5,5", b"content-length: 5, 6",
    b"content-length: 5 5", b"content-length: 5;", b"content-length: 5.0", b"content-length: 5e0", b"content-length: \"5\"",
    b"content-length:", b"content-length: 5\0", b"content-length: 5\x0c", b"content-length: \xd9\xa5", b"content_length: 5",
    b"content-length : 5", b"content-length: 18446744073709551621", b"content-length: 5\r\ncontent-length: 5",
    b"content-length: 5\r\nContent-Length: 6", b"content-length: 0\r\ncontent-length: 5",
    b"content-length: 5\r\ncontent-length:", b"content-length: 5\r\n 0", b"connection: content-length\r\ncontent-length: 5",
];

#[rustfmt::skip]
const MALFORMED_CHUNKS: &[&[u8]] = &[
    b"5 \r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\n", b"5\r\nhello\r\n0\n\n", b"5\r\nhello\r\n0\r\nx : y\r\n\r\n",
    b"5\r\nhello\r\n0\r\ncontent-length: 5\r\n\r\n", b"5\r\nhello\r\n0\r\nhost: a\r\n\r\n", b"5\r\nhello\r\n0\r\n x\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n", b"5;a=\r\nhello\r\n0\r\n\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"x\r\nb\"\r\nhello\r\n0\r\n\r\n", b"5 ; a\r\nhello\r\n0\r\n\r\n", b"-1\r\nhello\r\n0\r\n\r\n", b"g\r\nhello\r\n0\r\n\r\n",
    b"\r\n5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5\0\r\nhello\r\n0\r\n\r\n", b"5_0\r\nhello\r\n0\r\n\r\n",
];

#[rustfmt::skip]
const HEADS: &[&[u8]] = &[
    b"GET /p", b"GET /p HTTP/0.9\r\nhost: localhost", b"GET /p HTTP/2.0\r\nhost: localhost", b"GET /p HTTP/1.1",
    b"GET /p  HTTP/1.1\r\nhost: localhost", b"GET /p HTTP/1.1 \r\nhost: localhost", b"GET /a b HTTP/1.1\r\nhost: localhost",
    b"GET p HTTP/1.1\r\nhost: localhost", b"GET /p#f HTTP/1.1\r\nhost: localhost", b"GET /p\\x HTTP/1.1\r\nhost: localhost",
    b"GET * HTTP/1.1\r\nhost: localhost", b"GET http://other/p HTTP/1.1\r\nhost: localhost",
    b"GET http://u@localhost/p HTTP/1.1\r\nhost: localhost", b"GET ftp://localhost/p HTTP/1.1\r\nhost: localhost",
    b"CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443", b"TRACE /p HTTP/1.1\r\nhost: localhost",
    b"PRI * HTTP/2.0", b"GET /p HTTP/1.1\r\nhost: localhost\r\nhost: localhost", b"GET /p HTTP/1.1\r\nhost:",
    b"GET /p HTTP/1.1\r\nhost: localhost, other", b"GET /p HTTP/1.1\r\nhost: u@localhost", b"GET /p HTTP/1.1\r\nhost: localhost:",
    b"GET /p HTTP/1.1\r\nhost: localhost:99999", b"GET /p HTTP/1.1\r\nhost: localhost/x", b"GET /p HTTP/1.1\r\nhost: [::1",
    b"GET /p HTTP/1.1\r\n host: localhost", b"GET /p HTTP/1.1\r\nhost : localhost", b"GET /p HTTP/1.1\r\nhost: localhost\r\nx",
    b"GET /p HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b", b"GET /p HTTP/1.1\r\nhost: localhost\r\nx: a\nb: c",
    b"GET /p HTTP/1.1\r\nhost: localhost\r\nx: a\rb", b"GET /p HTTP/1.1\r\nhost: localhost\r\nx: a\0b",
    b"GET /p HTTP/1.1\r\nhost: localhost\r\nconnection: host", b"GET /p HTTP/1.1\r\nhost: localhost\r\nexpect: a-pony",
];
