//! The encrypted transports, asked by kdig where it can and by clients of our own.

mod client; // what asks
mod limits; // what nobody gets more of

use std::fs;

use hickory_proto::op::Message;
use tokio::{io::AsyncReadExt, time::timeout};

use self::client::{Trust, WAIT, exchange, framed, post_h2, post_h3, query, stream};
use super::dnssec_node::{Authority, SignedNode, has};

#[test]
fn kdig_is_answered_over_tls_https_and_quic() {
    if !has("kdig", "knot-dnsutils") {
        return;
    }
    let node = SignedNode::start(|_| {});
    let ca = format!("+tls-ca={}", node.folder().join("ca.crt").display());
    for (listener, options) in [
        ("dot", &["+tls"][..]),
        ("doh", &["+https=/dns-query"]),
        ("doh", &["+https=/dns-query", "+https-get"]),
        ("doq", &["+quic"]),
    ] {
        let asked =
            [&[&ca[..], "+tls-hostname=dns.test", "+dnssec", "video.example", "A"], options];
        let said = node.kdig_at(listener, &asked.concat());
        for expected in ["status: NOERROR", "RRSIG", "PADDING", "Received 468 B"] {
            assert!(said.contains(expected), "{listener} {options:?}: {expected}: {said}");
        }
        let asked = || node.metric("geo_queries_total", &[("transport", listener)]);
        node.wait("it is counted", || asked() >= 1.0);
    }
}

#[test]
fn the_same_is_said_over_every_transport() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    let asked = query(0, "video.example.", true);
    node.block_on(async {
        let mut tls = trust.tls(node.address("dot"), b"dot").await;
        let dot = exchange(&mut tls, &asked).await.expect("answered");
        let connection = trust.quic(node.address("doq"), b"doq").await;
        let doq = stream(&connection, &framed(&asked)).await.expect("answered");
        let (doh3, cache) = post_h3(&trust, node.address("doh3"), "/dns-query", &asked).await;
        assert_eq!(cache.as_deref(), Some("private, max-age=20"));
        assert_eq!((dot.len() % 468, &dot), (0, &doq));
        assert_eq!(dot, doh3.expect("answered"));
        let message = Message::from_vec(&dot).expect("a message");
        assert!(!message.answers.is_empty());

        // Without EDNS there is nothing to pad with.
        let plain = exchange(&mut tls, &query(9, "video.example.", false)).await.expect("answered");
        assert!(plain.len() < 468 && plain[..2] == [0, 9]);
    });
}

#[test]
fn a_client_that_breaks_the_rules_of_quic_loses_its_connection() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    node.block_on(async {
        for (what, bytes) in [
            ("an ID", framed(&query(7, "video.example.", true))),
            ("two messages", framed(&query(0, "video.example.", true)).repeat(2)),
            ("nothing", vec![]),
            ("no message", framed(b"\x00\x00hello")),
        ] {
            let connection = trust.quic(node.address("doq"), b"doq").await;
            assert!(stream(&connection, &bytes).await.is_none(), "{what}");
            let closed = timeout(WAIT, connection.closed()).await.expect("it is closed");
            assert!(closed.to_string() == "closed by peer: 2", "{what}: {closed}");
        }
        // One that is too long loses only its stream.
        let connection = trust.quic(node.address("doq"), b"doq").await;
        assert!(stream(&connection, &vec![0; 5000]).await.is_none());
        let asked = framed(&query(0, "video.example.", true));
        assert!(stream(&connection, &asked).await.is_some());
    });
}

#[test]
fn requests_that_are_no_queries_have_a_status() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    let asked = query(0, "video.example.", true);
    node.block_on(async {
        for (path, body, status) in [
            ("/dns-query", asked.clone(), Ok(())),
            ("/other", asked.clone(), Err(404)),
            ("/dns-query", vec![0; 5000], Err(413)),
            ("/dns-query", vec![], Err(400)),
        ] {
            let (h3, _) = post_h3(&trust, node.address("doh3"), path, &body).await;
            assert_eq!(h3.as_ref().map(drop), status.as_ref().map(drop), "{path}");
            let h2 = post_h2(&trust, node.address("doh"), path, &body).await;
            assert_eq!((&h2, h2.is_ok()), (&h3, status.is_ok()), "{path}");
        }
    });
}

#[test]
fn another_certificate_is_shown_without_a_restart() {
    let node = SignedNode::start(|_| {});
    let before = Trust::of(&node);
    let other = Authority::new();
    fs::write(node.folder().join("dns.key"), "not yet whole").expect("writable");
    let failures = || node.metric("geo_encrypted_certificate_reload_failures_total", &[]);
    node.wait("it is noticed", || failures() >= 1.0);
    node.block_on(async {
        before.tls(node.address("dot"), b"dot").await;
    });
    other.certify(node.folder());
    let after = Trust::of(&node);
    node.wait("the new one is shown", || {
        node.block_on(after.try_tls(node.address("dot"), b"dot")).is_ok()
    });
    node.block_on(async {
        assert!(before.try_tls(node.address("dot"), b"dot").await.is_err());
        after.quic(node.address("doq"), b"doq").await;
    });
}

#[test]
fn protocols_are_told_apart_by_name() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    node.block_on(async {
        for (listener, alpn) in [("dot", &b"h2"[..]), ("doh", b"dot"), ("doh", b"http/1.1")] {
            let made = trust.try_tls(node.address(listener), alpn).await;
            assert!(made.is_err(), "{listener}");
        }
        assert!(trust.try_quic(node.address("doq"), b"h3").await.is_err());
        assert!(trust.try_quic(node.address("doh3"), b"doq").await.is_err());
    });
}

#[test]
fn a_drain_answers_what_was_asked_and_closes() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    let (mut tls, quic) = node.block_on(async {
        let tls = trust.tls(node.address("dot"), b"dot").await;
        (tls, trust.quic(node.address("doq"), b"doq").await)
    });
    node.drain();
    node.block_on(async {
        let mut rest = vec![];
        let read = timeout(WAIT, tls.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(read.is_ok() && rest.is_empty(), "{read:?}");
        timeout(WAIT, quic.closed()).await.expect("it is closed");
    });
}
