//! What is done with a release that arrives: verified, bounded, judged elsewhere, put to use, kept, watched.
//!
//! In this order: who signed it; whether it is newer than all that were here; whether it fits; what another process
//! says of it; and only then is it put to use. Whatever is wrong, the one in use serves on. One that does harm within
//! its probation is taken back without asking anybody, and never put to use again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use prost::Message as _;
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::{Generation, PopId},
    release::{AdmitError, Build},
};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{
    BUILD,
    checker::{CheckError, Checker},
    health_report::Vitals,
    held::{Held, HeldError},
    kept::{Journal, Kept, Refused, Trial},
    probation::{Figures, harm, memory_bytes},
    sealing_key::SealingKey,
    trust::{Trust, TrustError},
    wire,
};
use crate::policy::{PolicyError, PolicyHandle};

/// Takes releases. One for the process.
pub(super) struct Intake {
    pub(super) policy: PolicyHandle,
    pub(super) trust: Trust,
    pub(super) sealing_key: SealingKey,
    pub(super) checker: Checker,
    pub(super) kept: Kept,
    pub(super) vitals: Vitals,
    pub(super) clock: Clock,
    /// How long a release is watched.
    pub(super) probation: Duration,
    /// What this process is called in the journal.
    pub(super) process: String,
    pub(super) state: Mutex<State>,
    /// The release that is on probation.
    pub(super) trial: watch::Sender<Option<OnTrial>>,
    /// The release that was given up last.
    pub(super) refused: watch::Sender<Option<Refused>>,
    /// Held while a release is put to use: that is never cut off.
    pub(super) putting: Arc<AsyncMutex<()>>,
}

/// What is in use.
#[derive(Default)]
pub(super) struct State {
    pub(super) in_use: Option<Arc<Held>>,
    pub(super) journal: Journal,
}

/// A release that is watched.
#[derive(Debug, Clone)]
pub(super) struct OnTrial {
    pub(super) version: u64,
    until: Instant,
    before: Figures,
    /// What to go back to.
    pub(super) previous: Option<Arc<Held>>,
    pub(super) pop: PopId,
}

/// Why a release is not (or not durably) in use.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusedError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error(transparent)]
    Held(#[from] HeldError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("in use, but a restart would lose it: {0}")]
    Keep(std::io::Error),
    #[error("the release made its check fail: {0}")]
    Panic(String),
}

impl RefusedError {
    /// Whether the whole may fit where the difference did not.
    pub(super) fn wants_whole(&self) -> bool {
        matches!(self, Self::Held(error) if error.wants_whole())
    }
}

impl Intake {
    /// Puts the newest good release on disk to use, before anything is asked of the network.
    pub(super) fn restore(&self, pop: Option<PopId>, is_successor: bool) {
        let mut journal = self.kept.journal();
        if journal.started(&self.process, is_successor, self.now_unix_ms())
            && let Some(refused) = &journal.refused
        {
            tracing::error!(
                version = refused.version,
                "a release is given up: it makes this node crash"
            );
            if let Err(error) = self.kept.forget_newest() {
                tracing::error!(%error, "a release that makes this node crash is still there");
            }
        }
        self.remember(&journal);
        self.refused.send_replace(journal.refused.clone());
        let pop = pop.or_else(|| journal.pop.clone());
        let in_use = pop.and_then(|pop| {
            self.kept.load().find_map(|bytes| match self.revive(&bytes, &pop, &journal) {
                Ok(held) => Some(held),
                Err(error) => {
                    tracing::error!(%error, "a kept release is unusable");
                    None
                }
            })
        });
        if let Some(held) = &in_use {
            let version = held.signed.header.version;
            tracing::info!(%version, "the last good release is in use");
        }
        *self.lock() = State { in_use, journal };
        self.alarm_when_expired();
    }

    /// A release that expires in use is an alarm and nothing else: the control plane has been away for long.
    fn alarm_when_expired(&self) {
        let header = self.lock().in_use.as_ref().map(|held| held.signed.header);
        if let Some(header) = header.filter(|header| header.is_expired(self.now_unix_ms())) {
            tracing::error!(version = %header.version, "the release in use has expired; it serves on");
        }
    }

    fn revive(
        &self,
        bytes: &[u8],
        pop: &PopId,
        journal: &Journal,
    ) -> Result<Arc<Held>, RefusedError> {
        let held = self.read(bytes, journal)?;
        self.policy.install(held.compile(pop, Some(&self.sealing_key))?)?;
        Ok(Arc::new(held))
    }

    pub(super) fn read(&self, bytes: &[u8], journal: &Journal) -> Result<Held, RefusedError> {
        let release =
            wire::Release::decode(bytes).map_err(|error| TrustError::Header(error.to_string()))?;
        // A key that was rotated away since signed what was good then.
        let signed = self.trust.verify(&release, journal.key_number.min(1))?;
        Ok(Held::assemble(signed, release, None)?)
    }

    /// Waits until no release is being put to use.
    pub(super) async fn settled(&self) {
        drop(self.putting.lock().await);
    }

    /// Puts to use what another process of this node has kept since [`Intake::restore`], and remembers from here on.
    pub(super) fn catch_up(&self) {
        let mut journal = self.kept.journal();
        journal.started(&self.process, true, self.now_unix_ms());
        self.remember(&journal);
        self.refused.send_replace(journal.refused.clone());
        let known = self.lock().in_use.as_ref().map_or(0, |held| held.signed.header.version.0);
        let newest = self.kept.load().next().filter(|bytes| {
            let header = wire::Release::decode(bytes.as_slice()).ok().and_then(|new| new.header);
            header.is_some_and(|header| header.version > known)
        });
        let newer = newest.zip(journal.pop.clone()).and_then(|(bytes, pop)| {
            let revived = self.revive(&bytes, &pop, &journal);
            revived.inspect_err(|error| tracing::error!(%error, "a kept release is unusable")).ok()
        });
        let mut state = self.lock();
        state.journal = journal;
        if newer.is_some() {
            state.in_use = newer;
        }
    }

    /// Number and root of the release in use, and the highest that was ever in use.
    pub(super) fn position(&self) -> (u64, Vec<u8>, u64) {
        let state = self.lock();
        let header = state.in_use.as_ref().map(|held| held.signed.header);
        let (version, root) = header.map_or((0, Vec::new()), |h| (h.version.0, h.root.to_vec()));
        (version, root, state.journal.floor.max(version))
    }

    /// Takes a release, or says why not.
    pub(super) async fn take(
        self: &Arc<Self>,
        release: wire::Release,
        pop: &PopId,
    ) -> Result<(), RefusedError> {
        let (base, key_number, floor) = {
            let state = self.lock();
            let journal = &state.journal;
            (state.in_use.clone(), journal.key_number, journal.floor)
        };
        let signed = self.trust.verify(&release, key_number)?;
        let header = signed.header;
        let in_use = base.as_ref().map(|held| held.signed.header);
        if in_use.is_some_and(|now| (now.version, now.root) == (header.version, header.root)) {
            return Ok(());
        }
        let floor = Generation(floor).max(in_use.map(|now| now.version).unwrap_or_default());
        let own: Build = BUILD.parse().unwrap_or_default();
        header.admit(floor, own, self.now_unix_ms())?;
        let held = Held::assemble(signed, release, base.as_deref())?;
        self.checker.check(&held.to_wire(Some(&self.sealing_key))?, pop).await?;
        let (intake, pop) = (Arc::clone(self), pop.clone());
        let putting = Arc::clone(&self.putting).lock_owned().await;
        let put = move || {
            let _putting = putting;
            intake.put_to_use(held, base, pop)
        };
        spawn_blocking(put).await.map_err(|error| RefusedError::Panic(error.to_string()))?
    }

    fn put_to_use(
        &self,
        held: Held,
        previous: Option<Arc<Held>>,
        pop: PopId,
    ) -> Result<(), RefusedError> {
        let (version, key_number) = (held.signed.header.version.0, held.signed.key.number);
        let snapshot = held.compile(&pop, Some(&self.sealing_key))?;
        let bytes = held.to_wire(None)?;
        // Before it is used: should it end this process, the next one knows which it was.
        let journal = {
            let state = self.lock();
            let trial = Trial {
                version,
                swapped_unix_ms: self.now_unix_ms(),
                crashes: 0,
                process: Some(self.process.clone()),
            };
            let (floor, key_number) =
                (state.journal.floor.max(version), state.journal.key_number.max(key_number));
            Journal { pop: Some(pop.clone()), floor, key_number, trial: Some(trial), refused: None }
        };
        let kept = self.kept.keep(&bytes).and_then(|()| self.kept.remember(&journal));
        let before = self.figures();
        self.policy.install(snapshot)?;
        let mut state = self.lock();
        *state = State { in_use: Some(Arc::new(held)), journal };
        drop(state);
        self.refused.send_replace(None);
        let until = Instant::now() + self.probation;
        self.trial.send_replace(Some(OnTrial { version, until, before, previous, pop }));
        kept.map_err(RefusedError::Keep)
    }

    /// Watches every release that is put to use, for as long as the process lives.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut trials = self.trial.subscribe();
        loop {
            let on_trial = trials.borrow_and_update().clone();
            let Some(on_trial) = on_trial else {
                tokio::select! {
                    changed = trials.changed() => if changed.is_err() { return },
                    () = sleep(ALARM_EVERY) => self.alarm_when_expired(),
                }
                continue;
            };
            let look = Instant::now() + LOOK_EVERY.min(self.probation);
            tokio::select! {
                // A newer one is watched in its place.
                changed = trials.changed() => if changed.is_err() { return },
                () = sleep_until(look) => {
                    if let Some(error) = harm(on_trial.before, self.figures()) {
                        self.give_up(&on_trial, error);
                    } else if Instant::now() >= on_trial.until {
                        tracing::info!(version = on_trial.version, "a release has passed its probation");
                        self.trial.send_if_modified(|now| {
                            let is_same = now.as_ref().is_some_and(|n| n.version == on_trial.version);
                            if is_same { *now = None; }
                            is_same
                        });
                    }
                }
            }
        }
    }

    /// The process ends in order: that is no crash.
    pub(super) fn ended(&self) {
        let journal = {
            let mut state = self.lock();
            state.journal.ended(&self.process);
            state.journal.clone()
        };
        // A successor may have written since; what it wrote stays.
        let theirs = self.kept.journal();
        let is_ours =
            theirs.trial.as_ref().is_some_and(|t| t.process.as_ref() == Some(&self.process));
        if is_ours {
            self.remember(&journal);
        }
    }

    pub(super) fn remember(&self, journal: &Journal) {
        if let Err(error) = self.kept.remember(journal) {
            tracing::error!(%error, "what must be remembered of releases cannot be written");
        }
    }

    fn figures(&self) -> Figures {
        let health = (self.vitals)();
        Figures {
            requests: health.requests_total,
            errors: health.errors_total,
            memory_bytes: memory_bytes(),
        }
    }

    fn now_unix_ms(&self) -> u64 {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often it is said that the release in use has expired.
const ALARM_EVERY: Duration = Duration::from_secs(3600);
/// Between two looks at a release on probation.
const LOOK_EVERY: Duration = Duration::from_millis(500);
