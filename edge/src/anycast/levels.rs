//! The node's half of anycast: orders with permits become levels of the speaker, and what the speaker does becomes a
//! report.
//!
//! What was followed is held: a speaker that has read its file anew is told again. Invariant: without an order nothing is
//! told that was not told before, so a node that hears from nobody changes nothing.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{
    anycast::Level,
    id::PrefixId,
    telemetry::{LevelOrder, Orders, SpeakerReport, TrialOrder, TrialReport, TrialState},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    epochs::Epochs,
    permit::{self, Verdict},
    speaker::{Speaker, SpeakerState},
};

/// How things stand, for the report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What the speaker does; absent before it was asked once.
    pub speaker: Option<SpeakerReport>,
    /// Orders that were refused.
    pub refused: BTreeMap<PrefixId, String>,
}

/// What follows orders.
pub struct Levels {
    speaker: Arc<dyn Speaker>,
    clock: Clock,
    followed: BTreeMap<PrefixId, (u64, Level)>,
    epochs: Epochs,
    trial: Option<TrialReport>,
}

impl Levels {
    /// Nothing is told yet.
    #[must_use]
    pub fn new(speaker: Arc<dyn Speaker>, clock: Clock) -> Self {
        let epochs = Epochs::default();
        Self { speaker, clock, followed: BTreeMap::new(), epochs, trial: None }
    }

    /// Refuses permits that are older than the newest one of this file, and keeps that there.
    #[must_use]
    pub fn keeping(self, file: PathBuf) -> Self {
        Self { epochs: Epochs::open(file), ..self }
    }

    /// Follows orders until the drain.
    pub async fn run(
        mut self,
        mut orders: watch::Receiver<Orders>,
        standing: watch::Sender<Standing>,
        drain: Drain,
    ) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut can_change = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                changed = orders.changed(), if can_change => can_change = changed.is_ok(),
                () = drain.started() => return,
            }
            let now = orders.borrow_and_update().clone();
            standing.send_replace(self.step(&now).await);
        }
    }

    /// Brings the speaker to where the orders want it, as far as they may.
    pub async fn step(&mut self, orders: &Orders) -> Standing {
        let mut standing = Standing::default();
        if let Some(trial) = orders.trial {
            self.try_out(trial).await;
        }
        let mut state = match self.speaker.state().await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, "the speaker cannot be asked");
                standing.speaker =
                    Some(SpeakerReport { trial: self.trial.clone(), ..SpeakerReport::default() });
                return standing;
            }
        };
        let prefixes: Vec<_> = state.levels.keys().cloned().collect();
        for prefix in prefixes {
            let order = orders.levels.get(&prefix);
            if let Err(refusal) = self.settle(&prefix, order, &mut state).await {
                standing.refused.insert(prefix, refusal);
            }
        }
        for prefix in orders.levels.keys().filter(|prefix| !state.levels.contains_key(*prefix)) {
            standing.refused.insert(prefix.clone(), "not in the settings of this node".to_owned());
        }
        let SpeakerState { levels, is_gate_closed, established, sessions } = state;
        let trial = self.trial.clone();
        standing.speaker = Some(SpeakerReport {
            is_up: true,
            established,
            sessions,
            levels,
            is_gate_closed,
            trial,
        });
        standing
    }

    /// One prefix: what it shall be, and whether that may be.
    async fn settle(
        &mut self,
        prefix: &PrefixId,
        order: Option<&LevelOrder>,
        state: &mut SpeakerState,
    ) -> Result<(), String> {
        let current = state.levels.get(prefix);
        let (newest, held) = match self.followed.get(prefix) {
            Some((epoch, level)) => (*epoch, Some(level)),
            None => (self.epochs.newest(prefix), None),
        };
        let now_unix_ms = unix_ms(&self.clock);
        let is_news = order.is_some_and(|o| (o.epoch, Some(&o.level)) != (newest, held));
        let (wanted, refusal) = match order {
            Some(order) if is_news => {
                match permit::judge(order, held.or(current), newest, now_unix_ms) {
                    Verdict::Keep | Verdict::Follow => {
                        self.epochs.follow(prefix, order.epoch).await;
                        self.followed.insert(prefix.clone(), (order.epoch, order.level.clone()));
                        (Some(&order.level), None)
                    }
                    Verdict::Refuse(why) => (held, Some(why)),
                }
            }
            _ => (held, None),
        };
        if let Some(wanted) = wanted.cloned()
            && state.levels.get(prefix) != Some(&wanted)
        {
            tracing::info!(%prefix, level = %wanted, "announced at another level");
            if let Err(error) = self.speaker.announce(prefix, &wanted).await {
                tracing::warn!(%prefix, %error, "the level is not as it shall be");
                return Err(error.to_string());
            }
            state.levels.insert(prefix.clone(), wanted);
        }
        refusal.map_or(Ok(()), |why| Err(why.to_string()))
    }

    async fn try_out(&mut self, order: TrialOrder) {
        let known = self.trial.as_ref().filter(|trial| trial.id == order.id).map(|t| t.state);
        let done = match known {
            None if order.is_confirmed || unix_ms(&self.clock) > order.expires_unix_ms => return,
            None => {
                let timeout = Duration::from_secs(order.timeout_s.into());
                self.speaker.guard(timeout).await.map(|()| TrialState::Pending)
            }
            Some(TrialState::Pending) if order.is_confirmed => {
                self.speaker.confirm().await.map(|()| TrialState::Confirmed)
            }
            Some(_) => return,
        };
        let state = done.unwrap_or_else(|error| {
            tracing::warn!(trial = order.id, %error, "the speaker's configuration is refused");
            TrialState::Refused
        });
        self.trial = Some(TrialReport { id: order.id, state });
    }
}

fn unix_ms(clock: &Clock) -> u64 {
    let since = clock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How often the speaker is asked what it does.
const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        sync::Mutex,
        time::{Duration, SystemTime},
    };

    use async_trait::async_trait;

    use super::{super::speaker::SpeakerError, *};

    /// A speaker that does as it is told and remembers all of it.
    #[derive(Default)]
    struct Obedient {
        levels: Mutex<BTreeMap<PrefixId, Level>>,
        told: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Speaker for Obedient {
        async fn announce(&self, prefix: &PrefixId, level: &Level) -> Result<(), SpeakerError> {
            self.told.lock().unwrap().push(format!("{prefix} {level}"));
            self.levels.lock().unwrap().insert(prefix.clone(), level.clone());
            Ok(())
        }

        async fn state(&self) -> Result<SpeakerState, SpeakerError> {
            let levels = self.levels.lock().unwrap().clone();
            Ok(SpeakerState { levels, ..SpeakerState::default() })
        }

        async fn close_gate(&self, _: bool) -> Result<(), SpeakerError> {
            Err(SpeakerError::Refused("the node never touches the gate".to_owned()))
        }

        async fn guard(&self, timeout: Duration) -> Result<(), SpeakerError> {
            self.told.lock().unwrap().push(format!("guard {}", timeout.as_secs()));
            Ok(())
        }

        async fn confirm(&self) -> Result<(), SpeakerError> {
            self.told.lock().unwrap().push("confirm".to_owned());
            Ok(())
        }
    }

    fn prefix() -> PrefixId {
        PrefixId::parse("a").unwrap()
    }

    fn order(level: &str, epoch: u64, expires_unix_ms: u64) -> Orders {
        let order = LevelOrder { level: level.parse().unwrap(), epoch, expires_unix_ms };
        Orders { levels: [(prefix(), order)].into(), ..Orders::default() }
    }

    fn fixture() -> (Arc<Obedient>, Clock, Levels) {
        let speaker = Arc::new(Obedient::default());
        speaker.levels.lock().unwrap().insert(prefix(), Level::Normal);
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_millis(50));
        (speaker.clone(), clock.clone(), Levels::new(speaker, clock))
    }

    #[tokio::test]
    async fn an_order_is_followed_once_and_held_after_its_permit_has_ended() {
        let (speaker, clock, mut levels) = fixture();
        let orders = order("gshut", 3, 100);
        assert!(levels.step(&orders).await.refused.is_empty());
        clock.advance(Duration::from_secs(9));
        levels.step(&orders).await;
        assert_eq!(*speaker.told.lock().unwrap(), ["a gshut"]);
        // The speaker has read its file anew.
        speaker.levels.lock().unwrap().insert(prefix(), Level::Normal);
        let standing = levels.step(&orders).await;
        assert_eq!(*speaker.told.lock().unwrap(), ["a gshut", "a gshut"]);
        assert_eq!(standing.speaker.unwrap().levels[&prefix()], Level::GracefulShutdown);
    }

    #[tokio::test]
    async fn a_late_or_old_permit_begins_nothing() {
        let (speaker, clock, mut levels) = fixture();
        levels.step(&order("prepend-1", 7, 100)).await;
        clock.advance(Duration::from_secs(9));
        for (level, epoch, expires) in [("withdrawn", 8, 100), ("withdrawn", 6, u64::MAX)] {
            let standing = levels.step(&order(level, epoch, expires)).await;
            assert_eq!(standing.refused.len(), 1, "{epoch}");
        }
        assert_eq!(*speaker.told.lock().unwrap(), ["a prepend-1"]);
        levels.step(&order("normal", 8, 0)).await;
        assert_eq!(speaker.told.lock().unwrap().last().unwrap(), "a normal");
    }

    #[tokio::test]
    async fn a_process_that_begins_anew_knows_which_permits_are_old() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("permits.json");
        let (speaker, clock, levels) = fixture();
        levels.keeping(file.clone()).step(&order("prepend-1", 7, 100)).await;
        let mut anew = Levels::new(speaker.clone(), clock).keeping(file);
        let standing = anew.step(&order("withdrawn", 6, 100)).await;
        assert_eq!(standing.refused[&prefix()], "the permit is of epoch 6, 7 was seen");
        assert_eq!(*speaker.told.lock().unwrap(), ["a prepend-1"]);
        anew.step(&order("withdrawn", 7, 100)).await;
        assert_eq!(speaker.told.lock().unwrap().last().unwrap(), "a withdrawn");
    }

    #[tokio::test]
    async fn a_node_that_hears_nothing_for_ever_tells_the_speaker_nothing() {
        let (speaker, clock, levels) = fixture();
        let (orders, heard) = watch::channel(Orders::default());
        let (standing, mut stood) = watch::channel(Standing::default());
        let drain = Drain::new();
        let running = tokio::spawn(levels.run(heard, standing, drain.clone()));
        // The control plane is gone with everything that belonged to it.
        drop(orders);
        clock.advance(Duration::from_secs(365 * 24 * 3600));
        for _ in 0..2 {
            stood.changed().await.unwrap();
        }
        drain.begin();
        running.await.unwrap();
        assert!(speaker.told.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_trial_is_begun_once_and_confirmed_when_that_is_ordered() {
        let (speaker, clock, mut levels) = fixture();
        let mut trial =
            TrialOrder { id: 4, timeout_s: 60, is_confirmed: false, expires_unix_ms: 100 };
        let orders = |trial| Orders { trial: Some(trial), ..Orders::default() };
        for _ in 0..2 {
            levels.step(&orders(trial)).await;
        }
        trial.is_confirmed = true;
        let standing = levels.step(&orders(trial)).await;
        levels.step(&orders(trial)).await;
        assert_eq!(*speaker.told.lock().unwrap(), ["guard 60", "confirm"]);
        let confirmed = TrialReport { id: 4, state: TrialState::Confirmed };
        assert_eq!(standing.speaker.unwrap().trial, Some(confirmed));
        // Another process that sees the old trial does not try it again.
        clock.advance(Duration::from_secs(1));
        let mut other = Levels::new(speaker.clone(), clock);
        trial.is_confirmed = false;
        other.step(&orders(trial)).await;
        assert_eq!(speaker.told.lock().unwrap().len(), 2);
    }
}
