//! Tickets: sessions that come back, and requests that go out with the handshake.

use tidegate_load::{
    kind::Protocol,
    net::{Connected, Net, SessionPlan},
};

use super::{
    ALL, get, net, plan,
    server::{self, Server},
    story,
};

async fn connect(net: &Net, resumes: bool, early_data: bool, protocol: Protocol) -> Connected {
    let session = net.session(SessionPlan { resumes, early_data, ..plan(protocol) });
    let fetched = get(&session, "/bytes/1000").await;
    assert_eq!(fetched.outcome.as_ref().map(|_| fetched.bytes).ok(), Some(1000), "{fetched:?}");
    // Tickets come after the handshake.
    for _ in 0..3 {
        assert!(get(&session, "/bytes/10").await.outcome.is_ok());
    }
    fetched.connection.unwrap()
}

#[test]
fn sessions_resume_when_they_shall() {
    story(async {
        let server = Server::start(false).await;
        for protocol in ALL {
            let net = net(server.address);
            assert!(!connect(&net, true, true, protocol).await.is_resumed);
            for _ in 0..3 {
                let again = connect(&net, true, true, protocol).await;
                assert!(again.is_resumed && !again.is_early, "{protocol:?}");
            }
            assert!(!connect(&net, false, true, protocol).await.is_resumed, "{protocol:?}");
            let counters = net.counters();
            assert_eq!((counters.opened, counters.resumed, counters.early), (5, 3, 0));
        }
    });
}

#[test]
fn a_first_request_goes_out_with_the_handshake() {
    story(async {
        let server = Server::start(true).await;
        for protocol in ALL {
            let net = net(server.address);
            assert!(!connect(&net, true, true, protocol).await.is_early);
            for _ in 0..2 {
                let again = connect(&net, true, true, protocol).await;
                assert!(again.is_resumed && again.is_early, "{protocol:?} {again:?}");
                assert!(again.handshake.is_some());
            }
            let counters = net.counters();
            assert_eq!((counters.opened, counters.resumed, counters.early), (3, 2, 2));
        }
    });
}

#[test]
fn a_request_that_was_refused_as_early_goes_out_again() {
    story(async {
        let server = Server::start(true).await;
        let quic = server::tls(true, &[b"h3"]);
        server.set_quic(&quic);
        let net = net(server.address);
        for protocol in ALL {
            assert!(!connect(&net, true, true, protocol).await.is_early);
        }
        server.refuse_early();
        server.refuse_early_quic(&quic);
        for protocol in ALL {
            let again = connect(&net, true, true, protocol).await;
            assert!(again.is_resumed && !again.is_early, "{protocol:?} {again:?}");
        }
        let counters = net.counters();
        assert_eq!((counters.opened, counters.resumed, counters.early), (6, 3, 0));
    });
}
