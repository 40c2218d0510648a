//! etcd with three members over TLS: one dies and writes go on, and nobody gets in who is not of the cluster.
//!
//! What was acknowledged is there afterwards, once.

use std::{sync::Arc, time::Duration};

use prometheus::Registry;
use tempfile::TempDir;
use tidegate_contract::{
    id::{PurgeId, StreamId},
    purge::{PurgeOrder, PurgeTarget},
};
use tidegate_control::{
    metrics::Metrics,
    store::{Commit, Config, Key, Log, NewPurge, Page, Stores},
};

use crate::harness::{ClusterTls, Etcd, LIMIT, until};

async fn open(config: &Config) -> Result<Stores, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config.clone();
    // A slow disk is not to be taken for a cluster that is gone.
    if config.etcd.give_up_after == Config::default().etcd.give_up_after {
        config.etcd.give_up_after = LIMIT;
    }
    let opened = Stores::open(folder.path(), &config, Metrics::new(&Registry::new())).await;
    opened.map(|(stores, _)| stores).map_err(|error| error.to_string())
}

async fn log(stores: &Stores) -> Arc<dyn Log> {
    stores.log(StreamId::parse("main").expect("good"), 1000, 10).await.expect("it can be opened")
}

fn purge(n: u64) -> NewPurge {
    NewPurge {
        id: PurgeId::parse(format!("p{n}")).expect("good"),
        order: PurgeOrder { target: PurgeTarget::All, soft: false },
        replacement: None,
        replacement_digest: None,
        accepted_unix_ms: n,
        // An answer may be lost with the member that gave it: the same again is no second purge.
        idempotency_key: Some(format!("k{n}")),
    }
}

/// Purges and records, one after the other, each acknowledged before the next.
async fn write(stores: &Stores, log: &dyn Log, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        let appended = until(async || log.append(purge(n)).await.ok()).await;
        assert_eq!(appended.entry.offset, n, "in the order of arrival, none twice");
        let key = Key::parse(&format!("n/{n:03}")).expect("good");
        let put = Commit { puts: vec![(key, "x".into())], ..Commit::default() };
        until(async || stores.records.commit(put.clone()).await.ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_die_one_after_the_other_and_writes_go_on() {
    let Some(mut etcd) = Etcd::start_three().await else { return };
    let stores = open(&etcd.config()).await.expect("a cluster");
    let log = log(&stores).await;
    let ttl = LIMIT;
    let held = stores.lease.acquire("one", "a", ttl).await.expect("it answers").expect("free");
    let mut written = 0;
    // The one that leads, and then each of the others in turn.
    let leader = etcd.leader().await;
    for n in [leader, (leader + 1) % 3, (leader + 2) % 3] {
        write(&stores, log.as_ref(), written + 1..=written + 10).await;
        etcd.kill(n).await;
        write(&stores, log.as_ref(), written + 11..=written + 20).await;
        written += 20;
        etcd.revive(n).await;
    }
    until(async || log.is_current().then_some(())).await;
    let Page::Entries(entries) = log.read(0, 100).await.expect("readable") else { panic!("gone") };
    let ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str().to_owned()).collect();
    assert_eq!(ids, (1..=written).map(|n| format!("p{n}")).collect::<Vec<_>>());
    let records = stores.records.list("n/").await.expect("readable").records;
    assert_eq!(records.len() as u64, written);
    // The lease outlived every member that kept it.
    let fenced = Commit { expect: vec![held.fence().clone()], ..Commit::default() };
    stores.records.commit(fenced).await.expect("it is held");
}

#[tokio::test]
async fn who_is_not_of_the_cluster_is_refused_and_told_why() {
    let Some(etcd) = Etcd::start_three().await else { return };
    let good = etcd.config();
    open(&good).await.expect("the right files");
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let stranger = ClusterTls::make(folder.path());
    /// What is wrong with the configuration.
    type Wrong = fn(&mut Config, &ClusterTls);
    let cases: [(&str, Wrong, &str); 5] = [
        (
            "another authority signed the members",
            |config, stranger| config.etcd.ca_file = Some(stranger.authority.clone()),
            "invalid peer certificate",
        ),
        (
            "no certificate is shown",
            |config, _| (config.etcd.certificate_file, config.etcd.key_file) = (None, None),
            "certificate",
        ),
        (
            "another authority signed the certificate",
            |config, stranger| {
                config.etcd.certificate_file = Some(stranger.client.certificate.clone());
                config.etcd.key_file = Some(stranger.client.key.clone());
            },
            "certificate",
        ),
        (
            "a certificate without its key",
            |config, _| config.etcd.key_file = None,
            "certificate_file and key_file belong together",
        ),
        ("no authority to believe", |config, _| config.etcd.ca_file = None, "https needs ca_file"),
    ];
    for (case, change, expected) in cases {
        let mut config = good.clone();
        config.etcd.give_up_after = Duration::from_millis(500);
        change(&mut config, &stranger);
        let error = open(&config).await.err().unwrap_or_else(|| panic!("{case}: let in"));
        assert!(error.to_lowercase().contains(&expected.to_lowercase()), "{case}: {error}");
    }
}
