//! The dead man's switch at work: it probes the node beside it and holds the gate of the speaker.
//!
//! It runs in a process of its own, because a process that hangs cannot notice that it does. It has no line to the control
//! plane, so that losing one cannot matter. Invariant: while the speaker cannot be asked, nothing is decided anew.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use tidegate_chassis::Drain;
use tidegate_contract::telemetry::Probe;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    dead_man::{Config, DeadMan, Gate},
    self_test::SelfTester,
    speaker::{Speaker, SpeakerError},
};

/// The switch.
pub struct Switch {
    speaker: Arc<dyn Speaker>,
    tester: SelfTester,
    config: Config,
}

impl Switch {
    /// A switch between a node's probes and a speaker's gate.
    #[must_use]
    pub fn new(speaker: Arc<dyn Speaker>, tester: SelfTester, config: Config) -> Self {
        Self { speaker, tester, config }
    }

    /// Holds the gate until the drain. It stays as it is then.
    pub async fn run(self, drain: Drain) {
        let began = Instant::now();
        let mut ticks = interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut man = None;
        let mut was_silent = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.started() => return,
            }
            let failed = self.tester.failed().await;
            match self.hold(&mut man, &failed, began).await {
                Ok(()) => was_silent = false,
                Err(error) if !was_silent => {
                    tracing::warn!(%error, "the gate cannot be held");
                    was_silent = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Takes one round of probes.
    async fn hold(
        &self,
        man: &mut Option<DeadMan>,
        failed: &BTreeSet<Probe>,
        began: Instant,
    ) -> Result<(), SpeakerError> {
        let now = began.elapsed();
        // Probes count even while the speaker is silent.
        let wanted = man.as_mut().map(|man| man.probed(failed.is_empty(), now));
        let found = match self.speaker.state().await?.is_gate_closed {
            true => Gate::Closed,
            false => Gate::Open,
        };
        let Some(wanted) = wanted else {
            tracing::info!(gate = ?found, "the gate is held from now on");
            *man = Some(DeadMan::new(self.config.clone(), found, now));
            return Ok(());
        };
        if wanted != found {
            let is_closed = wanted == Gate::Closed;
            self.speaker.close_gate(is_closed).await?;
            if is_closed {
                tracing::error!(?failed, "this node does not serve: everything is withdrawn");
            } else {
                tracing::info!(
                    "this node has served for long enough: everything is announced again"
                );
            }
        }
        Ok(())
    }
}
