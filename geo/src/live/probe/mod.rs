//! This node's own eyes: it asks every address of every PoP twice a second whether it is there, so that a dead PoP is
//! out of answers in time whatever the control plane knows.
//!
//! A question begins on its time even while the one before waits, or a PoP that swallows packets would take twice as
//! long to be found out. Invariant: what is asked is bounded, and a set of looks is weighed as a whole ([`Seen`]).

mod session; // one request on a connection that is kept
mod tls; // whom a certificate is believed

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tidegate_chassis::Drain;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_rustls::TlsConnector;

use self::session::Session;
use super::{
    config::ProbeConfig,
    inbox::Inbox,
    metrics::Metrics,
    seen::{Seen, Sight},
    told::Watched,
};

/// Looks at PoPs.
pub(super) struct Prober {
    config: ProbeConfig,
    tls: TlsConnector,
    inbox: Arc<Inbox>,
    metrics: Metrics,
}

/// An address that is looked at.
struct Looking {
    sight: Sight,
    task: AbortHandle,
}

impl Prober {
    /// Reads the authority.
    pub(super) fn new(
        config: ProbeConfig,
        inbox: Arc<Inbox>,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let tls = tls::connector(config.ca_file.as_deref())?;
        Ok(Self { config, tls, inbox, metrics })
    }

    /// Looks at whatever is to be looked at until the drain.
    pub(super) async fn run(self, mut targets: watch::Receiver<Vec<Watched>>, drain: Drain) {
        let (sender, mut looks) = mpsc::channel(LOOKS_WAITING_MAX);
        let mut tasks = JoinSet::new();
        let mut all: BTreeMap<Watched, Looking> = BTreeMap::new();
        targets.mark_changed();
        loop {
            tokio::select! {
                () = drain.started() => return,
                changed = targets.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = targets.borrow_and_update().clone();
                    self.follow(&wanted, &mut all, &mut tasks, &sender);
                    self.tell(&all);
                }
                Some((target, is_good)) = looks.recv() => {
                    let limits = (self.config.failures, self.config.answers);
                    let outcome = if is_good { "good" } else { "failed" };
                    self.metrics.looks.with_label_values(&[outcome]).inc();
                    let Some(looking) = all.get_mut(&target) else { continue };
                    if looking.sight.look(is_good, limits.0, limits.1) {
                        let (pop, address) = (&target.pop, target.address);
                        tracing::warn!(%pop, %address, is_dead = looking.sight.is_dead, "looks changed");
                        self.tell(&all);
                    }
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    /// Begins to look at what is new and leaves what is gone; what stays keeps its looks.
    fn follow(
        &self,
        wanted: &[Watched],
        all: &mut BTreeMap<Watched, Looking>,
        tasks: &mut JoinSet<()>,
        sender: &mpsc::Sender<(Watched, bool)>,
    ) {
        all.retain(|target, looking| {
            let stays = wanted.binary_search(target).is_ok();
            if !stays {
                looking.task.abort();
            }
            stays
        });
        for (number, target) in wanted.iter().enumerate() {
            if all.contains_key(target) {
                continue;
            }
            let Some(session) = Session::new(target.address, &target.name, self.tls.clone()) else {
                tracing::error!(pop = %target.pop, "its name is none that TLS knows, it is not looked at");
                continue;
            };
            // Spread over the interval, or all would be asked in the same moment.
            let share = number as f64 / wanted.len() as f64;
            let begin = Instant::now() + self.config.interval.mul_f64(share);
            let times = (self.config.interval, self.config.timeout);
            let task = tasks.spawn(look(target.clone(), session, begin, times, sender.clone()));
            all.insert(target.clone(), Looking { sight: Sight::default(), task });
        }
    }

    fn tell(&self, all: &BTreeMap<Watched, Looking>) {
        let seen =
            Seen::of(all.iter().map(|(target, looking)| {
                (&target.pop, target.address.ip(), looking.sight.is_dead)
            }));
        self.metrics.doubted.set(i64::from(seen.is_doubted));
        self.inbox.tell(|news| news.seen = Some(seen));
    }
}

/// Asks one address again and again.
async fn look(
    target: Watched,
    session: Arc<Session>,
    begin: Instant,
    (interval, limit): (Duration, Duration),
    sender: mpsc::Sender<(Watched, bool)>,
) {
    let mut ticks = interval_at(begin, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = ticks.tick(), if asking.len() < ASKING_MAX => {
                asking.push(timeout(limit, session.ask()));
            }
            Some(answer) = asking.next() => {
                if sender.send((target.clone(), answer.unwrap_or(false))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Questions to one address that wait for their answers.
const ASKING_MAX: usize = 3;
/// Looks that wait to be weighed; who has more to tell waits.
const LOOKS_WAITING_MAX: usize = 256;
