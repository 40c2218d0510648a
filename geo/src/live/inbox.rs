//! What the rounds have not heard yet.
//!
//! Everything but round trips is a state, of which the newest counts, so that nobody who tells ever waits and nothing
//! that matters is lost; round trips are samples, of which the oldest are left out when there are too many.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tidegate_contract::geo_feed::{FleetView, RoundTrips};

use super::{metrics::Metrics, seen::Seen};
use crate::{fleet::Fleet, unit::Units};

/// Batches that wait to be taken in: what 150 PoPs of 8 nodes send in some ten seconds.
const BATCHES_WAITING_MAX: usize = 2048;

/// News since the last time.
#[derive(Debug, Default)]
pub(super) struct News {
    /// What the control plane tells.
    pub(super) view: Option<Arc<FleetView>>,
    /// What a file says.
    pub(super) fleet: Option<Fleet>,
    /// The Internet, read again.
    pub(super) places: Option<Arc<Units>>,
    /// What this node sees.
    pub(super) seen: Option<Seen>,
    /// Why an operator holds the map here; nothing when nobody does.
    pub(super) hold: Option<Option<String>>,
    /// When the control plane was heard.
    pub(super) heard: Option<SystemTime>,
    /// What the own PoP carries; nothing when that is not known.
    pub(super) load: Option<Option<f64>>,
    /// What PoPs measured.
    pub(super) batches: VecDeque<RoundTrips>,
    /// A round is made.
    pub(super) is_made: bool,
    /// The process ends.
    pub(super) is_ended: bool,
}

/// The place where news wait.
#[derive(Debug)]
pub(super) struct Inbox {
    news: Mutex<News>,
    came: Condvar,
    metrics: Metrics,
}

impl Inbox {
    pub(super) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { news: Mutex::default(), came: Condvar::new(), metrics })
    }

    /// Tells something.
    pub(super) fn tell(&self, tell: impl FnOnce(&mut News)) {
        tell(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.came.notify_one();
    }

    /// Tells what a PoP measured.
    pub(super) fn measured(&self, batch: RoundTrips) {
        self.tell(|news| {
            if news.batches.len() >= BATCHES_WAITING_MAX {
                news.batches.pop_front();
                self.metrics.batches_dropped.inc();
            }
            news.batches.push_back(batch);
        });
    }

    /// Waits for news, at most so long. Round trips stay where they are unless they are wanted.
    pub(super) fn wait(&self, limit: Duration, wants_batches: bool) -> News {
        let is_quiet = |news: &mut News| {
            let News { view, fleet, places, seen, hold, heard, load, batches, is_made, is_ended } =
                news;
            view.is_none()
                && fleet.is_none()
                && places.is_none()
                && seen.is_none()
                && hold.is_none()
                && heard.is_none()
                && load.is_none()
                && (batches.is_empty() || !wants_batches)
                && !*is_made
                && !*is_ended
        };
        let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.came.wait_timeout_while(news, limit, is_quiet);
        let (mut news, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *news);
        if !wants_batches {
            std::mem::swap(&mut taken.batches, &mut news.batches);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn the_newest_state_counts_and_too_many_samples_are_left_out() {
        let metrics = Metrics::register(&Registry::new());
        let inbox = Inbox::new(metrics.clone());
        inbox.tell(|news| news.hold = Some(None));
        inbox.tell(|news| news.hold = Some(Some("why".into())));
        for number in 0..BATCHES_WAITING_MAX as u32 + 3 {
            inbox.measured(RoundTrips { period_ms: number, ..RoundTrips::default() });
        }
        let news = inbox.wait(Duration::ZERO, false);
        assert_eq!((news.hold, news.batches.len()), (Some(Some("why".into())), 0));
        let news = inbox.wait(Duration::from_secs(60), true);
        assert_eq!((news.batches.len(), news.batches[0].period_ms), (BATCHES_WAITING_MAX, 3));
        assert_eq!(metrics.batches_dropped.get(), 3);
        assert!(news.hold.is_none());
    }
}
