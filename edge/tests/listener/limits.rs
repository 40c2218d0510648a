//! Limits on connections and on their time.

use std::time::Duration;

use bytesize::ByteSize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Edge, Wire, raw_h1, until, within};

#[tokio::test]
async fn a_connection_above_the_limit_is_closed_at_once() {
    let edge = Edge::with(|config| config.limits.connections_max = 2).await;
    let first = edge.client(Wire::H1).await;
    let second = edge.client(Wire::H2).await;
    assert_eq!(first.get("/bytes/3").await.body.len(), 3);
    assert_eq!(second.get("/bytes/3").await.body.len(), 3);

    let mut refused = TcpStream::connect(edge.http).await.unwrap();
    expect_closed(&mut refused).await;
    edge.expect_metric("edge_connections_refused_total", &[("reason", "limit")], 1.0).await;

    drop(first);
    edge.expect_metric("edge_connections", &[("protocol", "http/1.1")], 0.0).await;
    assert_eq!(edge.client(Wire::H2).await.get("/bytes/3").await.body.len(), 3);
}

#[tokio::test]
async fn one_address_does_not_take_all_places() {
    let edge = Edge::with(|config| config.limits.connections_per_client_max = 1).await;
    let _first = edge.client(Wire::H1).await;
    let mut refused = TcpStream::connect(edge.http).await.unwrap();
    expect_closed(&mut refused).await;
    edge.expect_metric("edge_connections_refused_total", &[("reason", "client_limit")], 1.0).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(edge.http).await.unwrap();
    other.write_all(b"GET /bytes/1 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(within(other.read_u8()).await.unwrap(), b'H', "another address");
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_dropped() {
    let edge =
        Edge::with(|config| config.limits.handshake_timeout = Duration::from_millis(200)).await;
    let mut silent = TcpStream::connect(edge.https).await.unwrap();
    expect_closed(&mut silent).await;
    edge.expect_metric("edge_connections_refused_total", &[("reason", "handshake")], 1.0).await;
}

#[tokio::test]
async fn a_header_that_comes_too_slowly_ends_the_connection() {
    let edge = Edge::with(|config| config.limits.header_timeout = Duration::from_millis(300)).await;
    let mut slow = raw_h1::connect(edge.http).await;
    slow.say("GET / HTTP/1.1\r\nx: ").await;
    let (answer, _) = slow.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&answer));

    // A byte now and then does not help: the time counts from the first one.
    let mut slow = raw_h1::connect(edge.http).await;
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    within(async {
        let mut seen = [0; 64];
        while !matches!(slow.io.try_read(&mut seen), Ok(1..)) {
            slow.say("G").await;
            pause.tick().await;
        }
        assert!(seen.starts_with(b"HTTP/1.1 408 "));
    })
    .await;
    assert_eq!(edge.app.requests(), 0);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let edge = Edge::with(|config| config.limits.body_timeout = Duration::from_millis(300)).await;
    let mut slow = raw_h1::connect(edge.http).await;
    slow.say("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await;
    let (answer, _) = slow.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let edge = Edge::with(|config| config.limits.idle_timeout = Duration::from_secs(2)).await;
    let [one, other] = crate::harness::ALL;
    // Each asks as soon as it is connected.
    let ask = async |wire| {
        let client = edge.client(wire).await;
        let response = client.get("/wait").await;
        (client, response)
    };
    let mut waiting = Box::pin(futures::future::join(ask(one), ask(other)));
    tokio::select! {
        _ = &mut waiting => panic!("answered"),
        () = edge.app.expect_waiting(2) => {}
    }
    // Others tell when the idle time is over for those that are idle.
    for wire in crate::harness::ALL {
        let mut idle = edge.client(wire).await;
        tokio::select! {
            _ = &mut waiting => panic!("answered"),
            () = idle.closed() => {}
        }
    }
    edge.app.go_on();
    let (one, other) = within(waiting).await;
    for (mut client, response) in [one, other] {
        assert_eq!(response.body, "at last");
        client.closed().await;
    }
}

async fn expect_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 16];
    // A reset and a clean end are both a close.
    let read = within(stream.read(&mut buffer)).await.unwrap_or(0);
    assert_eq!(read, 0, "nothing is said: {:?}", &buffer[..read]);
}

/// Waits until the account has what a story expects.
async fn expect_taken(edge: &Edge, expected: u64) {
    until(&format!("{expected} bytes are taken"), || edge.account.taken() == expected).await;
}

#[tokio::test]
async fn an_h1_army_of_slow_readers_stays_within_the_account() {
    const CONNECTION: u64 = 48 << 10;
    const EXCHANGE: u64 = 128 << 10;
    const LIMIT: u64 = 3 * EXCHANGE + 6 * CONNECTION;
    let edge = Edge::with(|config| config.limits.buffers = ByteSize(LIMIT)).await;
    // Three are served and read nothing; the next three are told to come again; there is no room for a seventh.
    let (mut army, mut told) = (Vec::new(), 0);
    for n in 1..=6 {
        let mut client = raw_h1::connect(edge.http).await;
        client.say("GET /bytes/8000000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = client.head().await;
        if n <= 3 {
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(edge.account.taken(), n * (CONNECTION + EXCHANGE));
        } else {
            assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1"), "{head}");
            told += 1;
            drop(client);
            expect_taken(&edge, 3 * (CONNECTION + EXCHANGE)).await;
            continue;
        }
        army.push(client);
    }
    let labels = [("protocol", "http/1.1"), ("reason", "memory")];
    edge.expect_metric("edge_requests_refused_total", &labels, f64::from(told)).await;
    let idle: Vec<_> =
        futures::future::join_all((0..3).map(|_| TcpStream::connect(edge.http))).await;
    expect_taken(&edge, LIMIT).await;
    expect_closed(&mut TcpStream::connect(edge.http).await.unwrap()).await;
    edge.expect_metric("edge_connections_refused_total", &[("reason", "memory")], 1.0).await;

    drop((army, idle));
    expect_taken(&edge, 0).await;
    assert_eq!(edge.client(Wire::H1).await.get("/bytes/3").await.status, 200);
}

#[tokio::test]
async fn an_h2_client_gets_as_much_as_there_is_room_for() {
    let edge = Edge::with(|config| config.limits.buffers = ByteSize::mib(1)).await;
    let client = edge.client(Wire::H2).await;
    // Each wants more than fits into its window, and nobody reads.
    let asked = (0..20).map(|_| client.begin("/bytes/8000000"));
    let answers = futures::future::join_all(asked).await;
    let served = answers.iter().filter(|answer| answer.status() == 200).count();
    let busy = answers.iter().filter(|answer| answer.status() == 503).count();
    assert_eq!(served + busy, 20);
    assert!(served >= 2 && busy > 0, "{served} {busy}");
    assert!(edge.account.taken() <= 1 << 20);
    let told = answers.iter().find(|answer| answer.status() == 503).unwrap();
    assert_eq!(told.headers()["retry-after"], "1");
    drop(answers);
    expect_taken(&edge, 48 << 10).await;
    assert_eq!(client.get("/bytes/100000").await.body.len(), 100_000);
    drop(client);
    expect_taken(&edge, 0).await;
}
