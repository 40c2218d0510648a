//! Requests that break the protocol: refused before the proxy sees them.

use bytesize::ByteSize;

use crate::harness::{Edge, Wire, raw_h2, raw_h3, within};

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/bytes/5")];

/// Fields beside or instead of those of an ordinary GET.
const MALFORMED: &[(&str, &[(&str, &str)])] = &[
    ("connection header", &[("connection", "close")]),
    ("keep-alive", &[("keep-alive", "5")]),
    ("transfer-encoding", &[("transfer-encoding", "chunked")]),
    ("upgrade", &[("upgrade", "websocket")]),
    ("te", &[("te", "gzip")]),
    ("upper case name", &[("X-Up", "1")]),
    ("line end in a value", &[("x-a", "1\r\nx-b: 2")]),
    ("nul in a value", &[("x-a", "1\x002")]),
    ("space in a name", &[("x a", "1")]),
    ("another host", &[("host", "elsewhere.test")]),
    ("conflicting lengths", &[("content-length", "1"), ("content-length", "2")]),
    ("length that is no number", &[("content-length", "x")]),
    ("unknown pseudo-header", &[(":other", "1")]),
];

#[tokio::test]
async fn malformed_requests_never_reach_the_origin_over_h3() {
    let edge = Edge::start().await;
    for (what, more) in MALFORMED {
        let connection = raw_h3::connect(&edge).await;
        expect_refused_h3(&connection, what, &raw_h3::headers(&[&GET[..], more].concat())).await;
    }
    for (what, fields) in missing_or_wrong() {
        let connection = raw_h3::connect(&edge).await;
        expect_refused_h3(&connection, what, &raw_h3::headers(&fields)).await;
    }
    assert_eq!(edge.origin.requests(), 0);
}

#[tokio::test]
async fn malformed_requests_never_reach_the_origin_over_h2() {
    let edge = Edge::start().await;
    for (what, fields) in MALFORMED
        .iter()
        .map(|(what, more)| (*what, [&GET[..], more].concat()))
        .chain(missing_or_wrong())
    {
        let mut connection = raw_h2::connect(&edge).await;
        let stream = connection.request(&fields).await;
        let _ended = (what, connection.outcome(stream).await);
    }
    assert_eq!(edge.origin.requests(), 0);

    let mut connection = raw_h2::connect(&edge).await;
    let stream = connection.request(&GET).await;
    assert_eq!(connection.outcome(stream).await, raw_h2::Outcome::Answered);
    assert_eq!(edge.origin.requests(), 1, "the table differs from this only by its faults");
}

#[tokio::test]
async fn a_client_with_too_many_malformed_requests_loses_its_connection() {
    let edge = Edge::with(|config| config.limits.malformed_requests_max = 4).await;

    let connection = raw_h3::connect(&edge).await;
    for _ in 0..4 {
        let request = raw_h3::request("GET", "/", &[("te", "gzip")]);
        let (mut send, recv) = connection.open_bi().await.unwrap();
        // The connection may be gone before the last of these.
        let _ = send.write_all(&request).await;
        raw_h3::outcome(recv).await;
    }
    let closed = within(connection.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(closed) = closed else { panic!("{closed:?}") };
    assert_eq!(closed.error_code, raw_h3::EXCESSIVE_LOAD.into());

    let mut connection = raw_h2::connect(&edge).await;
    let mut last = 0;
    for _ in 0..8 {
        last = connection.request(&[&GET[..], &[("host", "elsewhere.test")]].concat()).await;
    }
    const ENHANCE_YOUR_CALM: u32 = 0xb;
    assert_eq!(connection.outcome(last).await, raw_h2::Outcome::GoAway(ENHANCE_YOUR_CALM));
    edge.expect_metric(
        "edge_requests_refused_total",
        &[("protocol", "h3"), ("reason", "malformed")],
        4.0,
    )
    .await;
}

#[tokio::test]
async fn an_endless_header_frame_is_cut_at_the_cap() {
    let edge = Edge::start().await;
    let connection = raw_h3::connect(&edge).await;
    let mut begun = raw_h3::varint(raw_h3::HEADERS);
    begun.extend(raw_h3::varint(40_000_000));
    let (mut send, recv) = raw_h3::open(&connection, &begun).await;
    let piece = vec![b'a'; 64 * 1024];
    let mut accepted = 0;
    // Flow control lets the window through before the edge's refusal arrives; 40 MB never.
    while within(send.write_all(&piece)).await.is_ok() {
        accepted += piece.len();
        assert!(accepted < 4_000_000, "the edge keeps taking bytes");
    }
    let outcome = raw_h3::outcome(recv).await;
    assert_eq!(outcome, raw_h3::Outcome::Reset(raw_h3::EXCESSIVE_LOAD.into()));
    let request = raw_h3::request("GET", "/bytes/5", &[]);
    let (mut send, recv) = raw_h3::open(&connection, &request).await;
    send.finish().unwrap();
    assert!(matches!(raw_h3::outcome(recv).await, raw_h3::Outcome::Answered(n) if n > 5));
}

#[tokio::test]
async fn headers_above_the_limit_are_refused_on_every_protocol() {
    let edge = Edge::with(|config| {
        config.limits.header_bytes_max = ByteSize::kib(8);
        config.quic.frame_bytes_max = ByteSize::kib(64);
    })
    .await;
    let long = "a".repeat(10_000);
    for wire in [Wire::H2, Wire::H3] {
        let client = edge.client(wire).await;
        let mut request = client.request(http::Method::GET, "/bytes/5");
        request.headers_mut().insert("x-long", long.parse().unwrap());
        match client.send(request, bytes::Bytes::new()).await {
            Ok(response) => assert_eq!(response.status, 431, "{wire:?}"),
            // A client that has seen the limit does not even send.
            Err(refused) => assert!(wire == Wire::H3 && refused.contains("TooBig"), "{refused}"),
        }
    }
    let connection = raw_h3::connect(&edge).await;
    let request = raw_h3::request("GET", "/bytes/5", &[("x-long", &long)]);
    let (mut send, recv) = raw_h3::open(&connection, &request).await;
    send.finish().unwrap();
    assert!(matches!(raw_h3::outcome(recv).await, raw_h3::Outcome::Answered(_)), "431");

    let client = edge.client(Wire::H1).await;
    let mut request = client.request(http::Method::GET, "/bytes/5");
    request.headers_mut().insert("x-long", long.parse().unwrap());
    client.send(request, bytes::Bytes::new()).await.unwrap_err();
    assert_eq!(edge.origin.requests(), 0);
}

async fn expect_refused_h3(connection: &quinn::Connection, what: &str, request: &[u8]) {
    let (mut send, mut recv) = raw_h3::open(connection, request).await;
    send.finish().unwrap();
    match within(recv.read_to_end(1 << 16)).await {
        // `:status` 400 is entry 67 of the static table (RFC 9204 A).
        Ok(answer) => assert!(answer.windows(2).any(|w| w == [0xff, 4]), "{what}: {answer:?}"),
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => {
            assert_eq!(code, raw_h3::MESSAGE_ERROR.into(), "{what}");
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

fn missing_or_wrong() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let without = |name: &str| GET.iter().copied().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| {
        GET.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect::<Vec<_>>()
    };
    vec![
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no scheme", without(":scheme")),
        ("no authority and no host", without(":authority")),
        ("empty path", with(":path", "")),
        ("path without slash", with(":path", "x")),
        ("absolute path field", with(":path", "http://elsewhere.test/")),
        ("space in the path", with(":path", "/a b")),
        ("line end in the path", with(":path", "/a\r\nhost: x")),
        ("user information", with(":authority", "user@localhost")),
        ("foreign scheme", with(":scheme", "ftp")),
        ("no method name", with(":method", "G E T")),
    ]
}
