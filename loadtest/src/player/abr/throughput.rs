//! The rule of hls.js: the highest rendition that the estimate carries with room to spare and whose segment comes
//! before the buffer is empty; with nothing such, one that makes the player wait little.
//!
//! Invariant: without any measurement the choice follows from the manifest and the settings alone.

use std::time::Duration;

use super::Situation;

impl Situation<'_> {
    pub(super) fn by_throughput(&self) -> usize {
        if self.rungs.len() == 1 {
            return 0;
        }
        match self.last {
            Some(_) if self.estimate.has_measured() => self.by_measurement(),
            _ => self.first_choice(),
        }
    }

    /// Before a segment came: what the estimate carries without any room, else what the manifest names first.
    fn first_choice(&self) -> usize {
        let wait = self.behaviour.starvation_max;
        let factors = Factors { keep: 1.0, up: 1.0 };
        let best = self.best(self.buffer / 2, wait, factors);
        best.unwrap_or(self.first_named)
    }

    fn by_measurement(&self) -> usize {
        let factors = Factors {
            keep: self.behaviour.bandwidth_factor,
            up: self.behaviour.bandwidth_up_factor,
        };
        if !self.buffer.is_zero()
            && let Some(best) = self.best(self.buffer, Duration::ZERO, factors)
        {
            return best;
        }
        let wait = self.behaviour.starvation_max;
        let wait = self.segment.map_or(wait, |segment| segment.min(wait));
        self.best(self.buffer, wait, factors).unwrap_or(0)
    }

    /// The highest rung that suits: carried by the factor's share of the estimate, and fetched within the buffer plus
    /// `wait`. At a live edge the latter does not count: a segment's time is never much shorter than the buffer there.
    fn best(&self, buffer: Duration, wait: Duration, factors: Factors) -> Option<usize> {
        let first_byte = self.estimate.first_byte();
        let is_calm = wait.is_zero() && self.segment.is_some_and(|segment| buffer >= segment * 2);
        let base = self.last.unwrap_or(self.first_named);
        (0..self.rungs.len()).rev().find(|index| {
            let rung = &self.rungs[*index];
            let factor = if *index > base { factors.up } else { factors.keep };
            let carried = factor * self.estimate.bits_per_second();
            // With enough in the buffer peaks even out.
            let bitrate = if is_calm { rung.average } else { rung.bandwidth } as f64;
            if carried < bitrate {
                return false;
            }
            let length = rung.segment.or(self.segment).unwrap_or(Duration::from_secs(1));
            let needs_playlist = rung.segment.is_none() || self.is_live;
            let playlist =
                if needs_playlist { first_byte + self.playlist_took } else { Duration::ZERO };
            let body = bitrate * length.as_secs_f64() / carried;
            let body = Duration::from_secs_f64(body.min(ENDLESS));
            let took = first_byte + body + playlist;
            self.is_live || took <= first_byte || took < buffer + wait
        })
    }
}

/// Shares of the estimate that a rendition may take.
#[derive(Debug, Clone, Copy)]
struct Factors {
    keep: f64,
    up: f64,
}

/// Seconds; a declared bitrate may be any number.
const ENDLESS: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::behaviour::Behaviour,
            Estimate, Rung,
            tests::{ladder, situation},
        },
        *,
    };

    #[test]
    fn the_first_choice_is_what_the_assumption_carries() {
        let behaviour = Behaviour::default();
        let rungs = ladder(&[300, 800, 2_000, 5_000]);
        // What the manifest names first, and the rung that is begun with.
        for (named, want) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
            let mut estimate = Estimate::new(&behaviour);
            estimate.expect(rungs[named].bandwidth, &behaviour);
            let mut at_start = situation(&behaviour, &rungs, &estimate);
            at_start.first_named = named;
            let unknown: Vec<Rung> =
                rungs.iter().map(|rung| Rung { segment: None, ..rung.clone() }).collect();
            at_start.rungs = &unknown;
            assert_eq!(at_start.choose(), want);
        }
        // None is carried: then the one named first.
        let high = ladder(&[6_000, 9_000]);
        let estimate = Estimate::new(&behaviour);
        let mut at_start = situation(&behaviour, &high, &estimate);
        at_start.first_named = 1;
        assert_eq!(at_start.choose(), 1);
    }

    #[test]
    fn going_up_needs_more_room_than_staying() {
        let behaviour = Behaviour::default();
        let rungs = ladder(&[300, 800, 2_000, 5_000]);
        // Estimate in kbit/s, rung before, buffer in seconds, rung after.
        let table = [
            (2_500, 1, 20, 1), // 0.7 of it is less than 2,000
            (3_000, 1, 20, 2),
            (2_500, 2, 20, 2), // 0.95 of it is more
            (2_000, 2, 20, 1),
            (9_000, 0, 20, 3),
            (100, 3, 20, 0),
            // 2,000 kbit/s for 4 s over 2,850 kbit/s takes 2.9 s: too long for 2 s of buffer.
            (3_000, 2, 2, 1),
            (3_000, 2, 0, 2), // but with nothing in the buffer, 4 s of waiting are allowed
        ];
        for (kilobits, last, buffer, want) in table {
            let mut estimate = Estimate::new(&behaviour);
            estimate.answered(Duration::from_millis(10));
            estimate.downloaded(kilobits * 125, Duration::from_secs(1), Duration::ZERO);
            let mut now = situation(&behaviour, &rungs, &estimate);
            now.last = Some(last);
            now.buffer = Duration::from_secs(buffer);
            now.segment = Some(Duration::from_secs(4));
            assert_eq!(now.choose(), want, "{kilobits} from {last} with {buffer} s");
        }
    }

    #[test]
    fn a_calm_buffer_lets_the_mean_decide_and_a_live_edge_the_estimate_alone() {
        let behaviour = Behaviour::default();
        let mut rungs = ladder(&[1_000, 4_000]);
        rungs[1].average = 2_000_000;
        let mut estimate = Estimate::new(&behaviour);
        estimate.downloaded(3_000 * 125, Duration::from_secs(1), Duration::ZERO);
        let mut now = situation(&behaviour, &rungs, &estimate);
        now.last = Some(0);
        now.segment = Some(Duration::from_secs(4));
        now.buffer = Duration::from_secs(8);
        assert_eq!(now.choose(), 1);
        now.buffer = Duration::from_secs(7);
        assert_eq!(now.choose(), 0);

        let rungs = ladder(&[1_000, 2_000]);
        let mut now = situation(&behaviour, &rungs, &estimate);
        now.last = Some(1);
        now.segment = Some(Duration::from_secs(4));
        now.buffer = Duration::from_secs(2);
        assert_eq!(now.choose(), 0);
        now.is_live = true;
        assert_eq!(now.choose(), 1);
    }
}
