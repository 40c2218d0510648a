//! Three replicas over one etcd: the leader dies where it stands, and nothing that was acknowledged is lost.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_contract::telemetry::{Report, SelfTest};

use crate::harness::{Caller, Etcd, Node, Program, command, until, within};

/// Replicas of one control plane, and an operator.
struct Cluster {
    etcd: Etcd,
    folder: TempDir,
    replicas: Vec<Program>,
    caller: Caller,
}

impl Cluster {
    async fn start(count: usize) -> Option<Self> {
        let etcd = Etcd::start().await?;
        let folder = tempfile::tempdir().expect("a folder");
        let store = etcd.url();
        let place = |n: usize| folder.path().join(n.to_string());
        std::fs::create_dir(place(0)).expect("writable");
        let caller = Caller::new(&place(0), &store).await;
        let mut replicas = vec![Program::serve(&place(0), &store).await];
        for n in 1..count {
            copy_keys(&place(0), &place(n));
            replicas.push(Program::serve(&place(n), &store).await);
        }
        Some(Self { etcd, folder, replicas, caller })
    }

    fn apis(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.api).collect()
    }

    /// The place of the leader among the replicas, as one of them says.
    async fn leader(&self, asked: SocketAddr) -> usize {
        until(async || {
            let list = self.caller.call("GET", asked, "/v1/replicas", &Value::Null).await.ok()?;
            let items = list["items"].as_array().expect("a list");
            let leader = items.iter().find(|one| one["leads"] == true)?;
            let listens = leader["listens"].as_str().expect("text");
            let is_at = |one: &Program| listens.contains(&format!("api {} ", one.api));
            self.replicas.iter().position(is_at)
        })
        .await
    }

    async fn node(&self, pop: &str, name: &str) -> Node {
        let path = format!("/v1/pops/{pop}/enrolment-tokens");
        let api = self.replicas[0].api;
        let made = self.caller.must("POST", api, &path, Value::Null).await;
        let token = made["token"].as_str().expect("a token").to_owned();
        let syncs = self.replicas.iter().map(|replica| replica.sync).collect();
        Node::start(&self.caller.ca_pem, syncs, &token, name).await
    }
}

fn copy_keys(from: &Path, to: &Path) {
    let (from, to) = (from.join("data"), to.join("data"));
    std::fs::create_dir_all(&to).expect("writable");
    for name in ["ca.key", "ca.pem", "release.key", "records.key"] {
        std::fs::copy(from.join(name), to.join(name)).expect("a key file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_in_a_storm_of_purges_and_nothing_acknowledged_is_lost() {
    let Some(mut cluster) = Cluster::start(3).await else { return };
    let caller = cluster.caller.clone();
    let first = cluster.replicas[0].api;
    caller.must("PUT", first, "/v1/pops/ams", json!({"role": "edge"})).await;
    let mut nodes = Vec::new();
    for n in 0..6 {
        nodes.push(cluster.node("ams", &format!("n{n}")).await);
    }

    let acknowledged: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..12)
        .map(|writer| {
            let (caller, acknowledged) = (caller.clone(), Arc::clone(&acknowledged));
            let (is_over, apis) = (Arc::clone(&is_over), cluster.apis());
            tokio::spawn(async move {
                for n in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let order = json!({"kind": "key", "key": format!("w{writer}-{n}")});
                    let api = apis[(writer + n) % apis.len()];
                    let Ok(answer) = caller.call("POST", api, "/v1/purges", &order).await else {
                        continue;
                    };
                    let offset = answer["offset"].as_u64().expect("an offset");
                    let key = order["key"].as_str().expect("text").to_owned();
                    let before = acknowledged.lock().expect("no panic").insert(offset, key);
                    assert_eq!(before, None, "one offset for two purges");
                }
            })
        })
        .collect();
    let reaches = async |count: usize| {
        until(async || (acknowledged.lock().expect("no panic").len() >= count).then_some(())).await;
    };
    reaches(200).await;
    let place = cluster.leader(first).await;
    let leader = cluster.replicas.remove(place);
    let (dead, killed) = (leader.api, Instant::now());
    leader.kill().await;
    let survivor = cluster.replicas[0].api;
    cluster.leader(survivor).await;
    let took = killed.elapsed();
    let count = acknowledged.lock().expect("no panic").len();
    reaches(count + 100).await;
    is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        within(writer).await.expect("no panic");
    }
    eprintln!("a new leader {took:?} after the old one was killed; lease 3 s");

    for replica in &cluster.replicas {
        let log = read_log(&caller, replica.api).await;
        let offsets: Vec<_> = log.keys().copied().collect();
        assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "no holes");
        for (offset, key) in acknowledged.lock().expect("no panic").iter() {
            assert_eq!(log.get(offset), Some(key), "{offset}");
        }
    }
    let head = read_log(&caller, survivor).await.len() as u64;
    for node in &nodes {
        until(async || (node.applied.load(Ordering::SeqCst) == head).then_some(())).await;
        assert_eq!(node.gaps.load(Ordering::Relaxed), 0);
        // Once to begin with; then at most a few times, half a second apart, past the dead one.
        let connects = node.connects.load(Ordering::Relaxed);
        assert!(connects <= 12, "{connects} connections");
    }
    // Everybody confirms a purge through whichever replica is asked.
    let order = json!({"kind": "key", "key": "last", "wait": "all", "deadline": "20s"});
    let answer = caller.must("POST", survivor, "/v1/purges", order).await;
    assert_eq!(answer["complete"], true, "{answer}");
    let folder = cluster.folder.path().join(place.to_string());
    let again = Program::serve(&folder, &cluster.etcd.url()).await;
    assert_ne!(again.api, dead);
    assert_eq!(read_log(&caller, again.api).await.len() as u64, head + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_among_releases_and_no_published_change_is_lost() {
    let Some(mut cluster) = Cluster::start(3).await else { return };
    let caller = cluster.caller.clone();
    let published: Arc<Mutex<Vec<String>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (caller, published, is_over) =
            (caller.clone(), Arc::clone(&published), Arc::clone(&is_over));
        let apis = cluster.apis();
        tokio::spawn(async move {
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let id = format!("p{n}");
                let body = json!({"id": id, "hosts": [format!("{id}.example.org")],
                    "origins": [{"authority": "127.0.0.1:1"}]});
                let path = format!("/v1/properties/{id}");
                match caller.call("PUT", apis[n % apis.len()], &path, &body).await {
                    Ok(_) => published.lock().expect("no panic").push(id),
                    // Another release goes out, or the replica is dead.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
    };
    let reaches = async |count: usize| {
        until(async || (published.lock().expect("no panic").len() >= count).then_some(())).await;
    };
    reaches(5).await;
    let place = cluster.leader(cluster.replicas[0].api).await;
    cluster.replicas.remove(place).kill().await;
    let survivor = cluster.replicas[0].api;
    cluster.leader(survivor).await;
    let count = published.lock().expect("no panic").len();
    reaches(count + 3).await;
    is_over.store(true, Ordering::Relaxed);
    within(publisher).await.expect("no panic");
    for replica in &cluster.replicas {
        let ids = until(async || {
            let list =
                caller.call("GET", replica.api, "/v1/properties", &Value::Null).await.ok()?;
            let list = list["properties"].as_array().expect("a list").clone();
            let ids: Vec<_> = list
                .iter()
                .map(|one| one["property"]["id"].as_str().expect("text").to_owned())
                .collect();
            let all = published.lock().expect("no panic");
            all.iter().all(|id| ids.contains(id)).then_some(ids)
        })
        .await;
        assert!(ids.len() >= count + 3);
    }
}

#[tokio::test]
async fn a_replica_without_the_keys_or_with_others_does_not_begin() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let (store, folder) = (cluster.etcd.url(), cluster.folder.path().join("stranger"));
    let serve = ["serve", "--api", "127.0.0.1:0", "--sync", "127.0.0.1:0"];
    let error = command(&folder, &store, &serve).await.expect_err("no keys");
    assert!(error.contains("ca.key, ca.pem, release.key, records.key"), "{error}");
    copy_keys(&cluster.folder.path().join("0"), &folder);
    // The authority of some other control plane.
    let other = cluster.folder.path().join("other");
    command(&other, "sqlite:", &["ca", "show"]).await.expect("it is made");
    for name in ["ca.key", "ca.pem"] {
        std::fs::copy(other.join("data").join(name), folder.join("data").join(name))
            .expect("there");
    }
    let error = command(&folder, &store, &serve).await.expect_err("other keys");
    assert!(error.contains("another authority"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_says_to_one_replica_counts_at_all_of_them() {
    let Some(cluster) = Cluster::start(2).await else { return };
    let caller = cluster.caller.clone();
    let apis = cluster.apis();
    caller.must("PUT", apis[0], "/v1/pops/ams", json!({"role": "edge"})).await;
    let node = cluster.node("ams", "n1").await;
    let leader = cluster.leader(apis[0]).await;
    let other = &cluster.replicas[1 - leader];
    let self_test = SelfTest { is_good: true, ..SelfTest::default() };
    let stays = Report { self_test, ..Report::default() };
    let said = node.reports(other.sync, stays.clone()).await;
    for api in &apis {
        until(async || {
            let health = caller.call("GET", *api, "/v1/health/ams", &Value::Null).await.ok()?;
            let is_told = health["nodes"][0]["report"]["self_test"]["is_good"] == true;
            (is_told && health["health"] == "good").then_some(())
        })
        .await;
    }
    // The word that a drain waits for at the leader.
    said.abort();
    let leaves = Report { is_leaving: true, ..stays };
    let said = node.reports(other.sync, leaves).await;
    for api in &apis {
        until(async || {
            let health = caller.call("GET", *api, "/v1/health/ams", &Value::Null).await.ok()?;
            (health["nodes"][0]["report"]["is_leaving"] == true).then_some(())
        })
        .await;
    }
    said.abort();
}

async fn read_log(caller: &Caller, api: SocketAddr) -> BTreeMap<u64, String> {
    let mut log = BTreeMap::new();
    loop {
        let after = log.last_key_value().map_or(0, |(offset, _)| *offset);
        let path = format!("/v1/purges?after={after}&limit=500");
        let page = caller.must("GET", api, &path, Value::Null).await;
        let purges = page["purges"].as_array().expect("a list");
        if purges.is_empty() {
            return log;
        }
        for purge in purges {
            let key = purge["order"]["key"].as_str().expect("text").to_owned();
            log.insert(purge["offset"].as_u64().expect("an offset"), key);
        }
    }
}
