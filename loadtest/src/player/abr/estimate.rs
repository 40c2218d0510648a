//! How fast the link is, out of the downloads so far: the lower of two averages that forget at different speeds, and
//! the usual time to the first byte. The arithmetic is that of hls.js, so that both believe the same on the same link.
//!
//! Invariant: the estimate is finite and positive, whatever was measured.

use std::time::Duration;

use super::super::behaviour::Behaviour;

/// What is believed of the link.
#[derive(Debug, Clone)]
pub(in super::super) struct Estimate {
    fast: Average,
    slow: Average,
    first_byte: Average,
    /// Bits per second, before anything was measured.
    default: f64,
}

/// An exponentially weighted average.
#[derive(Debug, Clone, Copy)]
struct Average {
    half_life: f64,
    value: f64,
    weight: f64,
}

impl Estimate {
    pub(in super::super) fn new(behaviour: &Behaviour) -> Self {
        Self {
            fast: Average::new(behaviour.half_life_fast),
            slow: Average::new(behaviour.half_life_slow),
            first_byte: Average::new(behaviour.half_life_slow),
            default: (behaviour.default_bandwidth as f64).max(1.0),
        }
    }

    /// A download of some bytes took that long, the usual wait for the first byte left out.
    pub(in super::super) fn downloaded(
        &mut self,
        bytes: u64,
        took: Duration,
        first_byte: Duration,
    ) {
        self.sample(bytes, took.saturating_sub(first_byte.min(self.first_byte())));
    }

    /// The first byte of an answer took that long.
    pub(in super::super) fn answered(&mut self, first_byte: Duration) {
        let seconds = first_byte.as_secs_f64();
        let weight = std::f64::consts::SQRT_2 * (-seconds * seconds / 2.0).exp();
        self.first_byte.sample(weight, seconds.max(0.005));
    }

    /// Bits per second.
    pub(in super::super) fn bits_per_second(&self) -> f64 {
        if !self.has_measured() {
            return self.default;
        }
        self.fast.mean().min(self.slow.mean()).max(1.0)
    }

    /// How long the first byte takes.
    pub(in super::super) fn first_byte(&self) -> Duration {
        if self.first_byte.weight < WEIGHT_MIN {
            return FIRST_BYTE_DEFAULT;
        }
        Duration::from_secs_f64(self.first_byte.mean().clamp(0.0, 3600.0))
    }

    pub(in super::super) fn has_measured(&self) -> bool {
        self.fast.weight >= WEIGHT_MIN
    }

    /// The manifest names this one first: whoever made it thinks that most links carry it.
    pub(in super::super) fn expect(&mut self, bandwidth: u64, behaviour: &Behaviour) {
        let expected = bandwidth.min(behaviour.default_bandwidth_max) as f64;
        self.default = self.default.max(expected);
    }

    /// Forgets what was measured and believes this until there is something new.
    pub(in super::super) fn begin_anew(&mut self, bandwidth: u64) {
        self.fast.forget();
        self.slow.forget();
        self.first_byte.forget();
        self.default = (bandwidth as f64).max(1.0);
    }

    fn sample(&mut self, bytes: u64, took: Duration) {
        if bytes == 0 {
            return;
        }
        // A short download says little: a tiny one counts as no faster than 800 Mbit/s.
        let least = (bytes as f64 / 1e8).min(0.05);
        let seconds = took.as_secs_f64().max(least);
        let bits_per_second = bytes as f64 * 8.0 / seconds;
        self.fast.sample(seconds, bits_per_second);
        self.slow.sample(seconds, bits_per_second);
    }
}

impl Average {
    fn new(half_life: f64) -> Self {
        Self { half_life, value: 0.0, weight: 0.0 }
    }

    fn sample(&mut self, weight: f64, value: f64) {
        let kept = 0.5_f64.powf(weight / self.half_life);
        self.value = value * (1.0 - kept) + kept * self.value;
        self.weight += weight;
    }

    /// Corrected for having begun at nothing.
    fn mean(&self) -> f64 {
        let known = 1.0 - 0.5_f64.powf(self.weight / self.half_life);
        if known > 0.0 { self.value / known } else { self.value }
    }

    fn forget(&mut self) {
        *self = Self::new(self.half_life);
    }
}

/// With less than this nothing is known.
const WEIGHT_MIN: f64 = 0.001;
const FIRST_BYTE_DEFAULT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_link_is_estimated_as_it_is() {
        let mut estimate = Estimate::new(&Behaviour::default());
        assert_eq!(estimate.bits_per_second(), 500_000.0);
        for _ in 0..3 {
            estimate.answered(ms(50));
            estimate.downloaded(1_000_000, ms(1_050), ms(50));
        }
        assert!((estimate.bits_per_second() - 8e6).abs() < 1.0);
        assert!((estimate.first_byte().as_secs_f64() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_fall_is_believed_sooner_than_a_rise() {
        let mut estimate = Estimate::new(&Behaviour::default());
        estimate.downloaded(10_000_000, ms(10_000), ms(0)); // 8 Mbit/s for 10 s
        estimate.downloaded(500_000, ms(4_000), ms(0)); // 1 Mbit/s for 4 s
        let fallen = estimate.bits_per_second();
        // By hand: the quick average forgets 1 - 2^(-4/3) of the old in 4 s, and knows 1 - 2^(-14/3) of all.
        let keep = 0.5_f64.powf(4.0 / 3.0);
        let old = 8e6 * (1.0 - 0.5_f64.powf(10.0 / 3.0));
        let by_hand = (1e6 * (1.0 - keep) + keep * old) / (1.0 - 0.5_f64.powf(14.0 / 3.0));
        assert!((fallen - by_hand).abs() < 1.0, "{fallen} {by_hand}");
        estimate.downloaded(4_000_000, ms(4_000), ms(0)); // 8 Mbit/s again
        let risen = estimate.bits_per_second();
        assert!(risen > fallen && risen < 6.5e6, "{risen}");
    }

    #[test]
    fn nothing_that_is_measured_makes_it_nothing_or_endless() {
        let table = [(0, 0, 0), (u64::MAX, 0, 0), (1, 1 << 40, 1 << 40), (1, 0, 1 << 40)];
        for (bytes, took, first_byte) in table {
            let mut estimate = Estimate::new(&Behaviour::default());
            estimate.answered(ms(first_byte));
            estimate.downloaded(bytes, ms(took), ms(first_byte));
            let bits = estimate.bits_per_second();
            assert!(bits.is_finite() && bits >= 1.0, "{bytes} {took} {bits}");
            assert!(estimate.first_byte() <= Duration::from_secs(3600));
        }
    }

    #[test]
    fn the_first_named_rendition_raises_what_is_assumed_but_not_without_end() {
        let behaviour = Behaviour::default();
        for (named, want) in
            [(300_000, 500_000.0), (2_000_000, 2_000_000.0), (9_000_000, 5_000_000.0)]
        {
            let mut estimate = Estimate::new(&behaviour);
            estimate.expect(named, &behaviour);
            assert_eq!(estimate.bits_per_second(), want);
        }
        let mut estimate = Estimate::new(&behaviour);
        estimate.downloaded(1_000_000, ms(1_000), ms(0));
        estimate.begin_anew(700_000);
        assert_eq!(estimate.bits_per_second(), 700_000.0);
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }
}
