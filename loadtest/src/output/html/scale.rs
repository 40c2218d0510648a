//! Axes: from values to places on a plot, and the round values that are written at them.
//!
//! Invariant: every tick lies on its axis, and no axis has none.

/// From values to places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    /// Values from `low` to `high` (not the same) between two places.
    pub(super) fn linear((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to, is_log: false }
    }

    /// As `linear`, each decade as wide as the others. `low` is above 0.
    pub(super) fn log((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        let high = if high > low { high } else { low * 10.0 };
        Self { low, high, from, to, is_log: true }
    }

    /// Where a value lies; beyond the ends, at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values, about as many as `count`.
    pub(super) fn ticks(&self, count: usize) -> Vec<f64> {
        if self.is_log { self.log_ticks() } else { self.linear_ticks(count) }
    }

    fn linear_ticks(&self, count: usize) -> Vec<f64> {
        let step = round_step((self.high - self.low) / count.max(1) as f64);
        let first = (self.low / step).ceil() as i64;
        let last = ((self.high + step * 1e-6) / step).floor() as i64;
        (first..=last).take(TICKS_MAX).map(|number| number as f64 * step).collect()
    }

    /// Decades; with their 2 and 5 where there are few of them.
    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let marks: &[f64] = match decades {
            few if few < 0.7 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
            few if few < 1.5 => &[1.0, 2.0, 3.0, 5.0],
            some if some < 3.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let every = if decades > 7.0 { 2 } else { 1 };
        (first..=last)
            .step_by(every)
            .flat_map(|power| marks.iter().map(move |mark| mark * 10_f64.powi(power)))
            .filter(|tick| *tick >= self.low * 0.999 && *tick <= self.high * 1.001)
            .take(TICKS_MAX)
            .collect()
    }
}

/// The end of an axis that holds `most`: a round value a little above it.
pub(super) fn round_up(most: f64, count: usize) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 1.0;
    }
    let step = round_step(most / count.max(1) as f64);
    (most / step).ceil() * step
}

/// 1, 2, 2.5 or 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    if step <= 0.0 || !step.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    let mark = [1.0, 2.0, 2.5, 5.0].into_iter().find(|mark| mark * power >= step * 0.999_999);
    mark.unwrap_or(10.0) * power
}

/// Seconds between ticks of a time axis: what clocks have.
pub(super) fn time_step(seconds: f64, count: usize) -> f64 {
    let wanted = seconds / count.max(1) as f64;
    CLOCK.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| round_step(wanted))
}

const CLOCK: [f64; 17] = [
    0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0,
    7_200.0, 14_400.0, 43_200.0,
];
const TICKS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_find_their_places_and_stay_on_the_plot() {
        let linear = Scale::linear((0.0, 10.0), (100.0, 0.0));
        let log = Scale::log((1.0, 1_000.0), (0.0, 300.0));
        for (scale, value, place) in [
            (linear, 0.0, 100.0),
            (linear, 2.5, 75.0),
            (linear, 99.0, 0.0),
            (log, 10.0, 100.0),
            (log, 0.0, 0.0),
            (log, 1e9, 300.0),
            (Scale::linear((5.0, 5.0), (0.0, 1.0)), 5.0, 0.0),
        ] {
            assert!((scale.place(value) - place).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |scale: Scale| scale.ticks(4);
        assert_eq!(ticks(Scale::linear((0.0, 10.0), (0.0, 1.0))), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(
            ticks(Scale::log((1.0, 10_000.0), (0.0, 1.0))),
            [1.0, 10.0, 100.0, 1_000.0, 10_000.0]
        );
        assert_eq!(ticks(Scale::log((10.0, 100.0), (0.0, 1.0))), [10.0, 20.0, 30.0, 50.0, 100.0]);
        assert_eq!(round_up(0.0, 4), 1.0);
        assert_eq!(round_up(93.0, 4), 100.0);
        assert_eq!(time_step(600.0, 5), 120.0);
        assert!(!ticks(Scale::linear((0.0, f64::MIN_POSITIVE), (0.0, 1.0))).is_empty());
    }
}
