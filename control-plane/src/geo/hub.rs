//! Who follows, what they are told, who is asked.
//!
//! The fleet is looked at whenever a record or the release changes, and once a second for what lives in memory alone:
//! verdicts and the share of a PoP that comes back. Invariant: whoever follows is told the newest fleet within a fraction of
//! a second, and nothing twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde_json::Value;
use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{
    geo_feed::{FEED_LINE_BYTES_MAX, FeedLine, FleetView, PopView, Question, RoundTrips},
    id::PopId,
    resource::Kind,
    resource_spec::Spec,
    zone_keys::ProvenSet,
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    following::{Event, Follower, FollowerView, Sources},
    freeze::{self, Freeze},
    key_sets::{self, Kept},
    questions::{ANSWER_MAX, AskError, Questions},
    roll::{self, RollError, Rolled, Wish},
    view,
};
use crate::{
    drain::Drains,
    fleet::Fleet,
    metrics::Metrics,
    release::{Made, Releases},
    store::{CommitError, Records, Revision, StoreError},
    unix_time::unix_ms,
};

/// What the DNS is told from.
pub struct Parts {
    /// PoPs, zones and policies.
    pub releases: Releases,
    /// Drains and verdicts.
    pub drains: Drains,
    /// The nodes.
    pub fleet: Fleet,
    /// Where the freeze lies.
    pub records: Arc<dyn Records>,
    /// The time of day.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
}

/// Those that follow. Cheap to clone.
#[derive(Clone)]
pub struct Geo(Arc<Inner>);

struct Inner {
    parts: Parts,
    told: watch::Sender<Option<Arc<Told>>>,
    round_trips: broadcast::Sender<Bytes>,
    questions: Questions,
    followers: Mutex<BTreeMap<u64, Entry>>,
    number: AtomicU64,
    /// The keys of zones, and the state of the records that they are of.
    keys: Mutex<Option<(Revision, KeySets)>>,
}

/// The newest set of keys of each zone.
type KeySets = Arc<BTreeMap<String, ProvenSet>>;

struct Entry {
    follower: Follower,
    view: FollowerView,
    questions: mpsc::Sender<Bytes>,
}

/// A fleet as it is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) line: Bytes,
    version: u64,
    pops: Vec<PopView>,
    frozen: Option<String>,
    keys: KeySets,
    /// The state of the records that it is of, or a later one that changed nothing of it.
    revision: Revision,
}

/// Why nobody can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeoError {
    /// There are enough.
    #[error("{FOLLOWERS_MAX} geo nodes follow this replica already")]
    TooMany,
}

impl Told {
    /// Whether it is the same line.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.version == other.version
            && self.pops == other.pops
            && self.frozen == other.frozen
            && self.keys == other.keys
    }
}

impl Geo {
    /// A hub that nobody follows yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            told: watch::Sender::new(None),
            round_trips: broadcast::Sender::new(BATCHES_MAX),
            questions: Questions::default(),
            followers: Mutex::default(),
            number: AtomicU64::new(0),
            keys: Mutex::default(),
        }))
    }

    /// Looks at the fleet until the drain.
    pub async fn run(&self, drain: &Drain) {
        let mut head = self.0.parts.drains.head();
        let mut releases = self.0.parts.releases.steering_releases();
        loop {
            head.mark_unchanged();
            releases.mark_unchanged();
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the DNS cannot be told how the fleet is");
            }
            tokio::select! {
                // For what is in no record.
                _ = timeout(LOOK_EVERY, head.changed()) => {}
                _ = releases.changed() => {}
                () = drain.started() => return,
            }
            // Many changes in a row are one.
            sleep(SETTLE).await;
        }
    }

    /// A node begins to follow; what it shall read comes line by line, until it goes or `ends` does.
    ///
    /// # Errors
    /// [`GeoError`]
    pub fn follow(
        &self,
        follower: Follower,
        ends: impl Future<Output = ()> + Send + 'static,
    ) -> Result<mpsc::Receiver<Bytes>, GeoError> {
        let (lines, stream) = mpsc::channel(LINES_MAX);
        let (questions, asked) = mpsc::channel(QUESTIONS_EACH_MAX);
        let number = self.0.number.fetch_add(1, Relaxed);
        let view = FollowerView {
            node: follower.name.clone(),
            label: follower.label.clone(),
            since_unix_ms: self.now(),
            version: 0,
            lost: 0,
        };
        {
            let mut followers = self.followers();
            if followers.len() >= FOLLOWERS_MAX {
                return Err(GeoError::TooMany);
            }
            followers.insert(number, Entry { follower: follower.clone(), view, questions });
            self.0.parts.metrics.geo_followers.set(followers.len() as i64);
        }
        let sources = Sources {
            fleet: self.0.told.subscribe(),
            round_trips: self.0.round_trips.subscribe(),
            questions: asked,
        };
        let geo = self.clone();
        tokio::spawn(async move {
            tracing::info!(node = follower.name, token = follower.token, "a geo node follows");
            let note = |event: Event<'_>| geo.note(number, &follower.name, &event);
            tokio::select! {
                () = sources.tell(lines, note) => {}
                () = ends => {}
            }
            let mut followers = geo.followers();
            followers.remove(&number);
            geo.0.parts.metrics.geo_followers.set(followers.len() as i64);
            tracing::info!(node = follower.name, "a geo node follows no more");
        });
        Ok(stream)
    }

    /// Passes on what a PoP measured; who that is says its certificate.
    pub fn measured(&self, pop: &PopId, batch: RoundTrips) {
        self.0.parts.metrics.geo_batches.with_label_values(&["taken"]).inc();
        let batch = RoundTrips { pop: Some(pop.clone()), ..batch };
        if self.0.round_trips.receiver_count() > 0 {
            // Whoever followed may have gone in between.
            let _ = self.0.round_trips.send(line(&FeedLine::RoundTrips(batch)));
        }
    }

    /// Asks any node that follows this replica, and says which.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(&self, question: Question) -> Result<(String, Value), AskError> {
        let answer = self.ask_somebody(question).await;
        self.count(answer.as_ref().err());
        answer
    }

    /// Asks every node that follows this replica; an answer, or why there is none, of each by its name.
    pub async fn ask_each(&self, question: Question) -> Vec<(String, Result<Value, AskError>)> {
        let entries: Vec<_> = {
            let followers = self.followers();
            let known = |entry: &Entry| (entry.follower.clone(), entry.questions.clone());
            followers.values().map(known).collect()
        };
        let asked = entries.into_iter().map(|(follower, questions)| {
            let question = question.clone();
            async move {
                let answer = self.ask_one(&follower, &questions, &question).await;
                self.count(answer.as_ref().err());
                (follower.name, answer)
            }
        });
        // A few at a time, so that those who ask one have room left.
        let mut answers: Vec<_> =
            stream::iter(asked).buffer_unordered(ASKED_AT_ONCE_MAX).collect().await;
        answers.sort_by(|(one, _), (other, _)| one.cmp(other));
        answers
    }

    /// Takes an answer; false when the bearer of the token was not asked that, or no more.
    #[must_use]
    pub fn answer(&self, id: u64, token: &str, answer: Value) -> bool {
        self.0.questions.answer(id, token, answer)
    }

    /// The nodes that follow this replica.
    #[must_use]
    pub fn following(&self) -> Vec<FollowerView> {
        self.followers().values().map(|entry| entry.view.clone()).collect()
    }

    /// What holds the map.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn frozen(&self) -> Result<Option<Freeze>, StoreError> {
        freeze::read(self.0.parts.records.as_ref()).await
    }

    /// Holds the map, or lets it go.
    ///
    /// # Errors
    /// [`CommitError`]
    pub async fn freeze(
        &self,
        by: Option<(String, String)>,
    ) -> Result<Option<Freeze>, CommitError> {
        let freeze = by.map(|(by, reason)| Freeze { by, reason, since_unix_ms: self.now() });
        freeze::write(self.0.parts.records.as_ref(), freeze.as_ref()).await?;
        Ok(freeze)
    }

    /// Takes the next step of a roll-over of keys, or works out what it would be. Every geo node must have the same keys; one
    /// of them says what the step makes of them, and all are told.
    ///
    /// # Errors
    /// [`RollError`]
    pub async fn roll(
        &self,
        wish: &Wish,
        (by, reason): (&str, &str),
        is_dry: bool,
    ) -> Result<Rolled, RollError> {
        let records = self.0.parts.records.as_ref();
        let (kept, read) = match key_sets::read(records, &wish.zone).await? {
            Some((kept, read)) => (Some(kept), Some(read)),
            None => (None, None),
        };
        let before = kept.as_ref().map_or(0, |kept| kept.revision);
        let answers = self.ask_each(Question::Signing { zone: Some(wish.zone.clone()) }).await;
        let agreed = roll::agreed(wish, &answers, kept.as_ref())?;
        let question = Question::RollKeys {
            zone: wish.zone.clone(),
            kind: wish.kind,
            ds_seen: wish.ds_seen,
            revision: before,
        };
        let (node, answer) = self.ask_one_of(&agreed.nodes, &question).await?;
        let (mut proposal, set) = roll::checked(&node, &wish.zone, before, answer)?;
        roll::is_as_shown(wish, &proposal, before)?;
        let nodes = agreed.nodes;
        let Some((set, revision)) = set else {
            return Ok(Rolled { proposal, before, revision: None, nodes });
        };
        if let Some((node, waits)) = agreed.waits {
            roll::put_off(&mut proposal, &node, &waits);
            return Ok(Rolled { proposal, before, revision: None, nodes });
        }
        if is_dry {
            roll::hide_new_key(&mut proposal);
        } else {
            let (by, reason, at_unix_ms) = (by.to_owned(), reason.to_owned(), self.now());
            let kept = Kept { set, revision, by, reason, at_unix_ms, nodes: nodes.clone() };
            key_sets::write(records, &wish.zone, &kept, read).await?;
        }
        Ok(Rolled { proposal, before, revision: Some(revision), nodes })
    }

    /// Asks the first of these nodes that follows.
    async fn ask_one_of(
        &self,
        names: &[String],
        question: &Question,
    ) -> Result<(String, Value), AskError> {
        let found = {
            let followers = self.followers();
            let is_one = |entry: &&Entry| names.contains(&entry.follower.name);
            let entry = followers.values().find(is_one);
            entry.map(|entry| (entry.follower.clone(), entry.questions.clone()))
        };
        let (follower, questions) = found.ok_or(AskError::Nobody)?;
        let answer = self.ask_one(&follower, &questions, question).await;
        self.count(answer.as_ref().err());
        Ok((follower.name, answer?))
    }

    async fn ask_somebody(&self, question: Question) -> Result<(String, Value), AskError> {
        let followers: Vec<_> = {
            let followers = self.followers();
            let known = |entry: &Entry| (entry.follower.clone(), entry.questions.clone());
            followers.values().rev().map(known).collect()
        };
        let mut left = AskError::Nobody;
        for (follower, questions) in followers {
            match self.ask_one(&follower, &questions, &question).await {
                Ok(answer) => return Ok((follower.name, answer)),
                // Another one may know it, or have time.
                Err(error @ (AskError::Older(_) | AskError::Nobody)) => left = error,
                Err(error) => return Err(error),
            }
        }
        Err(left)
    }

    /// Asks one node; [`AskError::Nobody`] when it has too many to answer already.
    async fn ask_one(
        &self,
        follower: &Follower,
        questions: &mpsc::Sender<Bytes>,
        question: &Question,
    ) -> Result<Value, AskError> {
        // A line that it cannot read would end its feed.
        if question.generation() > follower.questions {
            return Err(AskError::Older(follower.name.clone()));
        }
        let asked = self.0.questions.ask(&follower.token)?;
        let line = line(&FeedLine::Question { id: asked.id, question: question.clone() });
        questions.try_send(line).map_err(|_| AskError::Nobody)?;
        asked.answer(&follower.name, ANSWER_MAX).await
    }

    fn count(&self, error: Option<&AskError>) {
        let outcome = match error {
            None => "answered",
            Some(AskError::Nobody) => "nobody",
            Some(AskError::TooMany) => "too_many",
            Some(AskError::Older(_)) => "older",
            Some(AskError::Silent(_)) => "silent",
            Some(AskError::Refused(_)) => "refused",
        };
        self.0.parts.metrics.geo_questions.with_label_values(&[outcome]).inc();
    }

    /// Makes the fleet anew, and tells it if it is another one.
    async fn look(&self) -> Result<(), StoreError> {
        let Parts { releases, drains, fleet, records, .. } = &self.0.parts;
        // Read before what it names, so that nobody claims to have been told what they have not.
        let revision = *drains.head().borrow();
        // What caches do not serve yet is told to nobody, and what they shall stop serving is not told any more.
        let Some(release) = releases.steering_release() else { return Ok(()) };
        let frozen = freeze::read(records.as_ref()).await?.map(|freeze| freeze.reason);
        let keys = self.keys(revision).await?;
        let (now, all) = (self.now(), drains.all().await?);
        let sights = fleet.sights();
        let is_ready = |pop: &PopId| {
            sights.iter().any(|sight| {
                sight.name.pop == *pop
                    && sight.has_config_lane
                    && sight.health.as_ref().is_some_and(|health| health.ready && !health.draining)
            })
        };
        let anycast = drains.anycast();
        let health = |pop: &PopId| anycast.reports().state(pop).health;
        let pops = view::pops(&release.sites.pops, &all, health, is_ready, now);
        let version = release.version().0;
        self.0.told.send_if_modified(|told| {
            let line = match told {
                Some(told)
                    if (told.version, &told.pops) == (version, &pops)
                        && (&told.frozen, &told.keys) == (&frozen, &keys) =>
                {
                    if told.revision == revision {
                        return false;
                    }
                    told.line.clone()
                }
                _ => match whole(&release, &pops, frozen.as_ref(), &keys) {
                    Some(line) => line,
                    None => return false,
                },
            };
            let (pops, frozen, keys) = (pops.clone(), frozen.clone(), Arc::clone(&keys));
            *told = Some(Arc::new(Told { line, version, pops, frozen, keys, revision }));
            true
        });
        Ok(())
    }

    /// The keys of zones, read again when a record was changed since.
    async fn keys(&self, revision: Revision) -> Result<KeySets, StoreError> {
        let lock = || self.0.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keys)) = lock().as_ref().filter(|(of, _)| *of == revision) {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(key_sets::all(self.0.parts.records.as_ref()).await?);
        *lock() = Some((revision, Arc::clone(&keys)));
        Ok(keys)
    }

    fn note(&self, number: u64, name: &str, event: &Event<'_>) {
        match event {
            Event::Standing(told) => {
                self.0.parts.drains.readers().saw(name, told.revision, self.now());
                if let Some(entry) = self.followers().get_mut(&number) {
                    entry.view.version = told.version;
                }
            }
            Event::Lost(lost) => {
                self.0.parts.metrics.geo_batches.with_label_values(&["lost"]).inc_by(*lost);
                if let Some(entry) = self.followers().get_mut(&number) {
                    entry.view.lost += lost;
                }
            }
        }
    }

    fn now(&self) -> u64 {
        unix_ms(self.0.parts.clock.now())
    }

    fn followers(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line as it travels.
pub(super) fn line(line: &FeedLine) -> Bytes {
    let mut json = serde_json::to_vec(line).expect("texts and finite numbers");
    json.push(b'\n');
    json.into()
}

/// The line of a fleet; `None` when it is larger than anybody reads.
fn whole(
    head: &Made,
    pops: &[PopView],
    frozen: Option<&String>,
    keys: &BTreeMap<String, ProvenSet>,
) -> Option<Bytes> {
    let mut view = FleetView {
        version: head.version().0,
        pops: pops.to_vec(),
        frozen: frozen.cloned(),
        keys: keys.clone(),
        ..FleetView::default()
    };
    for kind in [Kind::DnsZone, Kind::SteeringPolicy] {
        for (name, entry) in head.state.of_kind(kind) {
            match &*entry.spec {
                Spec::DnsZone(spec) => {
                    view.zones.insert(name.to_string(), spec.zone.clone());
                }
                Spec::SteeringPolicy(spec) => {
                    view.steering.insert(name.clone(), spec.clone());
                }
                _ => {}
            }
        }
    }
    let line = line(&FeedLine::Fleet(Box::new(view)));
    if line.len() > FEED_LINE_BYTES_MAX {
        // Zones are checked for that before they are released.
        tracing::error!(bytes = line.len(), "the fleet is larger than the DNS reads");
        return None;
    }
    Some(line)
}

/// Nodes of the DNS that follow one replica.
const FOLLOWERS_MAX: usize = 64;
/// Nodes that are asked at one time when all are.
const ASKED_AT_ONCE_MAX: usize = 16;
/// Lines that wait for a node to take them.
const LINES_MAX: usize = 4;
/// Questions that wait for a node to take them.
const QUESTIONS_EACH_MAX: usize = 8;
/// Batches that wait for a slow node, of 60 KiB at most: some seconds of what 150 PoPs with several nodes say.
const BATCHES_MAX: usize = 256;
/// Verdicts change once a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_millis(100);
