//! Requests that break the protocol: what ends by it, and with which code.

use std::sync::atomic::Ordering::SeqCst;

use crate::{
    harness::{
        Edge,
        raw::{self, DATA, HEADERS, Outcome, frame, headers, request},
    },
    ill_formed,
};

#[tokio::test]
async fn malformed_heads_reset_their_stream_and_nobody_sees_them() {
    let edge = Edge::with(|config| config.limits.malformed_requests_max = 1_000).await;
    let connection = raw::connect(&edge).await;
    let requests = ill_formed::requests();
    for (what, fields) in &requests {
        let outcome = raw::outcome(raw::ask(&connection, &headers(fields)).await).await;
        assert_eq!(outcome, Outcome::Reset(raw::MESSAGE_ERROR), "{what}");
    }
    assert_eq!(edge.app.requests.load(SeqCst), 0);
    assert!(raw::is_alive(&connection).await, "the table differs from this only by its faults");
    let labels = [("protocol", "h3"), ("reason", "malformed")];
    edge.expect_metric("edge_requests_refused_total", &labels, requests.len() as f64).await;
}

#[tokio::test]
async fn content_that_is_not_as_announced_resets_its_stream() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let announced = |length, content: &[u8]| {
        [request("POST", "/echo", &[("content-length", length)]), frame(DATA, content)].concat()
    };
    for (what, bytes, code) in [
        ("less", announced("10", b"abc"), raw::MESSAGE_ERROR),
        ("more", announced("1", b"abc"), raw::MESSAGE_ERROR),
        ("some instead of none", announced("0", b"abc"), raw::MESSAGE_ERROR),
        ("nothing at all", vec![], raw::REQUEST_INCOMPLETE),
        ("only an unknown frame", frame(0x21, b"x"), raw::REQUEST_INCOMPLETE),
        (
            "pseudo-header in the trailers",
            [request("POST", "/echo", &[]), frame(DATA, b"a"), headers(&[(":path", "/")])].concat(),
            raw::MESSAGE_ERROR,
        ),
        (
            "length in the trailers",
            [request("POST", "/echo", &[]), headers(&[("content-length", "0")])].concat(),
            raw::MESSAGE_ERROR,
        ),
    ] {
        let outcome = raw::outcome(raw::ask(&connection, &bytes).await).await;
        assert_eq!(outcome, Outcome::Reset(code), "{what}");
    }
    assert_eq!(edge.app.requests.load(SeqCst), 0, "what came with the head was looked through");

    // What comes later is found where it is read.
    let (mut send, recv) = raw::open(&connection, &announced("10", b"abc")).await;
    crate::harness::until("served", || edge.app.requests.load(SeqCst) == 1).await;
    send.finish().unwrap();
    assert_eq!(raw::outcome(recv).await, Outcome::Reset(raw::MESSAGE_ERROR));
    crate::harness::until("the app knows", || edge.app.lost.load(SeqCst) == 1).await;
    assert!(raw::is_alive(&connection).await);
}

#[tokio::test]
async fn frames_that_may_not_stand_there_close_the_connection() {
    let edge = Edge::start().await;
    let get = || request("GET", "/bytes/5", &[]);
    for (what, bytes, code) in [
        ("DATA first", [frame(DATA, b"x"), get()].concat(), raw::FRAME_UNEXPECTED),
        ("SETTINGS", frame(4, b""), raw::FRAME_UNEXPECTED),
        ("CANCEL_PUSH", frame(3, b"\0"), raw::FRAME_UNEXPECTED),
        ("GOAWAY", frame(7, b"\0"), raw::FRAME_UNEXPECTED),
        ("MAX_PUSH_ID", frame(0xd, b"\0"), raw::FRAME_UNEXPECTED),
        ("PUSH_PROMISE", frame(5, b"\0\0\0"), raw::FRAME_UNEXPECTED),
        ("PING of HTTP/2", frame(6, &[0; 8]), raw::FRAME_UNEXPECTED),
        ("PRIORITY of HTTP/2", [get(), frame(2, &[0; 5])].concat(), raw::FRAME_UNEXPECTED),
        ("PRIORITY_UPDATE", frame(0xf_0700, b"\0"), raw::FRAME_UNEXPECTED),
        (
            "HEADERS behind the trailers",
            [get(), headers(&[("x", "y")]), headers(&[("x", "y")])].concat(),
            raw::FRAME_UNEXPECTED,
        ),
        (
            "DATA behind the trailers",
            [get(), headers(&[("x", "y")]), frame(DATA, b"x")].concat(),
            raw::FRAME_UNEXPECTED,
        ),
        ("cut off frame", get()[..20].to_vec(), raw::FRAME_ERROR),
        ("cut off DATA", [get(), frame(DATA, b"abc")[..3].to_vec()].concat(), raw::FRAME_ERROR),
        ("static index 99", frame(HEADERS, b"\0\0\xff\x24"), raw::QPACK_DECOMPRESSION_FAILED),
        ("dynamic reference", frame(HEADERS, b"\x02\0\x80"), raw::QPACK_DECOMPRESSION_FAILED),
        (
            "endless integer",
            frame(
                HEADERS,
                &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
            raw::QPACK_DECOMPRESSION_FAILED,
        ),
        ("wrong padding", frame(HEADERS, b"\0\0\x51\x81\0"), raw::QPACK_DECOMPRESSION_FAILED),
        ("empty section", frame(HEADERS, b""), raw::QPACK_DECOMPRESSION_FAILED),
    ] {
        let connection = raw::connect(&edge).await;
        let _stream = raw::ask(&connection, &bytes).await;
        assert_eq!(raw::close_code(&connection).await, Outcome::Closed(code), "{what}");
    }
    assert!(raw::is_alive(&raw::connect(&edge).await).await);
}

#[tokio::test]
async fn tunnels_and_traces_are_refused_by_name() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    for bytes in [
        headers(&[(":method", "CONNECT"), (":authority", "elsewhere.test:443")]),
        request("TRACE", "/", &[]),
    ] {
        let outcome = raw::outcome(raw::ask(&connection, &bytes).await).await;
        assert!(outcome.has_status(405) || outcome.has_status(501), "{outcome:?}");
    }
    assert_eq!(edge.app.requests.load(SeqCst), 0);
}

#[tokio::test]
async fn too_many_malformed_requests_close_the_connection() {
    let edge = Edge::with(|config| config.limits.malformed_requests_max = 4).await;
    let connection = raw::connect(&edge).await;
    for _ in 0..4 {
        let Ok((mut send, recv)) = connection.open_bi().await else { break };
        // The connection may be gone before the last of these.
        let _ = send.write_all(&request("GET", "/", &[("te", "gzip")])).await;
        raw::outcome(recv).await;
    }
    assert_eq!(raw::close_code(&connection).await, Outcome::Closed(raw::EXCESSIVE_LOAD));
}
