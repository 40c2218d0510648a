//! Connections against real servers on loopback: whole answers, broken ones, tickets, moves, limits.

#![allow(clippy::unwrap_used)] // a story that cannot go on should stop right there

mod app;
mod cancel;
mod early;
mod failure;
mod moving;
mod raw;
mod server;
mod shaped;
mod streams;
mod turns;
mod whole;

use std::{net::SocketAddr, time::Duration};

use tidegate_load::{
    kind::{FailureClass, Protocol},
    net::{Ask, Fetched, Net, NetConfig, Session, SessionPlan},
};
use url::Url;

const ALL: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::H3];
/// Long beyond what anything here takes, so that a slow machine fails no test.
const LONG: Duration = Duration::from_secs(60);
const NAME: &str = "rig.test";

/// Runs a story on one thread, as a worker does.
fn story(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let story = async { tokio::time::timeout(2 * LONG, story).await.expect("the story ends") };
    tokio::task::LocalSet::new().block_on(&runtime, story);
}

/// A network that trusts the test server, and finds it under [`NAME`].
fn net(server: SocketAddr) -> Net {
    net_with(server, |_| {})
}

fn net_with(server: SocketAddr, change: impl FnOnce(&mut NetConfig)) -> Net {
    let mut config = NetConfig {
        ca: vec![server::identity().ca.clone()],
        system_roots: false,
        ..NetConfig::default()
    };
    config.resolve.insert("*".to_owned(), vec![server]);
    change(&mut config);
    Net::new(config).unwrap()
}

fn ask(path: &str) -> Ask {
    Ask {
        url: Url::parse(&format!("https://{NAME}{path}")).unwrap(),
        range: None,
        headers: Vec::new(),
        urgency: 3,
        keep: None,
        hash: false,
        timeout: LONG,
    }
}

async fn fetch(session: &Session, ask: Ask) -> Fetched {
    session.fetch(ask, &mut |_| {}).await
}

async fn get(session: &Session, path: &str) -> Fetched {
    fetch(session, ask(path)).await
}

/// The text of an object.
async fn text(session: &Session, path: &str) -> String {
    let fetched = fetch(session, Ask { keep: Some(1 << 20), ..ask(path) }).await;
    let body = fetched.outcome.unwrap().body.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn class(fetched: &Fetched) -> Option<FailureClass> {
    fetched.outcome.as_ref().err().map(|failure| failure.class)
}

fn plan(protocol: Protocol) -> SessionPlan {
    SessionPlan::new(protocol)
}
