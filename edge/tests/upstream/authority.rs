//! Whom an upstream behind TLS is believed.

use std::process::Command;

use http::Response;
use tidegate_edge::{error::Failure, upstream::Config};

use crate::harness::{Client, Setup, secure::Secure, tls};

async fn origin() -> Secure {
    Secure::h2(|_, mut respond| async move {
        respond.send_response(Response::new(()), true).unwrap();
    })
    .await
}

#[tokio::test]
async fn the_name_and_the_authority_must_be_right() {
    let origin = origin().await;
    let other = Secure::h1("", true).await;
    let own = Some(origin.authority.clone());
    for (upstream, is_believed) in [
        (tls(origin.address, "origin.example", own.clone()), true),
        (tls(origin.address, "other.example", own), false),
        (tls(origin.address, "origin.example", Some(other.authority.clone())), false),
        (tls(origin.address, "origin.example", None), false),
    ] {
        let client = Client::new(Setup { origins: vec![upstream.clone()], ..Setup::default() });
        match client.get("/").await {
            Ok(_) => assert!(is_believed, "{upstream:?}"),
            Err(failure) => assert_eq!((is_believed, failure), (false, Failure::UNREACHABLE)),
        }
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn the_nodes_own_authorities_hold_where_an_upstream_names_none() {
    let origin = origin().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &origin.authority).unwrap();
    let config = Config { ca: Some(file.path().into()), ..Config::default() };
    let origins = vec![tls(origin.address, "origin.example", None)];
    let client = Client::new(Setup { origins, config, ..Setup::default() });
    assert!(client.get("/").await.is_ok());
}

/// A platform without authorities, which only an environment of its own can show.
#[test]
fn a_node_starts_on_a_platform_without_authorities() {
    let run = Command::new(std::env::current_exe().unwrap())
        .env("SSL_CERT_FILE", "/nonexistent/ca.pem")
        .env("SSL_CERT_DIR", "/nonexistent")
        .args(["--exact", "authority::without_authorities", "--ignored"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "run by the story above"]
async fn without_authorities() {
    let origin = origin().await;
    let bare = tls(origin.address, "origin.example", None);
    let setup = |upstream| Setup {
        origins: vec![upstream],
        is_platform_believed: true,
        ..Setup::default()
    };
    let client = Client::new(setup(bare));
    assert_eq!(client.get("/").await.err(), Some(Failure::UNREACHABLE));
    let client = Client::new(setup(origin.upstream()));
    assert!(client.get("/").await.is_ok(), "one with its own authority works");
}
