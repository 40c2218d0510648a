//! Clients that want too much, or give too little.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use bytesize::ByteSize;

use crate::harness::{
    Edge,
    raw::{self, HEADERS, Outcome, frame, request},
    until, within,
};

#[tokio::test]
async fn headers_above_the_limit_are_answered_and_endless_ones_cut() {
    let edge = Edge::with(|config| {
        config.limits.header_bytes_max = ByteSize::kib(8);
        config.limits.target_bytes_max = ByteSize::kib(4);
        config.quic.frame_bytes_max = ByteSize::kib(32);
    })
    .await;
    let connection = raw::connect(&edge).await;
    let long = "a".repeat(10_000);
    let recv = raw::ask(&connection, &request("GET", "/bytes/5", &[("x-long", &long)])).await;
    assert!(raw::outcome(recv).await.has_status(431));
    let many: Vec<_> = (0..300).map(|_| ("a", "b")).collect();
    let recv = raw::ask(&connection, &request("GET", "/bytes/5", &many)).await;
    assert!(raw::outcome(recv).await.has_status(431), "each line counts 32 bytes");

    let mut begun = raw::varint(HEADERS);
    begun.extend(raw::varint(40_000_000));
    let (mut send, recv) = raw::open(&connection, &begun).await;
    assert_eq!(raw::outcome(recv).await, Outcome::Reset(raw::EXCESSIVE_LOAD), "at once");
    assert_eq!(within(send.stopped()).await.unwrap(), Some(raw::EXCESSIVE_LOAD.into()));
    let _ = send.finish();

    for junk in [frame(0x21, b"").repeat(5_000), frame(0x21, &[0; 100_000])] {
        let (mut send, recv) = within(connection.open_bi()).await.unwrap();
        // Stopped before all of it is written.
        let _ = send.write_all(&[request("POST", "/echo", &[]), junk].concat()).await;
        assert_eq!(raw::outcome(recv).await, Outcome::Reset(raw::EXCESSIVE_LOAD));
    }
    assert!(raw::is_alive(&connection).await);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let edge = Edge::with(|config| config.limits.header_timeout = Duration::from_millis(200)).await;
    let connection = raw::connect(&edge).await;
    let (_send, recv) = raw::open(&connection, &request("GET", "/bytes/5", &[])[..10]).await;
    assert_eq!(raw::outcome(recv).await, Outcome::Reset(raw::EXCESSIVE_LOAD));
    assert!(raw::is_alive(&connection).await);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let edge = Edge::with(|config| config.limits.body_timeout = Duration::from_millis(200)).await;
    let connection = raw::connect(&edge).await;
    let (_send, recv) = raw::open(&connection, &request("POST", "/echo", &[])).await;
    assert_eq!(raw::outcome(recv).await, Outcome::Reset(raw::EXCESSIVE_LOAD));
    until("the app learns of it", || edge.app.lost.load(SeqCst) == 1).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_stream_and_nobody_else_notices() {
    let edge = Edge::with(|config| config.limits.write_timeout = Duration::from_millis(300)).await;
    let connection = raw::connect(&edge).await;
    // More than the client's window for one stream.
    let recv = raw::ask(&connection, &request("GET", "/bytes/8000000", &[])).await;
    until("served", || edge.app.requests.load(SeqCst) == 1).await;
    assert!(raw::is_alive(&connection).await, "while the other waits");
    until("cut", || edge.app.lost.load(SeqCst) == 1).await;
    assert_eq!(raw::outcome(recv).await, Outcome::Reset(raw::EXCESSIVE_LOAD));
    assert!(raw::is_alive(&connection).await);
}

#[tokio::test]
async fn a_client_below_the_rate_is_cut_though_it_may_pause_longer() {
    let edge = Edge::with(|config| {
        // Far from what anybody who reads takes on a busy machine.
        config.limits.rate_min = ByteSize::kib(64);
        config.limits.rate_grace = Duration::from_secs(5);
    })
    .await;
    let connection = raw::connect(&edge).await;
    let recv = raw::ask(&connection, &request("GET", "/bytes/8000000", &[])).await;
    until("cut", || edge.app.lost.load(SeqCst) == 1).await;
    assert_eq!(raw::outcome(recv).await, Outcome::Reset(raw::EXCESSIVE_LOAD));
    let labels = [("protocol", "h3"), ("reason", "slow")];
    edge.expect_metric("edge_connections_cut_total", &labels, 1.0).await;
    let recv = raw::ask(&connection, &request("GET", "/bytes/1000000", &[])).await;
    assert!(raw::outcome(recv).await.has_status(200), "who reads is not cut");
}

#[tokio::test]
async fn a_client_that_only_cancels_loses_its_connection() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let mut asked = 0;
    while let Ok((mut send, mut recv)) = connection.open_bi().await {
        let _ = send.write_all(&request("GET", "/hang", &[])).await;
        let _ = send.reset(0x10cu32.into());
        let _ = recv.stop(0x10cu32.into());
        asked += 1;
        assert!(asked < 5_000, "the edge keeps serving");
    }
    assert_eq!(raw::close_code(&connection).await, Outcome::Closed(raw::EXCESSIVE_LOAD));
    until("nothing is left running", || {
        edge.app.gone.load(SeqCst) + edge.app.lost.load(SeqCst) == edge.app.requests.load(SeqCst)
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_a_word() {
    let edge = Edge::with(|config| config.limits.idle_timeout = Duration::from_secs(3)).await;
    let connection = raw::connect(&edge).await;
    assert!(raw::is_alive(&connection).await);
    // A keep-alive of the client's own does not count as work.
    assert_eq!(raw::close_code(&connection).await, Outcome::Closed(raw::NO_ERROR));
}

#[tokio::test]
async fn a_connection_above_the_limit_is_refused() {
    let edge = Edge::with(|config| config.limits.connections_max = 1).await;
    let first = raw::connect(&edge).await;
    assert!(raw::is_alive(&first).await);
    let endpoint = crate::harness::client::endpoint(crate::harness::client::trusting());
    let second = within(endpoint.connect(edge.address, "localhost").unwrap()).await;
    assert!(matches!(second, Err(quinn::ConnectionError::ConnectionClosed(_))), "{second:?}");
    edge.expect_metric("edge_connections_refused_total", &[("reason", "limit")], 1.0).await;
}

#[tokio::test]
async fn an_army_of_slow_readers_stays_within_the_account() {
    const LIMIT: u64 = 4 << 20;
    let edge = Edge::with(|config| config.limits.buffers = ByteSize(LIMIT)).await;
    let mut most = 0;
    let mut see = || {
        let taken = edge.account.taken();
        assert!(taken <= LIMIT, "{taken}");
        most = most.max(taken);
    };
    // Each asks for much on several streams and reads nothing.
    let (mut army, mut refused, mut busy) = (Vec::new(), 0, 0);
    let endpoint = crate::harness::client::endpoint(crate::harness::client::trusting());
    for _ in 0..40 {
        let connecting = endpoint.connect(edge.address, "localhost").unwrap();
        let Ok(connection) = within(connecting).await else {
            refused += 1;
            continue;
        };
        for _ in 0..3 {
            let asked = raw::ask(&connection, &request("GET", "/bytes/8000000", &[])).await;
            army.push((connection.clone(), asked));
        }
        see();
    }
    until("all are served or refused", || {
        see();
        let served = edge.app.requests.load(SeqCst);
        let labels = [("protocol", "h3"), ("reason", "memory")];
        busy = edge.metric("edge_requests_refused_total", &labels) as usize;
        served + busy == army.len()
    })
    .await;
    assert!(busy > 0, "{refused} connections and no requests were refused");
    assert!(most > LIMIT / 2, "the army took no more than {most}");
    // Those that were refused were told so.
    let mut told = 0;
    for (_, recv) in &mut army {
        let mut begin = [0; 64];
        if let Ok(Some(read)) = within(recv.read(&mut begin)).await {
            // HEADERS, its length, two bytes of QPACK's prefix, then 503 by its place in the static table.
            told += usize::from(begin[..read].get(4) == Some(&0xdc));
        }
    }
    drop(army);
    endpoint.close(0u32.into(), b"");
    until("everything came back", || edge.account.taken() == 0).await;
    assert_eq!(told, busy);
    let late = edge.client().await;
    assert_eq!(late.get("/bytes/100000").await.status, 200);
}
