//! The load of the PoP that this node stands in, as its nodes tell it themselves: what they send to clients.
//!
//! It is what a node can know that hears of nobody else. Invariant: a load is told only when every node answered;
//! what is missing would look like room.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Url};
use tidegate_chassis::Drain;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{inbox::Inbox, state::State};
use tidegate_contract::id::PopId;

/// How often nodes are asked.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// The largest answer.
const METRICS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a node counts of the bytes that it sends.
const SENT: &str = "edge_response_bytes_total";

/// Asks until the drain.
pub(super) async fn follow(
    urls: Vec<Url>,
    own: PopId,
    state: Arc<State>,
    inbox: Arc<Inbox>,
    drain: Drain,
) -> anyhow::Result<()> {
    let http = Client::builder()
        .timeout(ANSWER_TIME_MAX)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let mut ticks = interval(ASKED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<(Instant, f64)> = None;
    loop {
        tokio::select! {
            () = drain.started() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let sent = futures::future::join_all(urls.iter().map(|url| sent(&http, url))).await;
        let now = sent.into_iter().sum::<Option<f64>>().map(|sent| (Instant::now(), sent));
        let mbps = match (before, now) {
            (Some((then, old)), Some((now, new))) => mbps(old, new, now - then),
            _ => None,
        };
        before = now;
        let world = state.worlds().newest_full();
        let fleet = world.map.fleet();
        let usable = fleet.index(&own).map(|own| fleet.pops()[usize::from(own)].usable());
        let load = mbps.zip(usable.filter(|usable| *usable > 0.0));
        inbox.tell(|news| news.load = Some(load.map(|(mbps, usable)| mbps / usable)));
    }
}

/// Bytes that a node has sent since its start.
async fn sent(http: &Client, url: &Url) -> Option<f64> {
    let mut answer = http.get(url.clone()).send().await.ok()?.error_for_status().ok()?;
    let mut text = Vec::new();
    while let Some(bytes) = answer.chunk().await.ok()? {
        text.extend_from_slice(&bytes);
        if text.len() > METRICS_BYTES_MAX {
            return None;
        }
    }
    sum(std::str::from_utf8(&text).ok()?)
}

/// The sum over all labels; nothing when the text does not have the metric.
fn sum(text: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(SENT)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_ascii_whitespace().next()?.parse::<f64>().ok()
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// Mbit/s between two readings; nothing when a node has started anew between them.
fn mbps(old: f64, new: f64, after: Duration) -> Option<f64> {
    let seconds = after.as_secs_f64();
    (new >= old && seconds > 0.0).then(|| (new - old) * 8e-6 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_summed_over_labels_and_nothing_else_is_taken_for_them() {
        let text = "# HELP edge_response_bytes_total Bytes.\n\
            edge_response_bytes_total{protocol=\"h1\"} 100\n\
            edge_response_bytes_total{protocol=\"h}2\"} 2.5e2\n\
            edge_response_bytes_total_other 7\n\
            edge_requests_total 9\n";
        assert_eq!(sum(text), Some(350.0));
        assert_eq!(sum("edge_response_bytes_total 12 1700000000\n"), Some(12.0));
        assert_eq!(sum("edge_requests_total 9\n"), None);
    }

    #[test]
    fn a_node_that_started_anew_tells_nothing() {
        let second = Duration::from_secs(1);
        assert_eq!(mbps(0.0, 125_000.0, second), Some(1.0));
        assert_eq!((mbps(5.0, 4.0, second), mbps(1.0, 2.0, Duration::ZERO)), (None, None));
    }
}
