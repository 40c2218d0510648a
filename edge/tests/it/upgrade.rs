//! A new process takes over from an old one, with real processes: nobody is refused, nothing is cut.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use crate::harness::{
    FakeOrigin, Gate, PATIENCE, PROTOCOLS,
    client::{Ask, Client, Open},
    eventually, noise,
    process::Running,
    reply,
};

/// Clients that come one after the other over all protocols, until told to stop; how many were served.
fn newcomers(
    client: &Client,
    all: &Arc<AtomicUsize>,
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<usize> {
    let (client, stop, all) = (client.clone(), stop.clone(), all.clone());
    tokio::spawn(async move {
        let mut served = 0;
        while !stop.load(SeqCst) {
            for protocol in PROTOCOLS {
                let answer = client.ask(protocol, &Ask::get("/small")).await;
                let answer =
                    answer.unwrap_or_else(|error| panic!("{protocol:?} {served}: {error}"));
                answer.expect_status(200).expect_body("small");
                served += 1;
                all.fetch_add(1, SeqCst);
            }
        }
        served
    })
}

async fn rest(mut open: Open, read: &AtomicUsize) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = open.read().await.unwrap() {
        read.fetch_add(bytes.len(), SeqCst);
        all.extend_from_slice(&bytes);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_cuts_no_download_and_refuses_nobody() {
    const BYTES: usize = 6_000_000;
    const AT_FIRST: usize = 1_000_000;
    let (origin, gate) = (FakeOrigin::start().await, Gate::closed());
    let large = reply(200).body(noise(BYTES)).paused_after(AT_FIRST, &gate);
    origin
        .on("/large", large.cache_control("max-age=600"))
        .on("/small", reply(200).body("small").cache_control("max-age=600"))
        .on("/kept", reply(200).body("kept").cache_control("max-age=600"));
    let mut node = Running::before(&origin).await;
    node.client.ask(PROTOCOLS[0], &Ask::get("/kept")).await.unwrap().expect_status(200);
    node.expect_metric("edge_cache_disk_objects", 1.0).await;

    // A download over each protocol is in the middle.
    let (mut downloads, mut progress) = (Vec::new(), Vec::new());
    for protocol in PROTOCOLS {
        let open = node.client.open(protocol, &Ask::get("/large")).await.unwrap();
        let read = Arc::new(AtomicUsize::new(0));
        progress.push(read.clone());
        downloads.push(tokio::spawn(async move { rest(open, &read).await }));
    }
    eventually("all have some of it", || {
        progress.iter().all(|read| read.load(SeqCst) >= AT_FIRST / 2)
    })
    .await;

    let stop = Arc::new(AtomicBool::new(false));
    let all = Arc::new(AtomicUsize::new(0));
    let coming: Vec<_> = (0..4).map(|_| newcomers(&node.client, &all, &stop)).collect();
    let before = node.ready_inode();
    node.ask_for_upgrade();
    node.upgraded(before).await;
    node.expect_metric("edge_requests_total", 1.0).await;
    assert_eq!(node.first.try_wait().unwrap(), None, "it still has downloads");
    // The old one still has the disk, and the new one serves without.
    let kept = node.client.ask(PROTOCOLS[0], &Ask::get("/kept")).await.unwrap();
    kept.expect_status(200).expect_cache("fwd=uri-miss");

    gate.open();
    for download in downloads {
        let body = tokio::time::timeout(PATIENCE, download).await.unwrap().unwrap();
        assert!(body == noise(BYTES), "{} bytes", body.len());
    }
    let first = &mut node.first;
    eventually("the old process has ended", || first.try_wait().unwrap().is_some()).await;
    assert!(node.first.wait().unwrap().success());
    node.expect_metric("edge_cache_disk_objects", 1.0).await;
    eventually("200 clients came", || {
        all.load(SeqCst) >= 200 || coming.iter().any(|newcomer| newcomer.is_finished())
    })
    .await;
    stop.store(true, SeqCst);
    let mut served = 0;
    for newcomer in coming {
        served += newcomer.await.unwrap();
    }
    assert!(served >= 200, "only {served} clients came meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_start_changes_nothing_and_the_next_takes_the_disk_over() {
    let origin = FakeOrigin::start().await;
    origin
        .on("/small", reply(200).body("small").cache_control("max-age=600"))
        .on("/kept", reply(200).body("kept").cache_control("max-age=600"));
    let mut node = Running::before(&origin).await;
    let pid = node.pid();
    node.install(Path::new("/bin/false"));
    let stop = Arc::new(AtomicBool::new(false));
    let coming = newcomers(&node.client, &Arc::default(), &stop);
    node.ask_for_upgrade();
    node.expect_metric("edge_upgrades_total{outcome=\"failed\"}", 1.0).await;
    node.install(&node.folder.path().join("missing"));
    node.ask_for_upgrade();
    node.expect_metric("edge_upgrades_total{outcome=\"failed\"}", 2.0).await;
    stop.store(true, SeqCst);
    assert!(coming.await.unwrap() > 0);
    assert_eq!((node.pid(), node.first.try_wait().unwrap()), (pid, None));

    node.client.ask(PROTOCOLS[0], &Ask::get("/kept")).await.unwrap().expect_status(200);
    node.expect_metric("edge_cache_disk_objects", 2.0).await;
    node.install(Path::new(env!("CARGO_BIN_EXE_tidegate-edge")));
    for round in 1..=2 {
        let (before, pid) = (node.ready_inode(), node.pid());
        node.ask_for_upgrade();
        node.upgraded(before).await;
        eventually("the old process has ended", || {
            // The first is a child of this one, which has to be told that it ended.
            let _ = node.first.try_wait();
            !Path::new(&format!("/proc/{pid}")).exists()
        })
        .await;
        // Once more, by another process, which has taken over what the first one wrote.
        node.expect_metric("edge_cache_disk_objects", 2.0).await;
        let kept = node.client.ask(PROTOCOLS[2], &Ask::get("/kept")).await.unwrap();
        kept.expect_status(200).expect_body("kept").expect_cache("hit");
        assert_eq!(origin.count("/kept"), 1, "{round}");
    }
    assert!(node.first.wait().unwrap().success());
}
