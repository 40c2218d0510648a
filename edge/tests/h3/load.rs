//! Load on a listener that [`crate::serve`] started, and what it costs the server in CPU time.
//!
//! `H3_TARGET=127.0.0.1:4433 H3_PID=… H3_PATH=/bytes/4096 cargo test --release -p tidegate-edge --test h3 -- \
//! --ignored --nocapture load`, with `H3_CONNECTIONS`, `H3_STREAMS` and `H3_SECONDS` to change the rest.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;

use crate::harness::{client, raw};

#[tokio::test]
#[ignore = "needs a listener; for measuring"]
async fn load() {
    tidegate_chassis::init_crypto();
    let variable = |name: &str| std::env::var(name).ok();
    let number =
        |name: &str, default: u64| variable(name).map_or(default, |text| text.parse().unwrap());
    let target = variable("H3_TARGET").unwrap().parse().unwrap();
    let path = variable("H3_PATH").unwrap();
    let pid = number("H3_PID", 0);
    let streams = number("H3_STREAMS", 4);
    let request: Arc<[u8]> = raw::request("GET", &path, &[]).into();
    let (requests, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut connections = Vec::new();
    for _ in 0..number("H3_CONNECTIONS", 8) {
        let endpoint = client::endpoint(client::trusting());
        let connection = endpoint.connect(target, "localhost").unwrap().await.unwrap();
        connections.push((endpoint, connection));
    }
    let begun = (Instant::now(), cpu_time(pid));
    let tasks = connections.iter().flat_map(|connection| (0..streams).map(move |_| connection));
    let tasks: Vec<_> = tasks
        .map(|(_, connection)| {
            let (connection, request) = (connection.clone(), request.clone());
            let (requests, bytes) = (requests.clone(), bytes.clone());
            let is_over = is_over.clone();
            tokio::spawn(async move {
                while !is_over.load(Relaxed) {
                    let (mut send, mut recv) = connection.open_bi().await.unwrap();
                    send.write_all(&request).await.unwrap();
                    send.finish().unwrap();
                    let mut length = 0;
                    while let Some(chunk) = recv.read_chunk(usize::MAX, false).await.unwrap() {
                        length += chunk.bytes.len() as u64;
                    }
                    bytes.fetch_add(length, Relaxed);
                    requests.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(number("H3_SECONDS", 3))).await;
    let (wall, cpu) = (begun.0.elapsed(), cpu_time(pid) - begun.1);
    let (requests, bytes) = (requests.load(Relaxed) as f64, bytes.load(Relaxed) as f64);
    is_over.store(true, Relaxed);
    join_all(tasks).await;
    let cpu = cpu.as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{path}: {requests} requests in {:.2} s wall, {cpu:.2} s CPU: {:.0} requests and {:.3} GB per CPU second",
        wall.as_secs_f64(),
        requests / cpu,
        bytes / cpu / 1e9,
    )
    .unwrap();
}

/// Time that all threads of a process have run (`/proc/PID/task/*/schedstat`).
fn cpu_time(pid: u64) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
