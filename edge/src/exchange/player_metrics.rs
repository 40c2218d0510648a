//! The numbers of what players say with CMCD.
//!
//! A player's word is counted once, by the node that faces it: a shield hears it again only through a fill. Invariant:
//! labels are words of enums alone; ids, however hashed, and what a player makes up never become one.

use prometheus::{Histogram, IntCounterVec, Registry};
use tidegate_chassis::metrics::{counter_vec, histogram};

use super::cmcd::Cmcd;

/// Handles on every number of players; clones count into the same numbers.
#[derive(Clone)]
pub struct PlayerMetrics {
    requests: IntCounterVec,
    starved: IntCounterVec,
    invalid: IntCounterVec,
    buffer_seconds: Histogram,
    throughput: Histogram,
}

impl PlayerMetrics {
    /// Declares every number.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            requests: counter_vec(
                registry,
                "edge_cmcd_requests_total",
                "Requests of players that speak CMCD, by its version (1, 2, other), by the kind of object that they \
                 ask for, and by what the player does (startup and none where it does not say).",
                &["version", "object", "state"],
            ),
            starved: counter_vec(
                registry,
                "edge_cmcd_starved_total",
                "Requests of players whose buffer ran empty since their last one (bs), by the kind of object.",
                &["object"],
            ),
            invalid: counter_vec(
                registry,
                "edge_cmcd_invalid_total",
                "CMCD that does not follow the standard: all (no dictionary, nothing of it counts), member (a value \
                 that is not of its kind, the others count).",
                &["part"],
            ),
            buffer_seconds: histogram(
                registry,
                "edge_cmcd_buffer_seconds",
                "Seconds that players have buffered (bl).",
                BUFFER_SECONDS,
            ),
            throughput: histogram(
                registry,
                "edge_cmcd_throughput_bits_per_second",
                "Throughput that players measured (mtp), in bits per second.",
                THROUGHPUT,
            ),
        }
    }

    /// Counts what a player said with one request.
    pub(super) fn count(&self, cmcd: &Cmcd) {
        let version = match cmcd.version {
            1 => "1",
            2 => "2",
            _ => "other",
        };
        let object = cmcd.object.map_or("none", |object| object.as_str());
        // Version 1 knows of no state but that it needs the object soon.
        let unsaid = if cmcd.is_startup { "startup" } else { "none" };
        let state = cmcd.state.map_or(unsaid, |state| state.as_str());
        self.requests.with_label_values(&[version, object, state]).inc();
        if cmcd.is_starved {
            self.starved.with_label_values(&[object]).inc();
        }
        if cmcd.odd_members > 0 {
            self.invalid.with_label_values(&["member"]).inc_by(cmcd.odd_members.into());
        }
        if let Some(ms) = cmcd.buffer_ms {
            self.buffer_seconds.observe(f64::from(ms) / 1000.0);
        }
        if let Some(kbps) = cmcd.throughput_kbps {
            self.throughput.observe(f64::from(kbps) * 1000.0);
        }
    }

    /// Counts something that should have been CMCD.
    pub(super) fn count_invalid(&self) {
        self.invalid.with_label_values(&["all"]).inc();
    }
}

/// From a player that stalls to one that has all of a short video.
const BUFFER_SECONDS: &[f64] = &[0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0];
/// From a bad mobile network to a fast fibre: what ladders are made for, in about doubling steps.
const THROUGHPUT: &[f64] =
    &[2.5e5, 5e5, 1e6, 2e6, 4e6, 8e6, 1.6e7, 3.2e7, 6.4e7, 1.28e8, 2.56e8, 1e9];

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn players() -> (PlayerMetrics, Registry) {
        let registry = Registry::new();
        (PlayerMetrics::register(&registry), registry)
    }

    fn said(text: &'static str) -> Cmcd {
        let mut headers = HeaderMap::new();
        headers.insert("cmcd-request", http::HeaderValue::from_static(text));
        Cmcd::read(&headers, None, "/v/1.m4s").unwrap().unwrap()
    }

    #[test]
    fn both_versions_are_counted_by_words_of_the_standard() {
        let (players, _) = players();
        for text in ["ot=v,bl=2100,mtp=48100,bs", "ot=v,su", "v=2,ot=a,sta=r,bl=(900;a)", "v=9"] {
            players.count(&said(text));
        }
        let requests = |labels: [&str; 3]| players.requests.with_label_values(&labels).get();
        assert_eq!(requests(["1", "video", "none"]), 1);
        assert_eq!(requests(["1", "video", "startup"]), 1);
        assert_eq!(requests(["2", "audio", "rebuffering"]), 1);
        assert_eq!(requests(["other", "none", "none"]), 1);
        assert_eq!(players.starved.with_label_values(&["video"]).get(), 1);
        assert_eq!(players.buffer_seconds.get_sample_count(), 2);
        assert!((players.buffer_seconds.get_sample_sum() - 3.0).abs() < 1e-9);
        assert!((players.throughput.get_sample_sum() - 48_100_000.0).abs() < 1e-3);
    }

    #[test]
    fn what_players_make_up_becomes_no_label() {
        let (players, registry) = players();
        players.count(&said("sid=\"abc\",ot=made-up,sta=x,com.example-own=\"y\",bl=\"z\""));
        players.count_invalid();
        assert_eq!(players.invalid.with_label_values(&["member"]).get(), 3);
        assert_eq!(players.invalid.with_label_values(&["all"]).get(), 1);
        let families = registry.gather();
        let labels = families.iter().flat_map(|family| family.get_metric());
        let values: Vec<&str> =
            labels.flat_map(|metric| metric.get_label()).map(|label| label.value()).collect();
        let known = ["1", "none", "member", "all"];
        assert!(values.iter().all(|value| known.contains(value)), "{values:?}");
    }
}
