//! BOLA (Spiteri, Urgaonkar, Sitaraman: near-optimal bitrate adaptation, 2016): the rendition with the best utility for
//! its bytes at this fill of the buffer, without any estimate of the link.
//!
//! With less than a segment in the buffer it knows nothing yet, and the throughput rule decides; and it goes up no
//! further than that rule would, which keeps it from swinging between two rungs (BOLA-O). Invariant: of two fills, the
//! fuller one never gives the lower rung.

use super::Situation;

impl Situation<'_> {
    pub(super) fn by_bola(&self) -> usize {
        let carried = self.by_throughput();
        let segment = self.segment.unwrap_or_default();
        let (Some(last), false) = (self.last, self.buffer < segment || segment.is_zero()) else {
            return carried;
        };
        let best = self.best_for_fill();
        if best > last && best > carried { carried.max(last) } else { best }
    }

    /// Maximises (V (utility + gp) - buffer) / size, in seconds of media instead of segments.
    fn best_for_fill(&self) -> usize {
        let lowest = self.rungs[0].bandwidth.max(1) as f64;
        let utility = |bandwidth: u64| (bandwidth.max(1) as f64 / lowest).ln() + 1.0;
        let highest = utility(self.rungs[self.rungs.len() - 1].bandwidth);
        // The lowest rung is taken up to this fill, the highest at the buffer's full size.
        let most = self.behaviour.buffer_max.as_secs_f64();
        let least = LEAST_SECONDS.min(most / 2.0);
        let gp = (highest - 1.0).max(f64::MIN_POSITIVE) / (most / least - 1.0);
        let v = least / gp;
        let fill = self.buffer.as_secs_f64();
        let score = |index: usize| {
            let bandwidth = self.rungs[index].bandwidth.max(1);
            (v * (utility(bandwidth) - 1.0 + gp) - fill) / bandwidth as f64
        };
        let mut best = 0;
        for index in 1..self.rungs.len() {
            if score(index) > score(best) {
                best = index;
            }
        }
        // Beyond its full size every score is negative, and the largest size has the best.
        best
    }
}

/// The fill up to which the lowest rung is best, unless the buffer is small.
const LEAST_SECONDS: f64 = 10.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{
        super::behaviour::{AbrRule, Behaviour},
        Estimate,
        tests::{ladder, situation},
    };

    #[test]
    fn an_empty_buffer_takes_the_lowest_and_a_full_one_the_highest() {
        let behaviour = Behaviour { abr: AbrRule::Bola, ..Behaviour::default() };
        let rungs = ladder(&[300, 800, 2_000, 5_000]);
        let mut estimate = Estimate::new(&behaviour);
        estimate.downloaded(100_000_000, Duration::from_secs(1), Duration::ZERO);
        let mut chosen = Vec::new();
        for seconds in [4, 8, 12, 16, 20, 24, 28, 30] {
            let mut now = situation(&behaviour, &rungs, &estimate);
            now.last = Some(0);
            now.segment = Some(Duration::from_secs(4));
            now.buffer = Duration::from_secs(seconds);
            chosen.push(now.choose());
        }
        assert_eq!(chosen.first(), Some(&0));
        assert_eq!(chosen.last(), Some(&3));
        assert!(chosen.is_sorted() && chosen.contains(&1) && chosen.contains(&2), "{chosen:?}");
    }

    #[test]
    fn it_goes_up_no_further_than_the_link_carries_but_stays_where_it_is() {
        let behaviour = Behaviour { abr: AbrRule::Bola, ..Behaviour::default() };
        let rungs = ladder(&[300, 800, 2_000, 5_000]);
        let mut estimate = Estimate::new(&behaviour);
        estimate.downloaded(1_500 * 125, Duration::from_secs(1), Duration::ZERO);
        for (last, want) in [(0, 1), (1, 1), (2, 2), (3, 3)] {
            let mut now = situation(&behaviour, &rungs, &estimate);
            now.last = Some(last);
            now.segment = Some(Duration::from_secs(4));
            now.buffer = Duration::from_secs(29);
            assert_eq!(now.choose(), want, "from {last}");
        }
    }

    proptest! {
        #[test]
        fn a_fuller_buffer_never_gives_a_lower_rung(
            mut kilobits in prop::collection::vec(50_u64..20_000, 1..8),
            most in 1_u64..120,
            fills in prop::collection::vec(0_u64..150_000, 2..20),
        ) {
            kilobits.sort_unstable();
            kilobits.dedup();
            let behaviour =
                Behaviour { buffer_max: Duration::from_secs(most), ..Behaviour::default() };
            let rungs = ladder(&kilobits);
            let estimate = Estimate::new(&behaviour);
            let mut fills = fills;
            fills.sort_unstable();
            let mut before = 0;
            for fill in fills {
                let mut now = situation(&behaviour, &rungs, &estimate);
                now.buffer = Duration::from_millis(fill);
                let best = now.best_for_fill();
                prop_assert!(best >= before && best < rungs.len());
                before = best;
            }
        }
    }
}
