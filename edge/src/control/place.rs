//! Which endpoint each lane of one kind uses.
//!
//! Two subscriptions to one place would fail together, so they stay apart wherever there is more than one endpoint.
//! Invariant: with two endpoints or more, no endpoint is held by both.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of some lanes; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    endpoints: usize,
    /// By lane.
    held: Arc<Mutex<Vec<usize>>>,
}

impl Places {
    /// Places among so many endpoints, beginning anywhere: nodes spread over them. There are at most `lanes_max`
    /// lanes, and never more than endpoints.
    pub(super) fn new(endpoints: usize, lanes_max: usize, begin: usize) -> Self {
        let endpoints = endpoints.max(1);
        let lanes = lanes_max.clamp(1, endpoints);
        let held = (0..lanes).map(|lane| (begin + lane) % endpoints).collect();
        Self { endpoints, held: Arc::new(Mutex::new(held)) }
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> usize {
        self.held().len()
    }

    /// The endpoint of a lane.
    pub(super) fn current(&self, lane: usize) -> usize {
        self.held().get(lane).copied().unwrap_or_default()
    }

    /// Goes on to the next endpoint that no other lane holds; that may be the same one again.
    pub(super) fn go_on(&self, lane: usize) {
        let mut held = self.held();
        let Some(now) = held.get(lane).copied() else { return };
        let is_free = |endpoint: &usize| {
            !held.iter().enumerate().any(|(other, at)| other != lane && at == endpoint)
        };
        let next = (1..=self.endpoints).map(|step| (now + step) % self.endpoints).find(is_free);
        held[lane] = next.unwrap_or(now);
    }

    fn held(&self) -> MutexGuard<'_, Vec<usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lanes_stay_apart_where_they_can() {
        for endpoints in 1..6 {
            let places = Places::new(endpoints, 2, 3);
            assert_eq!(places.lanes(), endpoints.min(2));
            for turn in 0..20 {
                places.go_on(turn % 3 % places.lanes());
                let (first, second) = (places.current(0), places.current(1));
                assert!(first < endpoints);
                assert!(endpoints == 1 || first != second, "{endpoints}");
            }
        }
    }

    #[test]
    fn a_lane_sees_all_endpoints_but_those_of_others() {
        for (lanes, expected) in [(2, [2, 3, 0, 2]), (1, [1, 2, 3, 0])] {
            let places = Places::new(4, lanes, 0);
            let seen = [(); 4].map(|()| {
                places.go_on(0);
                places.current(0)
            });
            assert_eq!(seen, expected);
        }
    }
}
