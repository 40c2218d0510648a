//! Answers that two readers could read differently, and answers that are not whole.

use bytes::Bytes;
use http::{Response, StatusCode};
use tidegate_edge::error::Failure;

use crate::harness::{Client, Setup, Wish, body, plain::Plain, secure::Secure, text};

#[tokio::test]
async fn an_ambiguous_head_fails_the_answer() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\na",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "hello\r\n\r\n",
    ] {
        let origin = Plain::always(head).await;
        let client = Client::of(&[origin.address]);
        assert_eq!(client.get("/").await.err(), Some(Failure::BROKEN), "{head:?}");
        assert_eq!(client.errors("malformed"), 1, "{head:?}");
        assert_eq!(origin.requests(), 1, "{head:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_whole_never_ends() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX Y: 1\r\n\r\n",
    ] {
        let origin = Plain::once(answer).await;
        let client = Client::of(&[origin.address]);
        let mut whole = client.get("/").await.unwrap();
        assert_eq!(body(&mut whole).await, Err(Failure::BROKEN), "{answer:?}");
        assert_eq!(whole.body.next().await, Err(Failure::BROKEN), "and says so again");
    }
}

#[tokio::test]
async fn a_body_until_the_close_needs_a_clean_one() {
    let clean = Plain::once("HTTP/1.1 200 OK\r\n\r\nabc").await;
    assert_eq!(text(Client::of(&[clean.address]).get("/").await).await.unwrap(), "abc");

    let reset = Plain::start(|mut peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 200 OK\r\n\r\nabc").await;
        // What is unread makes the close a reset.
        peer.until(b"never").await;
    })
    .await;
    let client = Client::new(Setup {
        origins: vec![crate::harness::clear(&reset.address)],
        config: tidegate_edge::upstream::Config {
            read_timeout: std::time::Duration::from_millis(50),
            ..Default::default()
        },
        ..Setup::default()
    });
    assert_eq!(text(client.get("/").await).await, Err(Failure::TIMEOUT), "it stays open");

    for (is_polite, expected) in [(true, Ok("abc".to_owned())), (false, Err(Failure::BROKEN))] {
        let origin = Secure::h1("HTTP/1.1 200 OK\r\n\r\nabc", is_polite).await;
        let client = Client::new(Setup { origins: vec![origin.upstream()], ..Setup::default() });
        assert_eq!(text(client.get("/").await).await, expected, "polite: {is_polite}");
    }
}

#[tokio::test]
async fn a_short_or_reset_stream_of_h2_never_ends() {
    let origin = Secure::h2(|request, mut respond| async move {
        let head = |length: Option<&str>| {
            let mut head = Response::new(());
            if let Some(length) = length {
                head.headers_mut().insert("content-length", length.parse().unwrap());
            }
            head
        };
        let path = request.uri().path().to_owned();
        let length = (path != "/reset").then_some("5");
        let mut stream = respond.send_response(head(length), false).unwrap();
        stream.send_data(Bytes::from_static(b"abc"), path == "/short").unwrap();
        match path.as_str() {
            "/long" => stream.send_data(Bytes::from_static(b"defg"), true).unwrap(),
            "/short" => {}
            _ => stream.send_reset(h2::Reason::INTERNAL_ERROR),
        }
    })
    .await;
    let client = Client::new(Setup { origins: vec![origin.upstream()], ..Setup::default() });
    for path in ["/short", "/long", "/reset"] {
        assert_eq!(text(client.get(path).await).await, Err(Failure::BROKEN), "{path}");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_end_here() {
    let origin = Plain::always(
        "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-End: 2\r\nKeep-Alive: timeout=5\r\n\
         Cache-Status: shield; hit\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
    let mut answer = Client::of(&[origin.address]).get("/").await.unwrap();
    assert_eq!((answer.headers.len(), answer.headers["x-end"].to_str().unwrap()), (2, "2"));
    assert_eq!(answer.next_hop_cache_status.clone().unwrap(), "shield; hit");
    assert_eq!(body(&mut answer).await.unwrap(), b"");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let origin = Plain::always(large).await;
    assert_eq!(Client::of(&[origin.address]).get("/").await.err(), Some(Failure::BROKEN));
}

#[tokio::test]
async fn head_has_no_body_whatever_it_says() {
    let origin = Plain::always("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
    let client = Client::of(&[origin.address]);
    for _ in 0..2 {
        let head = Wish { method: http::Method::HEAD, ..Wish::default() };
        let mut answer = client.ask(head).await.unwrap();
        assert_eq!(
            (answer.status, answer.headers["content-length"].to_str().unwrap()),
            (StatusCode::OK, "1000")
        );
        assert!(answer.body.is_empty() && body(&mut answer).await.unwrap().is_empty());
    }
    assert_eq!(origin.connections(), 1);
}
