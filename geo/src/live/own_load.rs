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
pub(super) const ASKED_EVERY: Duration = Duration::from_secs(5);
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
    every: Duration,
    drain: Drain,
) -> anyhow::Result<()> {
    let http = Client::builder()
        .timeout(ANSWER_TIME_MAX)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let mut ticks = interval(every);
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
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicU64, Ordering},
        time::SystemTime,
    };

    use prometheus::Registry;

    use super::*;
    use crate::{
        fleet::Fleet,
        live::{metrics::Metrics, state::Status},
        map::Map,
        unit::UnitsBuilder,
        world::{Trust, World, Worlds},
    };

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

    /// How long the node of the test takes to answer.
    const ANSWER_AFTER: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn the_load_is_what_all_nodes_send_over_what_the_pop_can_carry() {
        let sent = Arc::new(AtomicU64::new(1));
        let counting = Arc::clone(&sent);
        let text = move || {
            // As if 12.5 MB had been sent since the last time.
            let sent = counting.fetch_add(12_500_000, Ordering::Relaxed);
            async move {
                // Nothing is asked before the last answer is read: two readings are
                // at least this far apart, however busy the machine is.
                tokio::time::sleep(ANSWER_AFTER).await;
                format!("edge_response_bytes_total{{protocol=\"h2\"}} {sent}\n")
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/metrics", listener.local_addr().expect("bound"));
        let routes = axum::Router::new().route("/metrics", axum::routing::get(text));
        tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });

        tidegate_chassis::init_crypto();
        let text = "pop = [{ id = 'a', latitude = 0.0, longitude = 0.0, capacity = 1000.0 }]";
        let fleet = Arc::new(Fleet::from_toml(text).expect("good"));
        let map = Map::recalled(Arc::new(UnitsBuilder::default().build()), fleet, &HashMap::new());
        let (trust, heard) = (Trust::Current, SystemTime::now());
        let worlds = Worlds::new(World { map, trust, round: 1, heard });
        let state = State::new(worlds, Status::default(), Arc::default(), heard);
        let inbox = Inbox::new(Metrics::register(&Registry::new()));
        let (urls, own) = (vec![url.parse().expect("a URL")], PopId::parse("a").expect("good"));
        let (every, drain) = (Duration::from_millis(50), Drain::new());
        let begun = Instant::now();
        tokio::spawn(follow(urls, own, state, Arc::clone(&inbox), every, drain.clone()));
        let load = loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "no load");
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some(Some(load)) = inbox.wait(Duration::ZERO, false).load {
                break load;
            }
        };
        drain.begin();
        // 100 Mbit of 1,000 a second, in no less than an answer takes and no more
        // than has passed.
        let at_most = 0.1 / ANSWER_AFTER.as_secs_f64();
        let at_least = 0.1 / begun.elapsed().as_secs_f64();
        assert!(load >= at_least && load <= at_most, "{at_least} <= {load} <= {at_most}");
    }

    #[test]
    fn a_node_that_started_anew_tells_nothing() {
        let second = Duration::from_secs(1);
        assert_eq!(mbps(0.0, 125_000.0, second), Some(1.0));
        assert_eq!((mbps(5.0, 4.0, second), mbps(1.0, 2.0, Duration::ZERO)), (None, None));
    }
}
