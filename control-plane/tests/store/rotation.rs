//! One authority takes the place of another on several replicas, though one of them dies between the steps.
//!
//! Each step is ordered at another replica than the one before.

use std::net::SocketAddr;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Caller, Cluster, Etcd, Program, command, until};

const PATH: &str = "/v1/authority";

async fn step(caller: &Caller, api: SocketAddr, step: &str) -> Result<Value, String> {
    let path = format!("{PATH}/rotation");
    let done = caller.call("POST", api, &path, &json!({"step": step})).await;
    done.map_err(|refused| refused.map_or_else(String::new, |(_, text)| text))
}

/// What a replica says of the authorities, when it is in a phase.
async fn in_phase(caller: &Caller, api: SocketAddr, phase: &str) -> Value {
    until(async || {
        let view = caller.call("GET", api, PATH, &Value::Null).await.ok()?;
        (view["phase"] == phase).then_some(view)
    })
    .await
}

/// The certificates of a bundle, the older first.
fn pems(bundle: &str) -> Vec<String> {
    let pems = bundle.split_inclusive("-----END CERTIFICATE-----\n");
    pems.filter(|pem| !pem.trim().is_empty()).map(str::to_owned).collect()
}

/// What nodes call an authority.
fn mark(pem: &str) -> u64 {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("pem");
    let hash = Sha256::digest(&der);
    u64::from_be_bytes(*hash.first_chunk().expect("32 bytes"))
}

/// The newest version and its root.
async fn head(caller: &Caller, api: SocketAddr) -> (u64, Vec<u8>) {
    let status = caller.must("GET", api, "/v1/releases/status", Value::Null).await;
    let version = status["version"].as_u64().expect("a version");
    let path = format!("/v1/releases/{version}");
    let release = caller.must("GET", api, &path, Value::Null).await;
    (version, hex::decode(release["root"].as_str().expect("text")).expect("hex"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_replaced_on_all_replicas_though_the_leader_dies_between_the_steps() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut cluster = Cluster::start(etcd, 3).await;
    let caller = cluster.caller.clone();
    let first = cluster.replicas[0].api;
    caller.must("PUT", first, "/v1/pops/ams", json!({"role": "edge"})).await;
    let node = cluster.node("ams", "n1").await;
    let place = cluster.leader(first).await;
    let leader = cluster.replicas.remove(place);
    let (one, other) = (cluster.replicas[0].api, cluster.replicas[1].api);
    let other_sync = cluster.replicas[1].sync;

    step(&caller, leader.api, "begin").await.expect("its turn");
    let view = in_phase(&caller, one, "prepared").await;
    in_phase(&caller, other, "prepared").await;
    let bundle = view["bundle_pem"].as_str().expect("text").to_owned();
    let [old_pem, next_pem] = &pems(&bundle)[..] else { panic!("{bundle}") };
    assert_eq!(old_pem.trim(), caller.ca_pem.trim());
    let (old, next) = (mark(old_pem), mark(next_pem));
    let refused = step(&caller, one, "switch").await.expect_err("a node would be cut off");
    assert!(refused.contains("ams/n1"), "{refused}");
    // The node learns of it and says so, at another replica than the one that is asked then.
    let release = head(&caller, other).await;
    let says = node.says(&bundle, other_sync, &[old, next], old, &release).await;
    leader.kill().await;
    let view = until(async || step(&caller, one, "switch").await.ok()).await;
    assert_eq!(view["phase"], "switched", "{view}");

    // Everybody shows a certificate of the next one now, the replica that was dead as well.
    let caller = caller.believing(next_pem);
    for api in [one, other] {
        until(async || caller.call("GET", api, PATH, &Value::Null).await.ok()).await;
    }
    let again = Program::serve(&cluster.place(place), &cluster.etcd.config()).await;
    in_phase(&caller, again.api, "switched").await;
    // The old identity still counts, at the one that began anew too.
    says.abort();
    let release = head(&caller, one).await;
    let says = node.says(&bundle, again.sync, &[old, next], old, &release).await;
    let refused =
        step(&caller, other, "finish").await.expect_err("its certificate is the old one's");
    assert!(refused.contains("renew"), "{refused}");
    says.abort();
    let renewed = node.renewed(&bundle, other_sync).await;
    let says = renewed.says(&bundle, other_sync, &[old, next], next, &release).await;
    until(async || step(&caller, again.api, "finish").await.ok()).await;
    says.abort();

    // The old one is nobody any more, wherever one asks.
    for sync in [other_sync, again.sync] {
        until(async || (!node.is_let_in(next_pem, sync).await).then_some(())).await;
        assert!(renewed.is_let_in(next_pem, sync).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_for_a_whole_rotation_says_what_it_lacks_and_goes_on_with_it() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut cluster = Cluster::start(etcd, 2).await;
    let caller = cluster.caller.clone();
    cluster.replicas.remove(1).kill().await;
    let api = cluster.replicas[0].api;
    let view = step(&caller, api, "begin").await.expect("its turn");
    let bundle = view["bundle_pem"].as_str().expect("text");
    let caller = caller.believing(bundle);
    step(&caller, api, "switch").await.expect("no node is cut off");
    step(&caller, api, "finish").await.expect("no node is cut off");
    let (here, away) = (cluster.place(0).join("data"), cluster.place(1));
    let serve = ["serve", "--api", "127.0.0.1:0", "--sync", "127.0.0.1:0"];
    let error = command(&away, &cluster.etcd.config(), &serve).await.expect_err("it lacks keys");
    assert!(error.contains("copy the key files"), "{error}");
    for name in ["ca-2.key", "ca-2.pem"] {
        std::fs::copy(here.join(name), away.join("data").join(name)).expect("there");
    }
    let again = Program::serve(&away, &cluster.etcd.config()).await;
    until(async || caller.call("GET", again.api, PATH, &Value::Null).await.ok()).await;
}
