//! Sessions whose address changes under way.

use std::{collections::HashSet, time::Duration};

use tidegate_load::{
    kind::Protocol,
    net::{SessionPlan, Shape},
};

use super::{get, net, plan, server::Server, story};

#[test]
fn a_download_goes_on_while_its_session_moves() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        let session = net.session(SessionPlan {
            migrate_every: Some(Duration::from_millis(100)),
            // Slow enough that it moves several times on the way.
            shape: Some(Shape::constant(16_000_000, Duration::ZERO).unwrap()),
            ..plan(Protocol::H3)
        });
        // It does not move before its first answer.
        assert!(get(&session, "/bytes/10").await.outcome.is_ok());
        let fetched = get(&session, "/bytes/2000000").await;
        assert_eq!(
            fetched.outcome.as_ref().map(|_| fetched.bytes).ok(),
            Some(2_000_000),
            "{fetched:?}"
        );
        let counters = net.counters();
        assert!(counters.migrated >= 2, "{counters:?}");
        assert_eq!(counters.opened, 1);
        for _ in 0..3 {
            assert!(get(&session, "/bytes/10").await.connection.is_none());
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        let ports: HashSet<_> = server.seen.ports.borrow().iter().map(|from| from.port()).collect();
        assert!(ports.len() > 1, "the server saw one port");
        assert_eq!(server.seen.connections.get(), 1);
    });
}

#[test]
fn others_stay_where_they_are() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        let mover = net.session(SessionPlan {
            migrate_every: Some(Duration::from_millis(50)),
            ..plan(Protocol::H3)
        });
        let stayer = net.session(plan(Protocol::H3));
        assert!(get(&stayer, "/bytes/10").await.outcome.is_ok());
        let before = server.seen.ports.borrow()[0];
        while net.counters().migrated < 3 {
            let fetched = get(&mover, "/bytes/10").await;
            assert!(fetched.outcome.is_ok(), "{:?}", fetched.outcome);
        }
        server.seen.ports.borrow_mut().clear();
        assert!(get(&stayer, "/bytes/10").await.outcome.is_ok());
        while server.seen.ports.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.seen.ports.borrow()[0], before);
        let moved = net.counters().migrated;
        drop(mover);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(net.counters().migrated, moved, "a session that is over does not move");
    });
}
