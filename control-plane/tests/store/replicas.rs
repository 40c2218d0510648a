//! Three replicas over one etcd of three members: whoever leads dies where it stands, and nothing that was acknowledged is
//! lost.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_contract::{
    demand::{Asked, Demand},
    id::PropertyId,
    telemetry::{Report, SelfTest},
};
use tidegate_control::store::Config;

use crate::harness::{
    Cluster, Etcd, Program, Storm, command, copy_keys, expect_whole, read_log, until, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_in_a_storm_of_purges_and_nothing_acknowledged_is_lost() {
    let Some(etcd) = Etcd::start_three().await else { return };
    let mut cluster = Cluster::start(etcd, 3).await;
    let caller = cluster.caller.clone();
    let first = cluster.replicas[0].api;
    caller.must("PUT", first, "/v1/pops/ams", json!({"role": "edge"})).await;
    let mut nodes = Vec::new();
    for n in 0..6 {
        nodes.push(cluster.node("ams", &format!("n{n}")).await);
    }
    let storm = Storm::begin(&caller, &cluster.apis(), 12);
    storm.goes_on(200).await;
    let place = cluster.leader(first).await;
    let leader = cluster.replicas.remove(place);
    let (dead, killed) = (leader.api, Instant::now());
    leader.kill().await;
    let survivor = cluster.replicas[0].api;
    cluster.leader(survivor).await;
    let took = killed.elapsed();
    storm.goes_on(100).await;
    let acknowledged = storm.end().await;
    eprintln!("a new leader {took:?} after the old one was killed; lease 3 s");

    expect_whole(&caller, &cluster.apis(), &acknowledged).await;
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
    let again = Program::serve(&cluster.place(place), &cluster.etcd.config()).await;
    assert_ne!(again.api, dead);
    assert_eq!(read_log(&caller, again.api).await.len() as u64, head + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcds_own_leader_dies_in_a_storm_of_purges_and_nothing_acknowledged_is_lost() {
    let Some(etcd) = Etcd::start_three().await else { return };
    let mut cluster = Cluster::start(etcd, 2).await;
    let caller = cluster.caller.clone();
    caller.must("PUT", cluster.replicas[0].api, "/v1/pops/ams", json!({"role": "edge"})).await;
    let node = cluster.node("ams", "n1").await;
    let storm = Storm::begin(&caller, &cluster.apis(), 8);
    storm.goes_on(100).await;
    let member = cluster.etcd.leader().await;
    cluster.etcd.kill(member).await;
    let killed = Instant::now();
    storm.goes_on(100).await;
    eprintln!("100 purges {:?} after etcd's leader was killed", killed.elapsed());
    cluster.etcd.revive(member).await;
    storm.goes_on(50).await;
    let acknowledged = storm.end().await;
    expect_whole(&caller, &cluster.apis(), &acknowledged).await;
    let head = read_log(&caller, cluster.replicas[1].api).await.len() as u64;
    until(async || (node.applied.load(Ordering::SeqCst) == head).then_some(())).await;
    assert_eq!(node.gaps.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_die_among_releases_and_no_published_change_is_lost() {
    let Some(etcd) = Etcd::start_three().await else { return };
    let mut cluster = Cluster::start(etcd, 3).await;
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
    let count = || published.lock().expect("no panic").len();
    let go_on = async |more: usize| {
        let enough = count() + more;
        until(async || (count() >= enough).then_some(())).await;
    };
    go_on(5).await;
    let place = cluster.leader(cluster.replicas[0].api).await;
    cluster.replicas.remove(place).kill().await;
    cluster.leader(cluster.replicas[0].api).await;
    go_on(3).await;
    let member = cluster.etcd.leader().await;
    cluster.etcd.kill(member).await;
    go_on(3).await;
    is_over.store(true, Ordering::Relaxed);
    within(publisher).await.expect("no panic");
    for replica in &cluster.replicas {
        until(async || {
            let list =
                caller.call("GET", replica.api, "/v1/properties", &Value::Null).await.ok()?;
            let list = list["properties"].as_array().expect("a list").clone();
            let ids: Vec<_> = list
                .iter()
                .map(|one| one["property"]["id"].as_str().expect("text").to_owned())
                .collect();
            let all = published.lock().expect("no panic");
            all.iter().all(|id| ids.contains(id)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_replica_without_the_keys_or_with_others_does_not_begin() {
    let Some(etcd) = Etcd::start().await else { return };
    let cluster = Cluster::start(etcd, 1).await;
    let (store, folder) = (cluster.etcd.config(), cluster.folder.path().join("stranger"));
    let serve = ["serve", "--api", "127.0.0.1:0", "--sync", "127.0.0.1:0"];
    let error = command(&folder, &store, &serve).await.expect_err("no keys");
    assert!(error.contains("ca.key, ca.pem, release.key, records.key"), "{error}");
    copy_keys(&cluster.folder.path().join("0"), &folder);
    // The authority of some other control plane.
    let other = cluster.folder.path().join("other");
    command(&other, &Config::default(), &["ca", "show"]).await.expect("it is made");
    for name in ["ca.key", "ca.pem"] {
        std::fs::copy(other.join("data").join(name), folder.join("data").join(name))
            .expect("there");
    }
    let error = command(&folder, &store, &serve).await.expect_err("other keys");
    assert!(error.contains("another authority"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_says_to_one_replica_counts_at_all_of_them() {
    let Some(etcd) = Etcd::start().await else { return };
    let cluster = Cluster::start(etcd, 2).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_ask_for_is_the_same_list_at_every_replica_and_no_node_counts_twice() {
    let Some(etcd) = Etcd::start().await else { return };
    let cluster = Cluster::start(etcd, 2).await;
    let caller = cluster.caller.clone();
    let apis = cluster.apis();
    for pop in ["ams", "fra"] {
        let path = format!("/v1/pops/{pop}");
        caller.must("PUT", apis[0], &path, json!({"role": "edge"})).await;
    }
    let asked = |path: &str, requests: u64| {
        let property = PropertyId::parse("demo").expect("good");
        Asked { property, path: path.to_owned(), requests, bytes: requests * 1000 }
    };
    let demand =
        |assets: Vec<Asked>| Some(Demand { period_ms: 1000, properties: Vec::new(), assets });
    let (first, second) = (cluster.node("ams", "n1").await, cluster.node("fra", "n1").await);
    let syncs: Vec<_> = cluster.replicas.iter().map(|replica| replica.sync).collect();
    let report = Report::default;
    let one = first.tells(syncs[0], report(), demand(vec![asked("/a", 30), asked("/b", 5)])).await;
    let two = second.tells(syncs[1], report(), demand(vec![asked("/a", 10)])).await;
    let top = async |api, pop: &str| {
        let path = format!("/v1/top?of=assets{pop}");
        let top = caller.call("GET", api, &path, &Value::Null).await.ok()?;
        let items = top["items"].as_array().expect("a list").iter();
        let items = items.map(|item| {
            let number = |name: &str| item[name].as_f64().expect("a number");
            let path = item["path"].as_str().expect("text").to_owned();
            (path, number("requests_per_s").round(), number("pops"))
        });
        Some((top["nodes"].as_u64()?, items.collect::<Vec<_>>()))
    };
    let item = |path: &str, requests: f64, pops: f64| (path.to_owned(), requests, pops);
    let is_like = async |api, pop: &str, expected: (u64, Vec<(String, f64, f64)>)| {
        until(async || (top(api, pop).await? == expected).then_some(())).await;
    };
    for api in &apis {
        is_like(*api, "", (2, vec![item("/a", 40.0, 2.0), item("/b", 5.0, 1.0)])).await;
        is_like(*api, "&pop=fra", (1, vec![item("/a", 10.0, 1.0)])).await;
    }
    // The second one goes over to the first replica: it counts there, and at the other one no more.
    two.abort();
    let two = second.tells(syncs[0], report(), demand(vec![asked("/a", 20)])).await;
    for api in &apis {
        is_like(*api, "", (2, vec![item("/a", 50.0, 2.0), item("/b", 5.0, 1.0)])).await;
    }
    one.abort();
    two.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_asked_through_whichever_replica_somebody_has() {
    let Some(etcd) = Etcd::start().await else { return };
    let cluster = Cluster::start(etcd, 2).await;
    let caller = cluster.caller.clone();
    let apis = cluster.apis();
    caller.must("PUT", apis[0], "/v1/pops/ams", json!({"role": "edge"})).await;
    let (one, two) = (cluster.node("ams", "n1").await, cluster.node("ams", "n2").await);
    let syncs: Vec<_> = cluster.replicas.iter().map(|replica| replica.sync).collect();
    let lanes = [
        one.reports(syncs[0], Report::default()).await,
        two.reports(syncs[1], Report::default()).await,
    ];
    for api in &apis {
        until(async || {
            let path = "/v1/pops/ams/log?deadline=20s";
            let log = caller.call("GET", *api, path, &Value::Null).await.ok()?;
            let why =
                |node: usize| log["nodes"][node]["why"].as_str().unwrap_or_default().to_owned();
            // Until a replica hears of what the other one hears, a node is away.
            let said = |node: usize| why(node) == format!("asked at {}", syncs[node]);
            (said(0) && said(1)).then_some(())
        })
        .await;
    }
    lanes.iter().for_each(tokio::task::JoinHandle::abort);
}
