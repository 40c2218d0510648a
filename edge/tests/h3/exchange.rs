//! Requests and responses as they should be.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use futures::future::join_all;
use http::Method;

use crate::harness::{Edge, client, pattern, raw, until, within};

#[tokio::test]
async fn bodies_of_every_size_arrive_whole() {
    let edge = Edge::start().await;
    let client = edge.client().await;
    for length in [0, 1, 63, 64, 16_383, 16_384, 200_000, 3_000_000] {
        for kind in ["bytes", "pieces"] {
            let response = client.get(&format!("/{kind}/{length}")).await;
            assert_eq!(response.status, 200);
            assert_eq!(response.body, pattern(length), "{kind} {length}");
            let expected = if kind == "bytes" { length.to_string() } else { String::new() };
            assert_eq!(response.header("content-length"), expected);
            assert_eq!(response.header("content-type"), "video/mp4");
        }
    }
}

#[tokio::test]
async fn the_app_sees_the_request_as_it_was_sent() {
    let edge = Edge::start().await;
    let client = edge.client().await;
    let mut request = client.request(Method::POST, "/echo/a?b=c");
    request.headers_mut().insert("x-a", "1".parse().unwrap());
    let response = client.send(request, pattern(300_000)).await.unwrap();
    assert_eq!(response.body, pattern(300_000));
    assert_eq!(response.header("x-method"), "POST");
    assert_eq!(response.header("x-authority"), format!("localhost:{}", edge.address.port()));
    assert_eq!(response.header("x-target"), "/echo/a?b=c");
    assert_eq!(response.header("x-body"), "unknown");
    assert_eq!(response.header("x-fields"), "1");
    assert_eq!(response.header("x-early"), "false");
    assert_eq!(response.header("x-client"), response.header("x-moved"));
    assert_eq!((response.header("x-rtt"), response.header("x-rate")), ("true", "true"));

    let mut request = client.request(Method::PUT, "/echo");
    request.headers_mut().insert("content-length", 5.into());
    let response = client.send(request, Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!((response.header("x-body"), &response.body[..]), ("5", &b"hello"[..]));
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS] {
        let response = client.send(client.request(method, "/echo"), Bytes::new()).await.unwrap();
        assert!(matches!(response.header("x-body"), "empty" | "unknown"), "{response:?}");
    }
}

#[tokio::test]
async fn many_streams_on_one_connection_do_not_mix() {
    let edge = Edge::start().await;
    let client = edge.client().await;
    let lengths: Vec<_> = (0..60).map(|n| n * 7_919).collect();
    let responses = join_all(lengths.iter().map(|length| {
        let client = &client;
        async move { client.get(&format!("/bytes/{length}")).await }
    }));
    for (response, length) in responses.await.into_iter().zip(lengths) {
        assert_eq!(response.body, pattern(length));
    }
}

#[tokio::test]
async fn one_connection_serves_more_requests_than_it_may_have_open() {
    let edge = Edge::with(|config| config.limits.streams_per_connection_max = 10).await;
    let client = edge.client().await;
    for _ in 0..30 {
        let responses = join_all((0..10).map(|_| client.get("/bytes/10")));
        assert!(responses.await.iter().all(|response| response.body.len() == 10));
    }
}

#[tokio::test]
async fn interim_responses_heads_and_trailers_arrive() {
    let edge = Edge::start().await;
    let client = edge.client().await;
    let mut stream = client.begin(client.request(Method::GET, "/hints")).await;
    stream.finish().await.unwrap();
    let interim = within(stream.recv_response()).await.unwrap();
    assert_eq!(
        (interim.status().as_u16(), &interim.headers()["link"]),
        (103, &"</a>; rel=preload".parse().unwrap())
    );
    assert_eq!(within(client::take(&mut stream)).await.unwrap().body.len(), 5);

    let response = client.get("/trailers").await;
    assert_eq!(&response.body[..], b"body");
    assert_eq!(response.trailers.unwrap()["x-checksum"], "17");

    let response =
        client.send(client.request(Method::HEAD, "/head/1000"), Bytes::new()).await.unwrap();
    assert_eq!((response.header("content-length"), response.body.len()), ("1000", 0));
}

#[tokio::test]
async fn a_future_that_is_dropped_loses_and_repeats_nothing() {
    let edge = Edge::start().await;
    let client = edge.client().await;
    // More than flow control lets through, so that sends are dropped in the middle.
    let response = client.get("/impatient/4000000").await;
    let piece = pattern(8 << 20);
    assert_eq!(response.body.len(), 4_000_000);
    assert_eq!(response.body, piece[..4_000_000]);
}

#[tokio::test]
async fn what_was_not_completed_never_looks_complete() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    for path in ["/short", "/silent", "/panic"] {
        let recv = raw::ask(&connection, &raw::request("GET", path, &[])).await;
        assert_eq!(raw::outcome(recv).await, raw::Outcome::Reset(raw::INTERNAL_ERROR), "{path}");
    }
    assert!(raw::is_alive(&connection).await, "one exchange's fault is its own");
}

#[tokio::test]
async fn the_app_is_told_when_the_client_goes() {
    let edge = Edge::start().await;
    let client = edge.client().await;
    for (n, path) in ["/hang", "/half"].into_iter().enumerate() {
        let mut stream = client.begin(client.request(Method::GET, path)).await;
        stream.finish().await.unwrap();
        until("the request is there", || edge.app.requests.load(SeqCst) == n + 1).await;
        stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        until("gone", || edge.app.gone.load(SeqCst) == n + 1).await;
    }
    // A client that resets its half instead.
    let connection = raw::connect(&edge).await;
    let (mut send, _recv) = raw::open(&connection, &raw::request("POST", "/hang", &[])).await;
    until("the request is there", || edge.app.requests.load(SeqCst) == 3).await;
    send.reset(0x10cu32.into()).unwrap();
    until("gone", || edge.app.gone.load(SeqCst) == 3).await;
    // And one that vanishes with its connection.
    let (_send, _recv) = raw::open(&connection, &raw::request("GET", "/hang", &[])).await;
    until("the request is there", || edge.app.requests.load(SeqCst) == 4).await;
    connection.close(0x100u32.into(), b"");
    until("gone", || edge.app.gone.load(SeqCst) == 4).await;
}

#[tokio::test]
async fn an_answer_need_not_wait_for_the_request_to_end() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let (mut send, recv) = raw::open(&connection, &raw::request("POST", "/bytes/5", &[])).await;
    assert!(raw::outcome(recv).await.has_status(200));
    let stopped = within(send.stopped()).await.unwrap();
    assert_eq!(stopped, Some(raw::NO_ERROR.into()), "the rest is not wanted (RFC 9114 4.1)");
    let _ = send.finish();
}

#[tokio::test]
async fn a_request_may_come_in_single_bytes() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let bytes = [
        raw::frame(0x21, b"greased"),
        raw::request(
            "POST",
            "/echo",
            &[("content-length", "6"), ("cookie", "a=1"), ("cookie", "b=2")],
        ),
        raw::frame(raw::DATA, b"abc"),
        raw::frame(0x40, b""),
        raw::frame(raw::DATA, b"def"),
        raw::headers(&[("x-checksum", "1")]),
    ]
    .concat();
    let (mut send, recv) = raw::open(&connection, &[]).await;
    for byte in &bytes {
        send.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    send.finish().unwrap();
    let outcome = raw::outcome(recv).await;
    assert!(outcome.has_status(200), "{outcome:?}");
    let raw::Outcome::Answered(answer) = outcome else { unreachable!() };
    assert!(answer.ends_with(b"abcdef"));
}

#[tokio::test]
async fn a_head_may_name_a_length_without_content_only_where_there_is_none() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let recv = raw::ask(&connection, &raw::request("GET", "/head/10", &[])).await;
    assert_eq!(raw::outcome(recv).await, raw::Outcome::Reset(raw::INTERNAL_ERROR));
    let recv = raw::ask(&connection, &raw::request("HEAD", "/head/10", &[])).await;
    assert!(raw::outcome(recv).await.has_status(200));
}

#[tokio::test]
async fn what_goes_to_one_client_leaves_in_few_system_calls() {
    let edge = Edge::start().await;
    let client = edge.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("/bytes/3000000").await.body.len(), 3_000_000);
    }
    let sends = edge.metric("edge_quic_sends_total", &[]);
    let bytes = edge.metric("edge_quic_sent_bytes_total", &[]);
    assert!(edge.metric("edge_quic_sends_merged_total", &[]) > 100.0);
    // quinn hands over ten datagrams at a time, 14.5 KB.
    assert!(bytes / sends > 15_000.0, "{bytes} bytes in {sends} calls");
}
