//! What the control plane tells: one connection to each of its replicas, line by line, for as long as the node runs.
//!
//! Invariant: a replica that is silent for longer than [`SILENCE_MAX`] is left and asked again; nothing that it sends is
//! larger than one line may be, and nothing of it is taken unchecked.

mod lines; // lines out of bytes
mod replicas; // which of several views counts

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use reqwest::{Certificate, Client, Url, header, redirect::Policy};
use tidegate_chassis::{Clock, Drain, Secret};
use tidegate_contract::geo_feed::{FEED_LINE_BYTES_MAX, FeedLine, FleetView, QUESTIONS_NEWEST};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::lines::Lines;
pub(super) use self::replicas::Replicas;
use super::{inbox::Inbox, metrics::Metrics, questions::Answers, told};

/// A replica that says nothing for so long is not there: it beats every second.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// The waits between two tries: drawn from zero to a bound that doubles.
const WAIT_MIN: Duration = Duration::from_millis(200);
/// The longest of those bounds.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Questions of operators that are answered at one time, for each replica.
const QUESTIONS_MAX: usize = 4;

/// What all followers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) inbox: Arc<Inbox>,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) replicas: Arc<Mutex<Replicas>>,
    /// Every view that counts, for zones and steering.
    pub(super) views: Arc<watch::Sender<Arc<FleetView>>>,
    pub(super) answers: Answers,
}

/// Follows one replica.
pub(super) struct Follower {
    number: usize,
    url: Url,
    node: String,
    token_file: PathBuf,
    ca_file: Option<PathBuf>,
    shared: Shared,
}

/// A way to a replica: made anew for each connection, so that a new token or authority is taken up.
#[derive(Clone)]
struct Way {
    http: Client,
    token: Secret,
}

impl Follower {
    pub(super) fn new(
        number: usize,
        url: Url,
        files: (PathBuf, Option<PathBuf>),
        node: String,
        shared: Shared,
    ) -> Self {
        let (token_file, ca_file) = files;
        Self { number, url, node, token_file, ca_file, shared }
    }

    /// Follows until the drain.
    pub(super) async fn run(self, drain: Drain) {
        let mut failures = 0u32;
        let mut said = String::new();
        loop {
            let mut lines = 0u64;
            let ended = tokio::select! {
                () = drain.started() => return,
                ended = self.follow(&mut lines) => ended,
            };
            if lines > 0 {
                self.shared.metrics.replicas.dec();
                self.weigh(|replicas, now| replicas.lose(self.number, now));
                failures = 0;
            }
            let why = ended.map_or_else(|error| format!("{error:#}"), |()| "it ended".to_owned());
            // The same failure again and again is said once.
            if lines > 0 || why != said {
                let replica = self.url.host_str().unwrap_or_default();
                tracing::warn!(replica, why, "a replica of the control plane is not heard");
                said = why;
            }
            let bound =
                WAIT_MIN.saturating_mul(2u32.saturating_pow(failures.min(16))).min(WAIT_MAX);
            failures = failures.saturating_add(1);
            tokio::select! {
                () = drain.started() => return,
                () = sleep(bound.mul_f64(rand::random::<f64>())) => {}
            }
        }
    }

    /// One connection, to its end. `lines` counts what was heard.
    async fn follow(&self, lines_heard: &mut u64) -> anyhow::Result<()> {
        let way = self.way()?;
        let mut feed = self.url.join("v1/geo/feed").context("the URL of the feed")?;
        feed.query_pairs_mut()
            .append_pair("node", &self.node)
            .append_pair("questions", &QUESTIONS_NEWEST.to_string());
        let asked = way.http.get(feed).bearer_auth(way.token.expose()).send();
        let mut answer = timeout(SILENCE_MAX, asked)
            .await
            .context("no answer")?
            .map_err(reqwest::Error::without_url)?;
        ensure!(answer.status().is_success(), "answered {}", answer.status());
        let mut lines = Lines::new(FEED_LINE_BYTES_MAX);
        let questions = Arc::new(Semaphore::new(QUESTIONS_MAX));
        let mut answering = JoinSet::new();
        loop {
            while answering.try_join_next().is_some() {}
            let read = timeout(SILENCE_MAX, answer.chunk()).await.context("it says nothing")?;
            let Some(bytes) = read.map_err(reqwest::Error::without_url)? else { return Ok(()) };
            let mut heard = Vec::new();
            lines.push(&bytes, |line| heard.push(serde_json::from_slice::<FeedLine>(line)))?;
            for line in heard {
                let line = line.context("a line that is none of the feed")?;
                if *lines_heard == 0 {
                    tracing::info!(replica = self.url.host_str(), "the control plane is heard");
                    self.shared.metrics.replicas.inc();
                }
                *lines_heard += 1;
                self.take(line, &way, &questions, &mut answering);
            }
        }
    }

    fn take(
        &self,
        line: FeedLine,
        way: &Way,
        questions: &Arc<Semaphore>,
        answering: &mut JoinSet<()>,
    ) {
        let Shared { inbox, metrics, clock, .. } = &self.shared;
        let now = clock.now();
        inbox.tell(|news| news.heard = Some(now));
        let kind = match line {
            FeedLine::Beat {} => {
                // What replicas agree on may count by now.
                self.weigh(Replicas::weigh);
                "beat"
            }
            FeedLine::Fleet(view) => {
                self.take_view(*view);
                "fleet"
            }
            FeedLine::RoundTrips(batch) => {
                match batch.check() {
                    Ok(()) => inbox.measured(batch),
                    Err(error) => {
                        metrics.refused.with_label_values(&["round_trips"]).inc();
                        tracing::debug!(%error, "round trips are refused");
                    }
                }
                "round_trips"
            }
            FeedLine::Question { id, question } => {
                // Whoever asks too much is not answered; the other side gives up by itself.
                if let Ok(permit) = Arc::clone(questions).try_acquire_owned() {
                    let (answers, way, url) =
                        (self.shared.answers.clone(), way.clone(), self.url.clone());
                    answering.spawn(async move {
                        let _permit = permit;
                        let answer = answers.answer(question).await;
                        if let Err(error) = way.post(&url, id, &answer).await {
                            tracing::debug!(%error, "a question was answered to nobody");
                        }
                    });
                }
                "question"
            }
        };
        metrics.lines.with_label_values(&[kind]).inc();
    }

    fn take_view(&self, view: FleetView) {
        let metrics = &self.shared.metrics;
        if let Err(error) = told::fleet(&view) {
            metrics.refused.with_label_values(&["fleet"]).inc();
            tracing::error!(%error, version = view.version, "a fleet is refused; the one before serves on");
            return;
        }
        self.weigh(|replicas, now| replicas.take(self.number, view, now));
    }

    /// Tells what counts, when that is something else now.
    fn weigh(&self, weigh: impl FnOnce(&mut Replicas, SystemTime) -> Option<Arc<FleetView>>) {
        let Shared { inbox, replicas, views, clock, .. } = &self.shared;
        // Told under the lock: of two replicas the one that counts must also be the one that is heard last.
        let mut replicas = replicas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = weigh(&mut replicas, clock.now()) {
            tracing::info!(version = view.version, pops = view.pops.len(), "the fleet is told");
            inbox.tell(|news| news.view = Some(Arc::clone(&view)));
            views.send_replace(view);
        }
    }

    fn way(&self) -> anyhow::Result<Way> {
        let token = token(&self.token_file)?;
        let mut http = Client::builder()
            .connect_timeout(SILENCE_MAX)
            .no_proxy()
            .redirect(Policy::none())
            .tcp_nodelay(true);
        if let Some(path) = &self.ca_file {
            let named = || format!("control.ca_file {}", path.display());
            let pem = fs::read(path).with_context(named)?;
            http = http.tls_certs_only(Certificate::from_pem_bundle(&pem).with_context(named)?);
        }
        Ok(Way { http: http.build()?, token })
    }
}

impl Way {
    async fn post(&self, url: &Url, id: u64, answer: &serde_json::Value) -> anyhow::Result<()> {
        let url = url.join(&format!("v1/geo/answers/{id}"))?;
        let body = serde_json::to_vec(answer)?;
        if body.len() > ANSWER_BYTES_MAX {
            bail!("an answer of {} bytes", body.len());
        }
        let post = self.http.post(url).bearer_auth(self.token.expose());
        let post = post.header(header::CONTENT_TYPE, "application/json").body(body);
        let answer = post.timeout(SILENCE_MAX).send().await.map_err(reqwest::Error::without_url)?;
        ensure!(answer.status().is_success(), "answered {}", answer.status());
        Ok(())
    }
}

/// A token, out of a file that nobody else may read.
pub(super) fn token(path: &Path) -> anyhow::Result<Secret> {
    let named = || format!("control.token_file {}", path.display());
    let mode = fs::metadata(path).with_context(named)?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{}: others may read it: its mode is not 0600", named());
    let text = fs::read_to_string(path).with_context(named)?;
    let token = text.trim();
    ensure!(!token.is_empty(), "{}: it is empty", named());
    header::HeaderValue::try_from(token)
        .map_err(io::Error::other)
        .with_context(|| format!("{}: no token", named()))?;
    Ok(Secret::new(token))
}

/// The largest answer to a question.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        for (text, mode, is_good) in [
            (" secret\n", 0o600, true),
            ("secret", 0o640, false),
            ("\n", 0o600, false),
            ("a\nb", 0o600, false),
        ] {
            fs::write(&path, text).expect("writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            let token = token(&path);
            assert_eq!(token.is_ok(), is_good, "{text:?} {mode:o}");
            if let Ok(token) = token {
                assert_eq!(token.expose(), "secret");
            }
        }
    }
}
