//! What only H1 has: one response after the other, bodies in chunks, old clients, interim responses.

use tokio::io::AsyncWriteExt;

use crate::harness::{Edge, pattern, raw_h1, within};

const HOST: &str = "host: a.test\r\n";

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    let mut text = String::new();
    for n in 1..=50 {
        text += &format!("GET /bytes/{n} HTTP/1.1\r\n{HOST}\r\n");
    }
    text += &format!("POST /echo HTTP/1.1\r\n{HOST}content-length: 5\r\n\r\nfirst");
    text += &format!(
        "POST /echo HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\nx: y\r\n\r\n"
    );
    text += &format!("GET /chunked/20000 HTTP/1.1\r\n{HOST}connection: close\r\n\r\n");
    client.say(&text).await;
    for n in 1..=50 {
        let head = client.head().await;
        assert!(head.contains(&format!("content-length: {n}\r\n")), "{head}");
        assert!(!head.contains("connection:"), "{head}");
        assert_eq!(client.exactly(n).await, pattern(n));
    }
    for expected in ["first", "second"] {
        client.head().await;
        assert_eq!(client.exactly(expected.len()).await, expected.as_bytes());
    }
    let head = client.head().await;
    assert!(
        head.contains("transfer-encoding: chunked\r\n") && head.contains("connection: close\r\n")
    );
    let (body, is_clean) = client.rest().await;
    assert!(body.ends_with(b"\r\n0\r\n\r\n") && is_clean);
}

#[tokio::test]
async fn requests_may_come_byte_by_byte() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    client.io.set_nodelay(true).unwrap();
    for _ in 0..2 {
        let text = format!(
            "\r\nPOST /echo HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\n\r\n"
        );
        for byte in text.bytes() {
            client.say([byte]).await;
            tokio::task::yield_now().await;
        }
        client.head().await;
        assert_eq!(client.exactly(3).await, b"abc");
    }
}

#[tokio::test]
async fn old_clients_get_no_chunks() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    client.say("GET /bytes/5 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    assert!(client.head().await.contains("connection: keep-alive\r\n"));
    client.exactly(5).await;
    client.say("GET /chunked/20000 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let head = client.head().await;
    assert!(
        head.contains("connection: close\r\n") && !head.contains("transfer-encoding"),
        "{head}"
    );
    assert_eq!(
        client.rest().await,
        (pattern(20_000).to_vec(), true),
        "its end is the end of the connection"
    );

    let mut client = raw_h1::connect(edge.http).await;
    client.say("GET /abort-chunked/20000 HTTP/1.0\r\n\r\n").await;
    client.head().await;
    let (_, is_clean) = client.rest().await;
    assert!(!is_clean, "what was cut ends with a reset");

    let mut client = raw_h1::connect(edge.http).await;
    client.say("GET /panic HTTP/1.0\r\n\r\n").await;
    client.head().await;
    assert!(!client.rest().await.1, "also when the app panics");
}

#[tokio::test]
async fn a_client_that_waits_for_word_gets_it() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    let head = format!("HTTP/1.1\r\n{HOST}content-length: 5\r\nexpect: 100-continue\r\n\r\n");
    client.say(format!("POST /echo {head}")).await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.say("hello").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(client.exactly(5).await, b"hello");

    // Without it nobody knows whether the body comes, so the connection ends.
    client.say(format!("POST /ignore {head}")).await;
    let answer = client.head().await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    assert_eq!(client.rest().await, (b"no matter".to_vec(), true));
}

#[tokio::test]
async fn interim_responses_pass_in_front_of_the_answer() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    client.say(format!("GET /hints HTTP/1.1\r\n{HOST}\r\n")).await;
    assert_eq!(client.head().await, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    assert_eq!(client.head().await, "HTTP/1.1 103 Early Hints\r\nlink: </b.css>\r\n\r\n");
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    client.exactly(6).await;
    client.say("GET /hints HTTP/1.0\r\n\r\n").await;
    assert!(
        client.head().await.starts_with("HTTP/1.1 200"),
        "old clients know no interim responses"
    );
}

#[tokio::test]
async fn trailers_go_to_clients_that_want_them() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    client
        .say(format!("GET /trailers HTTP/1.1\r\n{HOST}connection: te\r\nte: trailers\r\n\r\n"))
        .await;
    client.head().await;
    assert_eq!(client.until(b"\r\n\r\n").await, "6\r\nsummed\r\n0\r\nx-sum: 7\r\n\r\n");
    client.say(format!("GET /trailers HTTP/1.1\r\n{HOST}\r\n")).await;
    client.head().await;
    assert_eq!(client.until(b"\r\n\r\n").await, "6\r\nsummed\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_unwanted_body_is_read_away_when_it_is_short() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    client.say(format!("POST /ignore HTTP/1.1\r\n{HOST}content-length: 60000\r\n\r\n")).await;
    assert!(!client.head().await.contains("connection: close"));
    client.exactly(9).await;
    client.say(vec![b'x'; 60_000]).await;
    client.say(format!("POST /ignore HTTP/1.1\r\n{HOST}content-length: 70000000\r\n\r\n")).await;
    assert!(client.head().await.contains("connection: close"));
    assert_eq!(client.rest().await.0, b"no matter");
}

#[tokio::test]
async fn a_malformed_body_is_refused_and_ends_the_connection() {
    let edge = Edge::start().await;
    for body in [
        "x\r\n",
        "3\r\nabcd\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "0\r\nhost: a\r\n\r\n",
        "ffffffffffffffffff\r\n",
    ] {
        let mut client = raw_h1::connect(edge.http).await;
        client.say(format!("POST /echo HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n{body}GET /bytes/1 HTTP/1.1\r\n{HOST}\r\n")).await;
        let (answer, _) = client.rest().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{body:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{body:?}: {answer}");
    }
    edge.expect_metric(
        "edge_requests_refused_total",
        &[("protocol", "http/1.1"), ("reason", "malformed")],
        6.0,
    )
    .await;

    // What cannot become a size is told of at once, and not when a line ends that never does.
    for body in ["x", "3 ", "3\r\nabc\r\n-"] {
        let mut client = raw_h1::connect(edge.http).await;
        client
            .say(format!("POST /echo HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n{body}"))
            .await;
        let (answer, _) = client.rest().await;
        assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{body:?}");
    }
}

#[tokio::test]
async fn a_newer_version_is_answered_as_far_as_we_know_it() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    for _ in 0..2 {
        client.say(format!("GET /bytes/9 HTTP/1.2\r\n{HOST}\r\n")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        client.exactly(9).await;
    }
    client.say(format!("GET /bytes/9 HTTP/2.0\r\n{HOST}\r\n")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 505 "));
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_still_gets_a_quick_answer() {
    let edge = Edge::start().await;
    let mut client = raw_h1::connect(edge.http).await;
    client.say(format!("GET /bytes/9 HTTP/1.1\r\n{HOST}\r\n")).await;
    client.io.shutdown().await.unwrap();
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(client.rest().await, (pattern(9).to_vec(), true));
}

#[tokio::test]
async fn a_connection_ends_after_its_share_of_requests() {
    let edge = Edge::with(|config| config.limits.requests_per_connection_max = 3).await;
    let mut client = raw_h1::connect(edge.http).await;
    client.say(format!("GET /bytes/1 HTTP/1.1\r\n{HOST}\r\n").repeat(5)).await;
    let (answers, is_clean) = within(client.rest()).await;
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(answers.matches("connection: close").count(), 1);
    assert!(is_clean, "the requests that were not answered do not take the answers along");
}
