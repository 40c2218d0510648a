//! Conducts roll-outs: asks the rules what to do and writes it down, while this replica leads.
//!
//! Nothing is remembered here: state and time come from the records and the clock, so that another replica goes on
//! where this one stopped.

use std::collections::BTreeSet;

use tidegate_chassis::Drain;
use tidegate_contract::id::PopId;
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::{Course, ReleaseError, Releases};
use crate::{
    fleet::{Fleet, NodeSight},
    rollout::{self, Decision, NodeReport, Stage, Totals},
    store::Registry,
    unix_time::millis,
};

/// Conducts roll-outs until the drain.
pub async fn conduct(
    releases: Releases,
    fleet: Fleet,
    registry: Registry,
    is_leader: impl Fn() -> bool + Send,
    drain: Drain,
) {
    let config = releases.rollout_config().clone();
    let mut looks = interval(config.look_every.max(LOOK_MIN));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heads = releases.inner.records.head();
    let mut swept = 0;
    // What shall be steered by next, and since when all caches may have it. That lies in no record: a process that begins
    // waits anew.
    let mut steering = (None, 0);
    let mut looked_at = None;
    loop {
        let is_due = tokio::select! {
            _ = looks.tick() => true,
            // What another replica wrote, or somebody here: mostly no release. Purges come by the hundred in a second.
            changed = heads.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            () = drain.started() => return,
        };
        let looked = async {
            releases.refresh().await?;
            let revisions = releases.course().revisions;
            if !is_due && looked_at == Some(revisions) {
                return Ok(());
            }
            looked_at = Some(revisions);
            let (reports, now) = (reports(&fleet), releases.now_unix_ms());
            let course = releases.course();
            let wanted = course.release_for_steering().map(|made| made.version());
            if steering.0 != wanted {
                steering = (wanted, now);
            }
            if course.is_steering_due(&reports, (steering.1, now), &config) {
                releases.steer();
            }
            if !is_leader() {
                return Ok(());
            }
            look(&releases, &fleet, &config).await?;
            forget_gone(&releases, &fleet, &registry, std::iter::empty()).await?;
            // Old contents go now and then.
            let version = releases.course().version().0;
            if version >= swept + SWEEP_EVERY {
                swept = version;
                releases.sweep().await?;
            }
            Ok::<_, ReleaseError>(())
        };
        if let Err(error) = looked.await {
            tracing::error!(%error, "the roll-out could not be looked after");
        }
    }
}

/// Forgets nodes and enrolments of PoPs that are in no release that anybody runs: their lanes end. Looked at are the PoPs of
/// nodes, and those that are named.
///
/// # Errors
/// [`ReleaseError`]
pub async fn forget_gone(
    releases: &Releases,
    fleet: &Fleet,
    registry: &Registry,
    named: impl IntoIterator<Item = PopId>,
) -> Result<(), ReleaseError> {
    let pops = fleet.sights().into_iter().map(|sight| sight.name.pop).chain(named);
    let mut gone: BTreeSet<_> = pops.filter(|pop| is_gone(&releases.course(), pop)).collect();
    if gone.is_empty() {
        return Ok(());
    }
    // Another replica may have made a PoP and enrolled its nodes since this one looked.
    releases.refresh().await?;
    gone.retain(|pop| is_gone(&releases.course(), pop));
    for pop in &gone {
        registry.forget_pop(pop).await?;
        fleet.forget_pop(pop);
    }
    Ok(())
}

/// Whether a PoP is in no release that anybody runs. What goes out may still be taken back.
fn is_gone(course: &Course, pop: &PopId) -> bool {
    let mut made = [&course.head, &course.base].into_iter().flatten();
    course.head.is_some() && !made.any(|made| made.state.has_pop(pop))
}

/// What the nodes say, as far as roll-outs read it.
#[must_use]
pub fn reports(fleet: &Fleet) -> Vec<NodeReport> {
    fleet.sights().iter().map(report).collect()
}

async fn look(
    releases: &Releases,
    fleet: &Fleet,
    config: &rollout::Config,
) -> Result<(), ReleaseError> {
    let course = releases.course();
    let now = releases.now_unix_ms();
    let Some(rollout) = &course.rollout else {
        return keep_good(releases, now).await;
    };
    let reports = reports(fleet);
    match rollout.decide(&reports, now, config) {
        Decision::Stay(_) => {}
        Decision::Advance => {
            if rollout.stage == Stage::All {
                let version = releases.publish_rest(&course, rollout, &reports).await?;
                tracing::info!(%version, "what is taken away goes out behind what came");
                return Ok(());
            }
            let next = rollout.advanced(now, &reports);
            let (version, stage) = (rollout.target, next.stage.as_str());
            tracing::info!(version, stage, "a release goes on");
            releases.move_rollout(&course, next.unless_over().as_ref()).await?;
        }
        Decision::TurnBack(why) => {
            let (version, base) = (rollout.target, rollout.base);
            tracing::error!(version, why, "a release does harm and is taken back");
            let reason = format!("version {version} was taken back: {why}");
            let base = tidegate_contract::id::Generation(base);
            releases.roll_back(base, "control plane", &reason).await?;
        }
    }
    Ok(())
}

/// Releases the same again at half of its life.
async fn keep_good(releases: &Releases, now_unix_ms: u64) -> Result<(), ReleaseError> {
    let header = releases.head()?.record.header;
    let half = millis(releases.inner.config.lifetime) / 2;
    if now_unix_ms >= header.created_unix_ms.saturating_add(half) {
        let version = releases.reissue("the release before would expire").await?;
        tracing::info!(%version, "the same is released again, for it would expire");
    }
    Ok(())
}

fn report(sight: &NodeSight) -> NodeReport {
    NodeReport {
        name: sight.name.to_string(),
        pop: sight.name.pop.clone(),
        is_connected: sight.has_config_lane,
        version: sight.generation,
        nack: sight.nack.as_ref().map(|nack| (nack.generation, nack.error.clone())),
        totals: sight.health.map(|health| Totals {
            requests: health.requests_total,
            hits: health.hits_total,
            errors: health.errors_total,
            started_unix_ms: health.started_unix_ms,
        }),
    }
}

const LOOK_MIN: Duration = Duration::from_millis(10);
/// Versions between two sweeps of old contents.
const SWEEP_EVERY: u64 = 50;
