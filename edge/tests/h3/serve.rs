//! A listener that stays, for tools that are not written in Rust: conformance suites and load generators.
//!
//! `H3_PORT=4433 cargo test -p tidegate-edge --test h3 -- --ignored --nocapture serve_until_killed`

use std::{io::Write, net::SocketAddr};

use tidegate_chassis::Drain;
use tidegate_edge::listener::{Config, Listener};

use crate::harness::app;

#[tokio::test]
#[ignore = "never ends; for tools"]
async fn serve_until_killed() {
    tidegate_chassis::init_crypto();
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name).and_then(|text| text.parse().ok());
    let port = number("H3_PORT").unwrap_or(0);
    let mut config = Config {
        http: Vec::new(),
        https: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        workers: number("H3_WORKERS").map_or(1, usize::from),
        ..Config::default()
    };
    config.tls.self_signed = true;
    config.quic.batch_sends = variable("H3_BATCH").as_deref() != Some("0");
    let registry = prometheus::Registry::new();
    let listener = Listener::bind(&config, &registry).await.unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "pid {} {:?}", std::process::id(), listener.addresses()).unwrap();
    let serving = tokio::spawn(listener.serve(app::shared(), Drain::new()));
    // For every line of input: what the sockets have counted.
    tokio::task::spawn_blocking(move || {
        for _ in std::io::stdin().lines() {
            for family in registry.gather().iter().filter(|family| family.name().contains("quic")) {
                for metric in family.get_metric() {
                    let value = metric.get_counter().get_value();
                    writeln!(out, "{} {value}", family.name()).unwrap();
                }
            }
        }
    });
    serving.await.unwrap().unwrap();
}
