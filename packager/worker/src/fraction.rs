//! Frame rates and time bases as exact fractions.
//!
//! Times stay in ticks of a known length from demuxer to sample; nothing here rounds through floating point.

/// A positive fraction: frames per second, or seconds per tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fraction {
    pub(crate) num: u32,
    pub(crate) den: u32,
}

impl Fraction {
    pub(crate) const fn new(num: u32, den: u32) -> Self {
        Self { num, den }
    }

    /// The fraction of a pair that libav gives, when both parts are positive.
    pub(crate) fn from_pair((num, den): (i32, i32)) -> Option<Self> {
        match (u32::try_from(num), u32::try_from(den)) {
            (Ok(num), Ok(den)) if num > 0 && den > 0 => Some(Self { num, den }),
            _ => None,
        }
    }

    pub(crate) fn inverse(self) -> Self {
        Self { num: self.den, den: self.num }
    }

    pub(crate) fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

/// `ticks` of `from` seconds each as ticks of `to` seconds each, rounded to the nearest.
pub(crate) fn rescale(ticks: i64, from: Fraction, to: Fraction) -> i64 {
    let top = i128::from(ticks) * i128::from(from.num) * i128::from(to.den);
    let bottom = i128::from(from.den) * i128::from(to.num);
    let half = if top < 0 { -bottom / 2 } else { bottom / 2 };
    i64::try_from((top + half) / bottom).unwrap_or(if top < 0 { i64::MIN } else { i64::MAX })
}

/// When frame `number` of a steady rate is shown, in milliseconds.
pub(crate) fn frame_ms(number: u64, rate: Fraction) -> u64 {
    let ms = u128::from(number) * 1000 * u128::from(rate.den) / u128::from(rate.num);
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// A microsecond, libav's own time base.
pub(crate) const MICROSECOND: Fraction = Fraction::new(1, 1_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_rounds_to_the_nearest_on_both_sides_of_zero() {
        let (ms, tick) = (Fraction::new(1, 1000), Fraction::new(1, 90_000));
        for (ticks, want) in [(0, 0), (90, 1), (44, 0), (46, 1), (-90, -1), (-44, 0), (-46, -1)] {
            assert_eq!(rescale(ticks, tick, ms), want, "{ticks}");
        }
        assert_eq!(rescale(i64::MAX, ms, tick), i64::MAX, "saturates");
    }

    #[test]
    fn frames_of_an_ntsc_rate_do_not_drift() {
        let rate = Fraction::new(30_000, 1001);
        assert_eq!(frame_ms(30_000, rate), 1_001_000);
        assert_eq!(frame_ms(60, rate), 2002);
    }

    #[test]
    fn only_positive_pairs_are_fractions() {
        for pair in [(0, 1), (1, 0), (-1, 2), (i32::MIN, 1)] {
            assert_eq!(Fraction::from_pair(pair), None, "{pair:?}");
        }
        assert_eq!(Fraction::from_pair((30_000, 1001)), Some(Fraction::new(30_000, 1001)));
    }
}
