//! Connections read in turns when somebody keeps them.

use std::{cell::Cell, future::poll_fn, pin::pin, time::Instant};

use tidegate_load::kind::Protocol;

use super::{LONG, ask, net, plan, server::Server, story};

#[test]
fn a_connection_reads_its_share_of_a_turn_and_comes_to_its_end() {
    story(async {
        let server = Server::start(false).await;
        for protocol in [Protocol::H1, Protocol::H2] {
            let net = net(server.address);
            let (turns, session) = (net.turns(), net.session(plan(protocol)));
            let (came, most) = (Cell::new(0), Cell::new(0));
            let mut progress = |bytes| came.set(bytes);
            let mut fetch = pin!(session.fetch(ask("/bytes/4000000"), &mut progress));
            let (mut before, began) = (0, Instant::now());
            let fetched = poll_fn(|context| {
                // As a worker does: a turn begins each time that it looks.
                turns.begin(context, tokio::time::Instant::now(), None);
                most.set(most.get().max(came.get() - before));
                before = came.get();
                assert!(began.elapsed() < LONG, "{protocol:?} stands still");
                fetch.as_mut().poll(context)
            })
            .await;
            assert!(fetched.outcome.is_ok() && fetched.bytes == 4_000_000, "{protocol:?}");
            // A share, and one more read of a socket.
            assert!(most.get() <= 64 * 1024 + 128 * 1024, "{protocol:?}: {}", most.get());
        }
    });
}
