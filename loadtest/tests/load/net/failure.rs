//! Answers that are not as they should be, over every protocol.

use std::time::Duration;

use tidegate_load::{
    kind::{FailureClass, Protocol},
    net::{Ask, NetConfig},
};

use super::{ALL, ask, class, fetch, get, net, net_with, plan, server::Server, story};

#[test]
fn a_status_has_its_class_and_the_connection_stays() {
    story(async {
        let server = Server::start(false).await;
        for protocol in ALL {
            let net = net(server.address);
            let session = net.session(plan(protocol));
            for (path, expected) in [
                ("/status/404", FailureClass::ClientError),
                ("/status/503", FailureClass::ServerError),
                ("/status/206", FailureClass::Unexpected),
                ("/circle/0", FailureClass::Unexpected),
                ("/hop/5", FailureClass::Unexpected),
            ] {
                let fetched = get(&session, path).await;
                assert_eq!(class(&fetched), Some(expected), "{protocol:?} {path}");
                assert!(fetched.facts.status.is_some());
            }
            assert!(get(&session, "/hop/4").await.outcome.is_ok());
            assert_eq!(net.counters().opened, 1, "{protocol:?}");

            // A page that is too long to be read for nothing.
            assert_eq!(
                class(&get(&session, "/page/1000000").await),
                Some(FailureClass::ClientError)
            );
            assert!(get(&session, "/bytes/10").await.outcome.is_ok());
        }
    });
}

#[test]
fn a_body_that_is_cut_is_a_failure() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for (protocol, expected) in [
            // TLS ends in order, and the length was not reached.
            (Protocol::H1, FailureClass::Truncated),
            (Protocol::H2, FailureClass::Reset),
            (Protocol::H3, FailureClass::Reset),
        ] {
            let session = net.session(plan(protocol));
            let fetched = get(&session, "/cut/5000").await;
            assert_eq!(class(&fetched), Some(expected), "{protocol:?} {:?}", fetched.outcome);
            assert_eq!(fetched.facts.status, Some(200));
            assert!(get(&session, "/bytes/10").await.outcome.is_ok(), "{protocol:?}");
        }
    });
}

#[test]
fn a_body_that_ends_early_is_a_failure() {
    story(async {
        let server = Server::start(false).await;
        let session = net(server.address).session(plan(Protocol::H3));
        let fetched = get(&session, "/short/5000").await;
        assert_eq!(class(&fetched), Some(FailureClass::Truncated), "{:?}", fetched.outcome);
        assert_eq!(fetched.bytes, 5000);
        assert!(get(&session, "/bytes/10").await.outcome.is_ok());
    });
}

#[test]
fn what_takes_too_long_is_a_timeout() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            // The connection is made before, so that the time is the answer's alone.
            assert!(get(&session, "/bytes/10").await.outcome.is_ok());
            // The second needs a head in its time, and with HTTP/1.1 a new connection.
            for (path, timeout) in [("/never", 300), ("/stall/5000", 6000)] {
                let timeout = Duration::from_millis(timeout);
                let ask = Ask { timeout, ..ask(path) };
                let fetched = fetch(&session, ask).await;
                assert_eq!(class(&fetched), Some(FailureClass::Timeout), "{protocol:?} {path}");
                assert!(fetched.took >= timeout);
                assert_eq!(fetched.first_byte.is_some(), path != "/never");
            }
            assert!(get(&session, "/bytes/10").await.outcome.is_ok(), "{protocol:?}");
        }
    });
}

#[test]
fn a_body_over_the_limit_is_not_kept() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            for path in ["/bytes/20000", "/chunked/20000"] {
                let fetched = fetch(&session, Ask { keep: Some(10_000), ..ask(path) }).await;
                assert_eq!(class(&fetched), Some(FailureClass::TooLarge), "{protocol:?} {path}");
            }
            let whole = fetch(&session, Ask { keep: Some(20_000), ..ask("/bytes/20000") }).await;
            assert!(whole.outcome.is_ok(), "{protocol:?}: {:?}", whole.outcome);
        }
    });
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    story(async {
        let server = Server::start(false).await;
        let stranger = rcgen::generate_simple_self_signed(vec!["x.test".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), stranger.cert.pem()).unwrap();
        let untrusting = net_with(server.address, |config: &mut NetConfig| {
            config.ca = vec![file.path().to_owned()];
        });
        let trusting = net_with(server.address, |config: &mut NetConfig| config.insecure = true);
        let knowing = net(server.address);
        for protocol in ALL {
            let fetched = get(&untrusting.session(plan(protocol)), "/bytes/10").await;
            assert_eq!(class(&fetched), Some(FailureClass::Handshake), "{:?}", fetched.outcome);
            assert!(get(&trusting.session(plan(protocol)), "/bytes/10").await.outcome.is_ok());

            // The right authority, and another name.
            let mut ask = ask("/bytes/10");
            ask.url.set_host(Some("wrong.test")).unwrap();
            let fetched = fetch(&knowing.session(plan(protocol)), ask).await;
            assert_eq!(class(&fetched), Some(FailureClass::Handshake), "{:?}", fetched.outcome);
        }
        assert_eq!(untrusting.counters().opened, 0);
    });
}

#[test]
fn a_server_that_has_gone_is_found_when_it_is_back() {
    story(async {
        for protocol in ALL {
            let mut server = Server::start(false).await;
            let net = net_with(server.address, |config| {
                config.handshake_timeout = Duration::from_secs(5);
            });
            let session = net.session(plan(protocol));
            assert!(get(&session, "/bytes/10").await.outcome.is_ok());
            server.stop();
            let gone = async {
                // It goes when its tasks have ended.
                loop {
                    let ask = Ask { timeout: Duration::from_secs(2), ..ask("/bytes/10") };
                    match class(&fetch(&session, ask).await) {
                        Some(class) => break class,
                        None => tokio::task::yield_now().await,
                    }
                }
            };
            let class = gone.await;
            let expected = [FailureClass::Connect, FailureClass::Reset, FailureClass::Handshake];
            assert!(expected.contains(&class), "{protocol:?}: {class:?}");
        }
    });
}

#[test]
fn http_3_without_tls_is_refused() {
    story(async {
        let server = Server::start(false).await;
        let mut ask = ask("/bytes/10");
        ask.url.set_scheme("http").unwrap();
        let fetched = fetch(&net(server.address).session(plan(Protocol::H3)), ask).await;
        assert_eq!(class(&fetched), Some(FailureClass::Protocol));
    });
}
