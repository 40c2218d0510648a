//! Bytes that one client CPU-second reads, against a server that runs already; and what idle sessions hold in memory.
//!
//! ```text
//! cargo bench -p tidegate-load --bench net -- https://127.0.0.1:8443/1m.bin h1,h2,h3 50 5
//! ```
//! The URL, protocols, sessions, seconds, and perhaps `new`: a connection for each request, resumed and with 0-RTT data
//! where the server lets it; or `every=4s rate=20`: so many sessions begin a second, each with two requests, and go on with one in that
//! time, as players do; which is what connections hold without them. Beside it belong `wrk`, `h2load` and `oha` on the same URL. Any certificate
//! is taken. One thread reads, so its CPU time is the client's.
//!
//! Against nginx 1.26.3 on the other core of a two-core machine that had other work too (per client CPU-second, 20
//! connections for 1 MiB, 500 for 2 KiB):
//!
//! | | ours | wrk, h2load |
//! |---|---|---|
//! | HTTP/1.1 over TLS, 1 MiB | 18.1 Gbit | 12.3 to 13.7 Gbit |
//! | HTTP/2, 1 MiB | 11.8 to 12.5 Gbit | 12.1 to 12.5 Gbit |
//! | HTTP/3, 1 MiB | 5.5 to 5.6 Gbit | |
//! | HTTP/1.1 without TLS, 1 MiB | 39.9 Gbit | 34.1 Gbit |
//! | HTTP/1.1 over TLS, 2 KiB | 62,800 requests | 35,800 requests |
//! | HTTP/2, 2 KiB | 31,900 requests | 27,500 requests |
//! | HTTP/3, 2 KiB | 19,300 requests | |
//!
//! An idle session then held 14 KB over HTTP/1.1, 45 KB over HTTP/2 (28 of them the buffers of the h2 crate, which is no
//! longer used) and 52 KB over HTTP/3, TLS and QUIC included.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use tidegate_load::{
    kind::Protocol,
    net::{Ask, Net, NetConfig, Session, SessionPlan},
};
use tikv_jemallocator::Jemalloc;
use tokio::task::LocalSet;
use url::Url;

/// As the program has it, so that what sessions hold is compared alike.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One measurement.
struct Run {
    url: Url,
    protocol: Protocol,
    sessions: usize,
    time: Duration,
    /// A connection for each request.
    is_new: bool,
    /// From one request of a session to its next; none that follow at once.
    every: Option<Duration>,
    /// How many begin a second; all at once when it is nothing.
    rate: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    let [url, protocols, sessions, seconds, rest @ ..] = &arguments[..] else {
        return say("usage: net URL h1,h2,h3 SESSIONS SECONDS [new]");
    };
    let url = Url::parse(url).expect("a URL");
    for protocol in protocols.split(',') {
        let protocol = match protocol {
            "h1" => Protocol::H1,
            "h2" => Protocol::H2,
            "h3" => Protocol::H3,
            other => return say(&format!("{other} is not h1, h2 or h3")),
        };
        let run = Run {
            url: url.clone(),
            protocol,
            sessions: sessions.parse().expect("a number of sessions"),
            time: Duration::from_secs(seconds.parse().expect("a number of seconds")),
            is_new: rest.iter().any(|word| word == "new"),
            every: rest
                .iter()
                .find_map(|word| humantime::parse_duration(word.strip_prefix("every=")?).ok()),
            rate: rest
                .iter()
                .find_map(|word| word.strip_prefix("rate=")?.parse().ok())
                .unwrap_or(f64::INFINITY),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        LocalSet::new().block_on(&runtime, run.measure());
    }
}

impl Run {
    async fn measure(&self) {
        let net = Net::new(NetConfig { insecure: true, ..NetConfig::default() });
        let net = net.expect("a network");
        let before = resident();
        let plan = SessionPlan {
            resumes: self.is_new,
            early_data: self.is_new,
            new_connection_every: self.is_new.then_some(1),
            ..SessionPlan::new(self.protocol)
        };
        let sessions: Vec<Rc<Session>> =
            (0..self.sessions).map(|_| Rc::new(net.session(plan.clone()))).collect();
        for session in sessions.iter().filter(|_| self.every.is_none()) {
            let fetched = session.fetch(self.ask(), &mut |_| {}).await;
            if let Err(failure) = fetched.outcome {
                return say(&format!("{:?}: {failure}", self.protocol));
            }
        }
        let held = resident().saturating_sub(before) / self.sessions.max(1);

        let (bytes, fetches, failures) = <(Rc<Cell<u64>>, Rc<Cell<u64>>, Rc<Cell<u64>>)>::default();
        let (began, cpu) = (Instant::now(), cpu());
        let mut tasks = tokio::task::JoinSet::new();
        for (number, session) in sessions.into_iter().enumerate() {
            let every = self.every.unwrap_or_default();
            let mut due = began + Duration::from_secs_f64(number as f64 / self.rate);
            let (ask, end) = (self.ask(), began + self.time);
            let (bytes, fetches, failures) = (bytes.clone(), fetches.clone(), failures.clone());
            tasks.spawn_local(async move {
                for round in 0_u32.. {
                    if Instant::now().max(due) >= end {
                        break;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    // The first two follow at once.
                    due += if round == 0 { Duration::ZERO } else { every };
                    let fetched = session.fetch(ask.clone(), &mut |_| {}).await;
                    bytes.set(bytes.get() + fetched.bytes);
                    fetches.set(fetches.get() + 1);
                    failures.set(failures.get() + u64::from(fetched.outcome.is_err()));
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_since(cpu));
        let gbit = bytes.get() as f64 * 8.0 / 1e9;
        say(&format!(
            "{:?}: {:.2} Gbit/s, {:.2} Gbit per CPU-second, {:.0} requests per CPU-second, CPU {:.0} %, \
             {} of {} failed, {held} bytes held per idle session, {} bytes at most in all",
            self.protocol,
            gbit / took,
            gbit / cpu,
            fetches.get() as f64 / cpu,
            100.0 * cpu / took,
            failures.get(),
            fetches.get(),
            resident_peak(),
        ));
        if self.is_new {
            let counters = net.counters();
            say(&format!(
                "{:.0} connections per CPU-second: {counters:?}",
                counters.opened as f64 / cpu
            ));
        }
    }

    fn ask(&self) -> Ask {
        Ask {
            url: self.url.clone(),
            range: None,
            headers: Vec::new(),
            urgency: 3,
            keep: None,
            hash: false,
            timeout: Duration::from_secs(60),
        }
    }
}

/// Nanoseconds that this thread has run.
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn cpu_since(before: u64) -> f64 {
    (cpu() - before) as f64 / 1e9
}

/// Bytes of memory that are ours.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// The most of them that there were.
fn resident_peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
