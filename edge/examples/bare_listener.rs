//! The listener with the least app behind it: what H1, H2 and TLS cost by themselves.
//!
//! `cargo run --release -p tidegate-edge --example bare_listener -- 127.0.0.1:8443 127.0.0.1:8080` serves `/N` with N
//! bytes from memory, with TLS on the first address and without on the second. Measure with
//! `wrk -t1 -c16 -d5 https://127.0.0.1:8443/4096` or `h2load -t1 -c8 -m4 -D5 https://127.0.0.1:8443/4096`; every second
//! it prints how much processor time the requests since the last line took, each.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_chassis::Drain;
use tidegate_edge::{
    cache::fields::Fields,
    listener::{
        Config, Listener,
        stream::{App, Request, ResponseHead, Stream, StreamLost},
    },
};

/// Answers `/N` with N bytes.
struct Memory {
    stored: Fields,
    content: Bytes,
    answered: AtomicU64,
}

impl Memory {
    fn new() -> Self {
        let mut stored = HeaderMap::new();
        for (name, value) in [
            ("content-type", "video/mp4"),
            ("cache-control", "public, max-age=3600"),
            ("etag", "\"5f3e-0123456789abcdef\""),
            ("last-modified", "Sat, 21 Nov 2026 05:51:46 GMT"),
            ("accept-ranges", "bytes"),
            ("via", "1.1 tidegate"),
        ] {
            stored.insert(name, HeaderValue::from_static(value));
        }
        let content = (0..CONTENT_BYTES).map(|i| (i * 31) as u8).collect::<Vec<_>>().into();
        Self { stored: Fields::new(stored), content, answered: AtomicU64::new(0) }
    }

    async fn answer<S: Stream>(&self, request: &Request, stream: &mut S) -> Result<(), StreamLost> {
        let length = request.target.path()[1..].parse().unwrap_or(0).min(CONTENT_BYTES);
        let own = [
            (
                HeaderName::from_static("date"),
                HeaderValue::from_static("Sat, 21 Nov 2026 05:51:46 GMT"),
            ),
            (HeaderName::from_static("age"), HeaderValue::from_static("17")),
            (
                HeaderName::from_static("cache-status"),
                HeaderValue::from_static("tidegate; hit; ttl=3583"),
            ),
        ];
        let head = ResponseHead {
            status: StatusCode::OK,
            stored: Some(&self.stored),
            own: &own,
            length: Some(length as u64),
        };
        stream.head(&head, length == 0)?;
        let mut left = self.content.slice(..length);
        while !left.is_empty() {
            let piece = left.split_to(left.len().min(PIECE_BYTES));
            stream.send(piece, left.is_empty()).await?;
        }
        stream.finish().await
    }
}

impl App for Memory {
    async fn serve<S: Stream>(&self, request: Request, mut stream: S) -> S {
        // A client may leave at any time.
        let _ = self.answer(&request, &mut stream).await;
        self.answered.fetch_add(1, Ordering::Relaxed);
        stream
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tidegate_chassis::init_crypto();
    let addresses = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<Vec<SocketAddr>, _>>()?;
    let [https, http] = addresses[..] else { anyhow::bail!("usage: bare_listener HTTPS HTTP") };
    let mut config =
        Config { http: vec![http], https: vec![https], h3: false, workers: 1, ..Config::default() };
    config.tls.self_signed = true;
    config.limits.requests_per_connection_max = u32::MAX;
    let listener = Listener::bind(&config, &prometheus::Registry::new()).await?;
    let memory = Arc::new(Memory::new());
    let report = tokio::spawn(report(memory.clone()));
    listener.serve(memory, Drain::new()).await?;
    report.abort();
    Ok(())
}

/// Says every second what the requests since the last line took.
async fn report(memory: Arc<Memory>) {
    use std::io::Write;
    let (mut ticks, mut before) = (tokio::time::interval(Duration::from_secs(1)), (0, 0));
    loop {
        ticks.tick().await;
        let now = (memory.answered.load(Ordering::Relaxed), processor_ns());
        let (answered, spent) = (now.0 - before.0, now.1 - before.1);
        before = now;
        if answered > 0 && spent > 0 {
            let per_second = answered as f64 * 1e9 / spent as f64;
            // A report that cannot be written is read by nobody.
            let _ = writeln!(
                std::io::stdout(),
                "{answered} requests, {per_second:.0} for a second of the processor"
            );
        }
    }
}

/// Processor time of all threads so far, from the scheduler's accounts.
fn processor_ns() -> u64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let spent = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(Result::ok).filter_map(spent).sum()
}

const CONTENT_BYTES: usize = 16 << 20;
/// As the cache cuts objects.
const PIECE_BYTES: usize = 48 * 1024;
