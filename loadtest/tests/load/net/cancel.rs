//! Fetches that are given up.

use std::time::Duration;

use super::{ALL, ask, get, net, plan, server::Server, story};

#[test]
fn a_fetch_that_is_dropped_leaves_the_session_usable() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            for path in ["/never", "/stall/5000", "/bytes/30000000"] {
                let told = std::cell::Cell::new(0);
                let mut progress = |bytes| told.set(bytes);
                let fetch = session.fetch(ask(path), &mut progress);
                let enough = async {
                    let asked = server.seen.requests.get();
                    while told.get() == 0
                        && !(path == "/never" && server.seen.requests.get() > asked)
                    {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    fetched = fetch => panic!("{protocol:?} {path} ended: {:?}", fetched.outcome),
                    () = enough => {}
                }
                let fetched = get(&session, "/bytes/100000").await;
                assert!(fetched.outcome.is_ok(), "{protocol:?} {path}: {:?}", fetched.outcome);
            }
        }
    });
}

#[test]
fn others_go_on_when_one_is_dropped() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            let large = get(&session, "/bytes/3000000");
            let dropped = async {
                for _ in 0..20 {
                    let mut ignore = |_| {};
                    let fetch = session.fetch(ask("/stall/1000"), &mut ignore);
                    let _ = tokio::time::timeout(Duration::from_millis(5), fetch).await;
                }
            };
            let (large, ()) = tokio::join!(large, dropped);
            assert!(large.outcome.is_ok(), "{protocol:?}: {:?}", large.outcome);
            assert_eq!(large.bytes, 3_000_000);
        }
    });
}
