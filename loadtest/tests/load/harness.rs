//! What the stories of runs stand on: a scripted media server, plans for it, and runs in this process.
//!
//! Invariant: the server does exactly what its script says, on a thread of its own; times of a script are what viewers
//! must measure.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tidegate_load::{
    results::{Interval, Results},
    run::{RunError, RunPlan, Stop, Watch, execute, judge, prepare},
    scenario::{Overrides, Variables, load},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the server does with one path.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Before the head of the answer.
    pub(crate) delay: Duration,
    /// A file whose content is the ETag.
    pub(crate) etag_file: Option<std::path::PathBuf>,
}

/// A request as the server saw it: path, and the session that sent it (`sid` of CMCD).
pub(crate) type Seen = (String, String);

#[derive(Default)]
struct Script {
    answers: BTreeMap<String, Answer>,
    /// From the first request on: nothing is answered from one time to another.
    freeze: Option<(Duration, Duration)>,
    began: Option<Instant>,
    seen: Vec<Seen>,
}

/// A server that does what it is told.
#[derive(Clone)]
pub(crate) struct FakeMedia {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl FakeMedia {
    pub(crate) fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let (say, hear) = std::sync::mpsc::channel();
        let shared = script.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                say.send(listener.local_addr().unwrap()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, shared.clone()));
                }
            });
        });
        Self { addr: hear.recv().unwrap(), script }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) -> &Self {
        self.script.lock().unwrap().answers.insert(path.to_owned(), answer);
        self
    }

    /// A video on demand of one rendition below a folder: so many segments of so many seconds. Its bitrate is exact.
    pub(crate) fn video(&self, folder: &str, segments: usize, seconds: f64, bitrate: u64) -> &Self {
        let ok = |body: Vec<u8>| Answer { status: 200, body, ..Answer::default() };
        let master = format!(
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH={bitrate},CODECS=\"avc1.64001f,mp4a.40.2\"\nmedia.m3u8\n"
        );
        let mut media = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n",
            seconds.ceil()
        );
        let bytes = (bitrate as f64 * seconds / 8.0) as usize;
        for number in 0..segments {
            media.push_str(&format!("#EXTINF:{seconds:.3},\n{number}.ts\n"));
            self.answer(&format!("{folder}/{number}.ts"), ok(vec![0; bytes]));
        }
        media.push_str("#EXT-X-ENDLIST\n");
        self.answer(&format!("{folder}/master.m3u8"), ok(master.into_bytes()));
        self.answer(&format!("{folder}/media.m3u8"), ok(media.into_bytes()))
    }

    /// Delays what is there already.
    pub(crate) fn delay(&self, path: &str, delay: Duration) -> &Self {
        self.script.lock().unwrap().answers.get_mut(path).unwrap().delay = delay;
        self
    }

    /// Answers nothing from one time to another after the first request.
    pub(crate) fn freeze(&self, from: Duration, to: Duration) -> &Self {
        self.script.lock().unwrap().freeze = Some((from, to));
        self
    }

    /// What was asked for, sorted; and forgets it.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut self.script.lock().unwrap().seen);
        seen.sort();
        seen
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).ok()?;
        let path = head.split(' ').nth(1)?.split('?').next()?.to_owned();
        let sid = head.split("sid=\"").nth(1).and_then(|rest| rest.split('"').next());
        let (answer, wait) = {
            let mut script = script.lock().unwrap();
            let began = *script.began.get_or_insert_with(Instant::now);
            script.seen.push((path.clone(), sid.unwrap_or_default().to_owned()));
            let frozen = script.freeze.and_then(|(from, to)| {
                let now = began.elapsed();
                (from..to).contains(&now).then(|| to - now)
            });
            let missing = Answer { status: 404, ..Answer::default() };
            let answer = script.answers.get(&path).cloned().unwrap_or(missing);
            let wait = answer.delay + frozen.unwrap_or_default();
            (answer, wait)
        };
        tokio::time::sleep(wait).await;
        let etag = answer.etag_file.map(|file| std::fs::read_to_string(file).unwrap_or_default());
        let etag = etag.map(|etag| format!("ETag: \"{}\"\r\n", etag.trim())).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} Scripted\r\nContent-Length: {}\r\n{etag}\r\n",
            answer.status,
            answer.body.len()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(&answer.body).await.ok()?;
    }
}

/// A scenario's text with arrivals and limits that a busy machine does not break; `more` is added to its tables.
pub(crate) fn scenario(urls: &[String], profile: &str, duration: &str, more: &str) -> String {
    let urls: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
    format!(
        "name = \"story\"\n[target]\nurls = [{}]\n[arrivals]\nprofile = {profile}\nspacing = \"even\"\n\
         duration = \"{duration}\"\nstart_within = \"60s\"\n[rig]\nworkers = 1\ncpu_max = 1000\n\
         loop_lag_max = \"1h\"\nschedule_error_max = \"1h\"\nclock_error_max = \"1h\"\n{more}",
        urls.join(",")
    )
}

/// The plan of a scenario.
pub(crate) async fn plan(text: &str) -> RunPlan {
    let scenario = load(text, "story", &Variables::default(), &Overrides::default()).unwrap();
    RunPlan {
        inputs: prepare(&scenario).await.unwrap(),
        scenario,
        part: 0,
        of: 1,
        has_faults: true,
        scenario_text: text.to_owned(),
    }
}

/// Tells a story about times, and again when it did not go as it should: a busy machine is late by itself, and what is
/// wrong is wrong every time.
pub(crate) fn undisturbed(story: fn()) {
    for _ in 1..TELLINGS_MAX {
        if std::panic::catch_unwind(story).is_ok() {
            return;
        }
    }
    story();
}

/// Runs a scenario on this machine.
pub(crate) fn run(text: &str) -> Results {
    in_local_set(async { run_plan(&plan(text).await).await.unwrap() })
}

pub(crate) async fn run_plan(plan: &RunPlan) -> Result<Results, RunError> {
    let mut results = execute(plan, &Stop::default(), &mut Nobody).await?;
    judge(&mut results, &plan.scenario);
    Ok(results)
}

pub(crate) fn in_local_set<T>(work: impl Future<Output = T>) -> T {
    tidegate_chassis::init_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// Watches nothing.
pub(crate) struct Nobody;

impl Watch for Nobody {
    fn second(&mut self, _: &Interval, _: Option<&Results>) {}

    fn note(&mut self, _: &str) {}
}

const TELLINGS_MAX: usize = 6;
/// One viewer, at once.
pub(crate) const ONE: &str = "{ kind = \"burst\", count = 1, over = \"1ms\" }";
