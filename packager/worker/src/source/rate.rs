//! The constant frame rate of all renditions.
//!
//! Sources keep their rate where they have one: an average close to a usual rate is that rate, exactly (30000/1001
//! stays a fraction). Sources with a varying rate get the usual rate nearest to their average. Rates above the
//! limit are halved until they fit, so that every second frame is kept evenly.

use crate::fraction::Fraction;

/// The rate for a source with this average and this nominal rate, at most `rate_max` whole frames per second.
pub(super) fn constant(
    average: Option<Fraction>,
    nominal: Option<Fraction>,
    rate_max: u32,
) -> Fraction {
    let known = [average, nominal].into_iter().flatten().find(|rate| rate.as_f64() <= BELIEVED_MAX);
    let mut rate = known.map_or(FALLBACK, |rate| usual(rate).unwrap_or_else(|| whole(rate)));
    while rate.as_f64() > f64::from(rate_max.max(1)) + RATE_SLACK {
        rate = Fraction::new(rate.num, rate.den.saturating_mul(2));
    }
    reduced(rate)
}

fn usual(rate: Fraction) -> Option<Fraction> {
    let distance = |usual: &Fraction| (usual.as_f64() / rate.as_f64() - 1.0).abs();
    USUAL
        .into_iter()
        .min_by(|left, right| distance(left).total_cmp(&distance(right)))
        .filter(|nearest| distance(nearest) <= NEAR)
}

fn whole(rate: Fraction) -> Fraction {
    Fraction::new(rate.as_f64().round().max(1.0) as u32, 1)
}

fn reduced(mut rate: Fraction) -> Fraction {
    while rate.num.is_multiple_of(2) && rate.den.is_multiple_of(2) {
        rate = Fraction::new(rate.num / 2, rate.den / 2);
    }
    rate
}

/// A rate above this is a time base, not a rate.
const BELIEVED_MAX: f64 = 1000.0;
/// When a source says nothing believable.
const FALLBACK: Fraction = Fraction::new(30, 1);
/// How far from a usual rate an average may be, relative.
const NEAR: f64 = 0.03;
/// 59.94 and 60 are both "60".
const RATE_SLACK: f64 = 0.01;
const USUAL: [Fraction; 16] = [
    Fraction::new(10, 1),
    Fraction::new(12, 1),
    Fraction::new(25, 2),
    Fraction::new(15_000, 1001),
    Fraction::new(15, 1),
    Fraction::new(20, 1),
    Fraction::new(24_000, 1001),
    Fraction::new(24, 1),
    Fraction::new(25, 1),
    Fraction::new(30_000, 1001),
    Fraction::new(30, 1),
    Fraction::new(48, 1),
    Fraction::new(50, 1),
    Fraction::new(60_000, 1001),
    Fraction::new(60, 1),
    Fraction::new(120, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_keep_their_rate_and_odd_ones_get_a_usual_one() {
        for (name, average, nominal, want) in [
            ("30", Some((30, 1)), None, (30, 1)),
            ("29.97 stays exact", Some((30_000, 1001)), None, (30_000, 1001)),
            ("29.97 by another fraction", Some((2997, 100)), None, (30_000, 1001)),
            ("film", Some((24_000, 1001)), None, (24_000, 1001)),
            ("a phone that varies", Some((2_972_000, 100_001)), Some((90_000, 1)), (30_000, 1001)),
            ("slow camera", Some((8, 1)), None, (8, 1)),
            ("slide show", Some((1, 5)), None, (1, 1)),
            ("12.5", Some((25, 2)), None, (25, 2)),
            ("too fast is halved", Some((120, 1)), None, (60, 1)),
            ("239.76 is halved twice", Some((240_000, 1001)), None, (60, 1)),
            ("119.88", Some((120_000, 1001)), None, (60, 1)),
            ("only nominal", None, Some((25, 1)), (25, 1)),
            ("a time base", None, Some((90_000, 1)), (30, 1)),
            ("nothing", None, None, (30, 1)),
        ] {
            let fraction =
                |pair: Option<(u32, u32)>| pair.map(|(num, den)| Fraction::new(num, den));
            let rate = constant(fraction(average), fraction(nominal), 60);
            assert_eq!((rate.num, rate.den), want, "{name}");
        }
    }

    #[test]
    fn the_limit_holds_for_every_rate() {
        for num in (1..1000).step_by(7) {
            let rate = constant(Some(Fraction::new(num, 1)), None, 30);
            assert!(rate.as_f64() <= 30.01, "{num} became {rate:?}");
            assert!(rate.num > 0 && rate.den > 0);
        }
    }
}
