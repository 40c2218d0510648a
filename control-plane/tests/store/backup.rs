//! Backups of a control plane that runs: taken, killed, put back.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Caller, Cluster, Etcd, Node, Program, begin, command, until, within};
use tidegate_control::store::Config;

fn sqlite() -> Config {
    Config::default()
}

async fn purges(caller: &Caller, control: &Program, count: usize) -> u64 {
    let mut offset = 0;
    for n in 0..count {
        let order = json!({"kind": "key", "key": format!("k{n}")});
        let answer = caller.must("POST", control.api, "/v1/purges", order).await;
        offset = answer["offset"].as_u64().expect("an offset");
    }
    offset
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_control_plane_goes_on_and_nodes_notice() {
    let folder = tempfile::tempdir().expect("a folder");
    let caller = Caller::new(folder.path(), &sqlite()).await;
    let control = Program::serve(folder.path(), &sqlite()).await;
    caller.must("PUT", control.api, "/v1/pops/ams", json!({"role": "edge"})).await;
    let path = "/v1/pops/ams/enrolment-tokens";
    let token = caller.must("POST", control.api, path, Value::Null).await;
    let token = token["token"].as_str().expect("a token");
    assert_eq!(purges(&caller, &control, 5).await, 5);

    let file = folder.path().join("backup");
    let name = file.to_str().expect("text").to_owned();
    let said = command(folder.path(), &sqlite(), &["backup", &name]).await.expect("it runs");
    assert!(said.contains("5 purges up to offset 5"), "{said}");
    command(folder.path(), &sqlite(), &["verify", &name]).await.expect("a good backup");
    let error = command(folder.path(), &sqlite(), &["restore", &name]).await.expect_err("it runs");
    assert!(error.contains("another control plane runs"), "{error}");

    // What the backup does not know of, and a node that does.
    assert_eq!(purges(&caller, &control, 3).await, 8);
    let (api, sync) = (control.api, control.sync);
    let node = Node::start(&caller.ca_pem, vec![sync], token, "n1").await;
    until(async || (node.connects.load(Ordering::Relaxed) == 1).then_some(())).await;
    until(async || {
        let order = json!({"kind": "key", "key": "seen"});
        caller.must("POST", api, "/v1/purges", order).await;
        (node.applied.load(Ordering::SeqCst) > 8).then_some(())
    })
    .await;
    let applied = node.applied.load(Ordering::SeqCst);
    drop(node);
    control.kill().await;

    let error = command(folder.path(), &sqlite(), &["restore", &name]).await.expect_err("a state");
    assert!(error.contains("--replace"), "{error}");
    let words = ["restore", &name, "--replace"];
    command(folder.path(), &sqlite(), &words).await.expect("put back");
    command(folder.path(), &sqlite(), &["verify"]).await.expect("as it should be");
    let control = Program::serve(folder.path(), &sqlite()).await;
    // The token of the operator was made before the backup; the node was enrolled after it.
    let offset = purges(&caller, &control, 1).await;
    assert_eq!(offset, (1 << 40) + 1);
    assert!(offset > applied);
    let token = caller.must("POST", control.api, path, Value::Null).await;
    let token = token["token"].as_str().expect("a token");
    let node = Node::start_at(&caller.ca_pem, vec![control.sync], token, "n1", applied).await;
    until(async || (node.gaps.load(Ordering::Relaxed) == 1).then_some(())).await;
    let offset = purges(&caller, &control, 2).await;
    until(async || (node.applied.load(Ordering::SeqCst) == offset).then_some(())).await;
}

#[tokio::test]
async fn a_backup_that_is_killed_leaves_nothing_under_its_name_or_a_good_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let caller = Caller::new(folder.path(), &sqlite()).await;
    let control = Program::serve(folder.path(), &sqlite()).await;
    purges(&caller, &control, 30).await;
    let name = folder.path().join("backup").to_str().expect("text").to_owned();
    for n in 0..12_u64 {
        let mut child = begin(folder.path(), &sqlite(), &["backup", &name]);
        // From before it opened anything to about when it ends, on any machine.
        sleep(Duration::from_millis(n * 4)).await;
        let _ = child.kill().await;
        let _ = within(child.wait()).await;
        if std::path::Path::new(&name).exists() {
            command(folder.path(), &sqlite(), &["verify", &name]).await.expect("whole");
        }
        purges(&caller, &control, 1).await;
    }
    command(folder.path(), &sqlite(), &["backup", &name])
        .await
        .expect("it can be made all the same");
    let said = command(folder.path(), &sqlite(), &["verify", &name]).await.expect("whole");
    assert!(said.contains("42 purges up to offset 42"), "{said}");
}

#[tokio::test]
async fn the_api_streams_a_backup_without_the_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let caller = Caller::new(folder.path(), &sqlite()).await;
    let control = Program::serve(folder.path(), &sqlite()).await;
    purges(&caller, &control, 4).await;
    let bytes = caller.bytes("POST", control.api, "/v1/backup").await;
    let file = folder.path().join("fetched");
    std::fs::write(&file, bytes).expect("writable");
    let name = file.to_str().expect("text").to_owned();
    let said = command(folder.path(), &sqlite(), &["verify", &name]).await.expect("whole");
    assert!(said.contains("4 purges up to offset 4"), "{said}");
    let elsewhere = folder.path().join("elsewhere");
    let said = command(&elsewhere, &sqlite(), &["restore", &name]).await.expect("an empty folder");
    assert!(said.contains("it held no keys"), "{said}");
    assert!(!elsewhere.join("data/ca.key").exists());
    let left: Vec<_> = std::fs::read_dir(folder.path().join("data"))
        .expect("a folder")
        .filter(|entry| {
            entry.as_ref().expect("readable").file_name().to_string_lossy().contains("backup")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_was_restored_is_raised_once_and_nodes_notice() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut cluster = Cluster::start(etcd, 1).await;
    let caller = cluster.caller.clone();
    let control = &cluster.replicas[0];
    caller.must("PUT", control.api, "/v1/pops/ams", json!({"role": "edge"})).await;
    let path = "/v1/pops/ams/enrolment-tokens";
    let token = caller.must("POST", control.api, path, Value::Null).await;
    let token = token["token"].as_str().expect("a token");
    assert_eq!(purges(&caller, control, 5).await, 5);
    let place = cluster.place(0);
    let raise = async |store: &Config| command(&place, store, &["raise"]).await;
    let store = cluster.etcd.config();
    let error = raise(&store).await.expect_err("a replica lives");
    assert!(error.contains("replicas live"), "{error}");
    cluster.replicas.remove(0).kill().await;

    // What the snapshot does not know of, and a node that does.
    let snapshot = cluster.etcd.snapshot().await;
    let control = Program::serve(&place, &store).await;
    assert_eq!(purges(&caller, &control, 3).await, 8);
    let node = Node::start(&caller.ca_pem, vec![control.sync], token, "n1").await;
    until(async || (node.applied.load(Ordering::SeqCst) == 8).then_some(())).await;
    drop(node);
    control.kill().await;

    cluster.etcd.restore(&snapshot).await;
    // The lease of the one that was killed has to end first.
    let said = until(async || raise(&store).await.ok()).await;
    assert!(said.contains(&(1_u64 << 40).to_string()), "{said}");
    let control = Program::serve(&place, &store).await;
    let offset = purges(&caller, &control, 1).await;
    assert_eq!(offset, (1 << 40) + 1);
    let token = caller.must("POST", control.api, path, Value::Null).await;
    let token = token["token"].as_str().expect("a token");
    let node = Node::start_at(&caller.ca_pem, vec![control.sync], token, "n1", 8).await;
    until(async || (node.gaps.load(Ordering::Relaxed) == 1).then_some(())).await;
    let offset = purges(&caller, &control, 2).await;
    until(async || (node.applied.load(Ordering::SeqCst) == offset).then_some(())).await;
}
