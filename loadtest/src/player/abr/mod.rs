//! Which rendition comes next. Pure: the ladder, the buffer and what was measured in, a rung out.
//!
//! Invariant: the answer is always a rung of the ladder, and the same situation gives the same answer.

mod abandon;
mod bola;
mod throughput;
mod estimate;

use std::time::Duration;

pub(super) use self::{
    abandon::{Abandon, Download, abandon, begins as abandon_begins},
    estimate::Estimate,
};
use super::behaviour::{AbrRule, Behaviour};

/// One choice, ascending by bits per second.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rung {
    /// Its place among the presentation's variants.
    pub(super) variant: usize,
    /// Peak bits per second.
    pub(super) bandwidth: u64,
    /// Mean bits per second, where it is declared; else the peak.
    pub(super) average: u64,
    /// Mean length of its segments, once its playlist is there.
    pub(super) segment: Option<Duration>,
}

/// What a choice goes by.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    pub(super) behaviour: &'a Behaviour,
    /// Never empty.
    pub(super) rungs: &'a [Rung],
    /// The rung of the segment that came last; `None` before the first.
    pub(super) last: Option<usize>,
    /// The rung that the manifest names first.
    pub(super) first_named: usize,
    /// Media of the main track ahead of the play head.
    pub(super) buffer: Duration,
    /// Length of the segment that came last.
    pub(super) segment: Option<Duration>,
    pub(super) is_live: bool,
    pub(super) estimate: &'a Estimate,
    /// How long the body of a playlist took last.
    pub(super) playlist_took: Duration,
    /// Bits per second of the link, for the rule that knows it.
    pub(super) link_rate: Option<u64>,
}

impl Situation<'_> {
    /// The rung of the next segment.
    pub(super) fn choose(&self) -> usize {
        let top = self.rungs.len() - 1;
        let rung = match self.behaviour.abr {
            AbrRule::Fixed => self.fixed(),
            AbrRule::Oracle => self.oracle(),
            AbrRule::Throughput => self.by_throughput(),
            AbrRule::Bola => self.by_bola(),
        };
        rung.min(top)
    }

    fn fixed(&self) -> usize {
        match self.behaviour.fixed_bitrate {
            0 => self.behaviour.fixed_index,
            wanted => {
                let distance = |rung: &Rung| rung.bandwidth.abs_diff(wanted);
                let nearest = (0..self.rungs.len()).min_by_key(|rung| distance(&self.rungs[*rung]));
                nearest.unwrap_or_default()
            }
        }
    }

    /// The highest rung whose mean the link carries; the lowest, if none.
    fn oracle(&self) -> usize {
        let Some(rate) = self.link_rate else { return self.by_throughput() };
        self.rungs.iter().rposition(|rung| rung.average <= rate).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_rung_is_the_one_named_and_an_oracles_the_one_the_link_carries() {
        let rungs = ladder(&[300, 800, 2_000, 5_000]);
        let table = [
            (AbrRule::Fixed, 2, 0, 0, 2),
            (AbrRule::Fixed, 99, 0, 0, 3),
            (AbrRule::Fixed, 0, 1_500_000, 0, 2),
            (AbrRule::Fixed, 0, 1, 0, 0),
            (AbrRule::Oracle, 0, 0, 2_500_000, 2),
            (AbrRule::Oracle, 0, 0, 100_000, 0),
            (AbrRule::Oracle, 0, 0, 90_000_000, 3),
        ];
        for (abr, fixed_index, fixed_bitrate, link, want) in table {
            let behaviour = Behaviour { abr, fixed_index, fixed_bitrate, ..Behaviour::default() };
            let estimate = Estimate::new(&behaviour);
            let mut situation = situation(&behaviour, &rungs, &estimate);
            situation.link_rate = Some(link);
            assert_eq!(situation.choose(), want, "{abr:?} {fixed_index} {fixed_bitrate} {link}");
        }
    }

    pub(super) fn ladder(kilobits: &[u64]) -> Vec<Rung> {
        let rung = |(variant, kilobits): (usize, &u64)| Rung {
            variant,
            bandwidth: kilobits * 1_000,
            average: kilobits * 1_000,
            segment: Some(Duration::from_secs(4)),
        };
        kilobits.iter().enumerate().map(rung).collect()
    }

    pub(super) fn situation<'a>(
        behaviour: &'a Behaviour,
        rungs: &'a [Rung],
        estimate: &'a Estimate,
    ) -> Situation<'a> {
        Situation {
            behaviour,
            rungs,
            last: None,
            first_named: 0,
            buffer: Duration::ZERO,
            segment: None,
            is_live: false,
            estimate,
            playlist_took: Duration::ZERO,
            link_rate: None,
        }
    }
}
