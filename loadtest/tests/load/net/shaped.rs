//! Sessions behind a last mile.

use std::time::Duration;

use tidegate_load::net::{SessionPlan, Shape};

use super::{ALL, get, net, plan, server::Server, story};

#[test]
fn bytes_take_the_time_of_the_link_over_every_protocol() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let rtt = Duration::from_millis(30);
            let shape = Shape::constant(8_000_000, rtt).unwrap();
            let session = net.session(SessionPlan { shape: Some(shape), ..plan(protocol) });
            let fetched = get(&session, "/bytes/400000").await;
            assert!(fetched.outcome.is_ok());
            // 0.4 s, and round trips for connecting and asking. How much longer a busy machine takes is its affair.
            assert!(fetched.took >= Duration::from_millis(460), "{protocol:?} {:?}", fetched.took);
            assert!(fetched.first_byte.unwrap() >= Duration::from_millis(60));

            let again = get(&session, "/bytes/10").await;
            assert!(again.first_byte.unwrap() >= rtt, "{protocol:?}");
        }
    });
}

#[test]
fn fetches_of_one_session_share_its_link() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let shape = Shape::constant(16_000_000, Duration::ZERO).unwrap();
            let session = net.session(SessionPlan { shape: Some(shape), ..plan(protocol) });
            let began = std::time::Instant::now();
            let path = "/bytes/200000";
            let (a, b, c) =
                tokio::join!(get(&session, path), get(&session, path), get(&session, path));
            assert!([&a, &b, &c].iter().all(|fetched| fetched.outcome.is_ok()));
            // 600 kB at 2 MB a second.
            assert!(began.elapsed() >= Duration::from_millis(299), "{protocol:?}");
        }
    });
}
