//! Content steering (RFC 8216bis section 7): which pathway a player takes, and when it asks again.
//!
//! Invariant: the pathway is always one that the presentation has, if it has any; one that failed is left alone for a
//! while, unless no other is there.

use std::time::Duration;

use url::Url;

use super::{documents, event::FetchId};
use crate::manifest::{self, steering::SteeringManifest};

/// What is known of the steering server.
#[derive(Debug)]
pub(super) struct Steering {
    server: Url,
    priority: Vec<String>,
    /// Pathways that failed, and until when they are avoided.
    penalties: Vec<(String, Duration)>,
    ttl: Duration,
    /// When it is asked next; `None` when it said that it is gone.
    pub(super) due: Option<Duration>,
    pub(super) pending: Option<FetchId>,
    /// Nothing else is fetched before its first answer.
    pub(super) is_awaited: bool,
}

impl Steering {
    /// Asked at once.
    pub(super) fn new(from: &manifest::Steering, now: Duration) -> Self {
        Self {
            server: from.server.clone(),
            priority: Vec::new(),
            penalties: Vec::new(),
            ttl: TTL_DEFAULT,
            due: Some(now),
            pending: None,
            is_awaited: from.is_before_start,
        }
    }

    /// Pathways without a server: they are left only when they fail.
    pub(super) fn unsteered(address: &Url) -> Self {
        Self {
            server: address.clone(),
            priority: Vec::new(),
            penalties: Vec::new(),
            ttl: TTL_DEFAULT,
            due: None,
            pending: None,
            is_awaited: false,
        }
    }

    /// The URL with what the server is told: the pathway of now, and the throughput when it was measured.
    pub(super) fn url(
        &self,
        pathway: Option<&str>,
        bits_per_second: Option<u64>,
        is_dash: bool,
    ) -> Url {
        let mut url = self.server.clone();
        let dialect = if is_dash { "DASH" } else { "HLS" };
        if let Some(pathway) = pathway {
            // The dialect of DASH has room for several, and therefore quotes.
            let value = if is_dash { format!("\"{pathway}\"") } else { pathway.to_owned() };
            url.query_pairs_mut().append_pair(&format!("_{dialect}_pathway"), &value);
        }
        if let Some(throughput) = bits_per_second {
            let name = format!("_{dialect}_throughput");
            url.query_pairs_mut().append_pair(&name, &throughput.to_string());
        }
        url
    }

    pub(super) fn server(&self) -> &Url {
        &self.server
    }

    /// An answer came, from this address.
    pub(super) fn answered(&mut self, manifest: &SteeringManifest, from: &Url, now: Duration) {
        self.pending = None;
        self.is_awaited = false;
        // Without what was added for the question, or it would grow each time.
        if let Ok(server) = manifest.reload_url(&documents::base(from, &self.server)) {
            self.server = server;
        }
        self.priority.clone_from(&manifest.pathway_priority);
        self.ttl = manifest.ttl.max(TTL_MIN);
        self.due = Some(now + self.ttl);
    }

    /// No answer, or none that can be read: as before, and again after the time to live.
    pub(super) fn failed(
        &mut self,
        status: Option<u16>,
        retry_after: Option<Duration>,
        now: Duration,
    ) {
        if status == Some(410) {
            return self.end();
        }
        self.pending = None;
        self.is_awaited = false;
        let busy = retry_after.filter(|_| status == Some(429));
        self.due = Some(now + busy.unwrap_or(self.ttl).max(TTL_MIN));
    }

    /// It is not asked again for this presentation; what it said last stays.
    pub(super) fn end(&mut self) {
        self.pending = None;
        self.is_awaited = false;
        self.due = None;
    }

    /// A pathway does not work.
    pub(super) fn penalize(&mut self, pathway: &str, now: Duration) {
        self.penalties.retain(|(name, until)| name != pathway && *until > now);
        if self.penalties.len() < PENALTIES_MAX {
            self.penalties.push((pathway.to_owned(), now + PENALTY));
        }
    }

    /// The pathway to take, of those that are there in the manifest's order; `None` when there are none.
    pub(super) fn choose<'a>(
        &'a self,
        present: Option<&'a str>,
        available: &[&'a str],
        now: Duration,
    ) -> Option<&'a str> {
        let is_penalized =
            |name: &str| self.penalties.iter().any(|(bad, until)| bad == name && *until > now);
        let works = |name: &&str| available.contains(name) && !is_penalized(name);
        let by_priority = self.priority.iter().map(String::as_str).find(|name| works(name));
        by_priority
            .or_else(|| present.filter(|name| works(name)))
            .or_else(|| available.iter().copied().find(|name| works(name)))
            .or_else(|| present.filter(|name| available.contains(name)))
            .or_else(|| available.first().copied())
    }
}

/// Until a server says otherwise.
const TTL_DEFAULT: Duration = Duration::from_secs(300);
/// No server is asked more often.
const TTL_MIN: Duration = Duration::from_secs(1);
/// How long a pathway that failed is avoided.
const PENALTY: Duration = Duration::from_secs(300);
/// Pathways that can be avoided at the same time.
const PENALTIES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_the_pathway_and_the_throughput() {
        let steering = steering();
        let hls = steering.url(Some("CDN-A"), Some(5_140_000), false);
        assert_eq!(
            hls.as_str(),
            "https://s.example/m?v=1&_HLS_pathway=CDN-A&_HLS_throughput=5140000"
        );
        let dash = steering.url(Some("a"), Some(1), true);
        assert_eq!(
            dash.as_str(),
            "https://s.example/m?v=1&_DASH_pathway=%22a%22&_DASH_throughput=1"
        );
    }

    #[test]
    fn the_first_that_works_is_taken() {
        let mut steering = steering();
        let all = ["a", "b", "c"];
        let ask = |steering: &Steering, present, now| {
            steering.choose(present, &all, secs(now)).map(str::to_owned)
        };
        assert_eq!(ask(&steering, None, 0).as_deref(), Some("a"), "nothing is said yet");
        assert_eq!(ask(&steering, Some("b"), 0).as_deref(), Some("b"));
        let manifest = manifest::steering::parse(
            br#"{"VERSION":1,"TTL":20,"RELOAD-URI":"/next","PATHWAY-PRIORITY":["gone","c","b"]}"#,
        );
        let own = Url::parse("https://s.example/m?v=1").unwrap();
        steering.answered(&manifest.unwrap(), &own, secs(10));
        assert_eq!(steering.due, Some(secs(30)));
        assert_eq!(steering.server.as_str(), "https://s.example/next");
        let same = manifest::steering::parse(br#"{"VERSION":1,"PATHWAY-PRIORITY":["c","b"]}"#);
        let asked = steering.url(Some("c"), Some(7), false);
        steering.answered(&same.unwrap(), &asked, secs(10));
        assert_eq!(steering.server.as_str(), "https://s.example/next", "the question is not kept");
        assert_eq!(ask(&steering, Some("a"), 10).as_deref(), Some("c"));
        steering.penalize("c", secs(20));
        assert_eq!(ask(&steering, Some("c"), 20).as_deref(), Some("b"));
        steering.penalize("b", secs(20));
        assert_eq!(ask(&steering, Some("b"), 20).as_deref(), Some("a"));
        steering.penalize("a", secs(20));
        assert_eq!(ask(&steering, Some("a"), 20).as_deref(), Some("a"), "none is better");
        assert_eq!(ask(&steering, Some("a"), 400).as_deref(), Some("c"), "it was long ago");
        assert_eq!(steering.choose(Some("a"), &[], secs(0)), None);
    }

    #[test]
    fn a_server_that_is_busy_waits_and_one_that_is_gone_is_left_alone() {
        let mut steering = steering();
        for (status, retry_after, due) in [
            (Some(503), None, Some(305)),
            (Some(503), Some(7), Some(305)),
            (Some(429), Some(7), Some(12)),
            (Some(429), Some(0), Some(6)),
            (Some(429), None, Some(305)),
            (None, None, Some(305)),
            (Some(410), Some(7), None),
        ] {
            steering.failed(status, retry_after.map(secs), secs(5));
            assert_eq!(steering.due, due.map(secs), "{status:?} {retry_after:?}");
        }
    }

    fn steering() -> Steering {
        let from = manifest::Steering {
            server: Url::parse("https://s.example/m?v=1").unwrap(),
            pathway: None,
            is_before_start: false,
        };
        Steering::new(&from, Duration::ZERO)
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }
}
