//! Sends waiting orders, oldest first, until each is accepted.

use std::{sync::Arc, time::Duration};

use crate::{
    app::App,
    purge::{
        config::Config,
        control_plane::{Answer, ControlPlane},
        store::{self, WaitingOrder},
    },
};

/// Sends orders until the drain begins. Without a control plane, orders are dropped as they come: nobody would
/// ever take them.
///
/// # Errors
/// A token or authority file that cannot be read.
pub async fn send_orders(app: App, config: Arc<Config>) -> anyhow::Result<()> {
    let control_plane = ControlPlane::open(&config)?;
    if control_plane.is_none() {
        tracing::warn!("no purge.control_plane: changes of videos reach viewers by TTL only");
    }
    let mut failures = 0;
    while !app.drain.is_started() {
        let pause = match send_batch(&app, &config, control_plane.as_ref()).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => IDLE,
            Err(error) => {
                let pause = backoff(&config, failures);
                failures += 1;
                tracing::warn!(error = %format!("{error:#}"), failures, "purges wait");
                app.metrics.purges.with_label_values(&["retried"]).inc();
                tokio::select! {
                    () = tokio::time::sleep(pause) => continue,
                    () = app.drain.started() => break,
                }
            }
        };
        failures = 0;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.purge_waits.notified() => {}
            () = app.drain.started() => {}
        }
    }
    Ok(())
}

/// Sends one batch; says whether there may be more. An error means: the rest later.
async fn send_batch(
    app: &App,
    config: &Config,
    control_plane: Option<&ControlPlane>,
) -> anyhow::Result<bool> {
    let waiting = store::count(&app.database).await?;
    app.metrics.purges_waiting.set(waiting);
    if waiting > i64::from(config.orders_max) {
        tracing::error!(waiting, "too many purges wait: one purge of everything replaces them");
        store::collapse(&app.database, app.now_ms()).await?;
    }
    let batch = store::oldest(&app.database, config.batch_max).await?;
    for group in group_equal(&batch) {
        if let Some(control_plane) = control_plane {
            send(app, control_plane, group[0]).await?;
        }
        let ids: Vec<_> = group.iter().map(|waiting| waiting.id.clone()).collect();
        store::remove(&app.database, &ids).await?;
    }
    Ok(batch.len() == config.batch_max as usize)
}

async fn send(
    app: &App,
    control_plane: &ControlPlane,
    waiting: &WaitingOrder,
) -> anyhow::Result<()> {
    let outcome = match control_plane.order(&waiting.id, &waiting.order).await {
        Answer::Accepted => "accepted",
        Answer::Refused(why) => {
            tracing::error!(order = ?waiting.order, why, "the control plane refuses a purge for good");
            "refused"
        }
        Answer::Later(why) => anyhow::bail!("the control plane takes no purge now: {why}"),
    };
    app.metrics.purges.with_label_values(&[outcome]).inc();
    Ok(())
}

/// Equal orders together, in the order of the first of each. One purge covers all that waited when it was sent.
fn group_equal(batch: &[WaitingOrder]) -> Vec<Vec<&WaitingOrder>> {
    let mut groups: Vec<Vec<&WaitingOrder>> = Vec::new();
    for waiting in batch {
        match groups.iter_mut().find(|group| group[0].order == waiting.order) {
            Some(group) => group.push(waiting),
            None => groups.push(vec![waiting]),
        }
    }
    groups
}

/// Exponential, with the upper half left to chance so that several origins do not come together.
fn backoff(config: &Config, failures: u32) -> Duration {
    let full = config.retry_backoff.saturating_mul(2_u32.saturating_pow(failures));
    full.min(config.retry_backoff_max).mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

/// How long an empty outbox is left alone when nobody rings: another process may have written to it.
const IDLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        purge::{PurgeOrder, PurgeTarget},
        surrogate_key::SurrogateKey,
    };

    use super::*;

    fn waiting(id: &str, key: &str) -> WaitingOrder {
        let target = PurgeTarget::Key { key: SurrogateKey::parse(key).unwrap() };
        WaitingOrder { id: id.to_owned(), order: PurgeOrder { target, soft: false } }
    }

    #[test]
    fn equal_orders_are_sent_once_in_the_place_of_the_first() {
        let batch = [waiting("1", "a"), waiting("2", "b"), waiting("3", "a")];
        let groups = group_equal(&batch);
        let ids =
            |group: &Vec<&WaitingOrder>| group.iter().map(|w| w.id.clone()).collect::<Vec<_>>();
        assert_eq!(groups.iter().map(ids).collect::<Vec<_>>(), [vec!["1", "3"], vec!["2"]]);
    }

    #[test]
    fn waits_grow_up_to_the_limit() {
        let config = Config::default();
        assert!(backoff(&config, 0) <= config.retry_backoff);
        assert!(backoff(&config, 3) >= config.retry_backoff * 4);
        assert!(backoff(&config, 1_000) <= config.retry_backoff_max);
        assert!(backoff(&config, 1_000) >= config.retry_backoff_max / 2);
    }
}
