//! A run on this machine alone: once, or as often as the search for a knee wants.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    climb::find_knee,
    crew::Crew,
    plan::{RunError, RunPlan},
    stop::Stop,
    time_of_day::unix_ms,
    watch::Watch,
    worker::Start,
};
use crate::results::Results;

/// Runs a plan. Must run in a `LocalSet`.
///
/// # Errors
/// When nothing could be begun; what goes wrong later is in the results.
pub async fn execute(
    plan: &RunPlan,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<Results, RunError> {
    let mut results = match &plan.scenario.knee {
        None => once(plan, stop, watch).await?,
        Some(knee) => find_knee(plan, knee, stop, watch, once).await?,
    };
    results.is_interrupted = stop.is_given();
    Ok(results)
}

async fn once(plan: &RunPlan, stop: &Stop, watch: &mut dyn Watch) -> Result<Results, RunError> {
    let crew = Crew::ready(plan, stop, watch.wants_totals()).await?;
    let start = Start {
        at: Instant::now() + START_AFTER,
        unix_ms: unix_ms() + START_AFTER.as_millis() as i64,
    };
    Ok(crew.play(start, watch).await)
}

/// Between all workers being ready and the first arrival.
const START_AFTER: Duration = Duration::from_millis(20);
