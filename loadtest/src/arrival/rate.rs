//! A rate over time as straight pieces, and its inverse: at which time has so much of it passed.
//!
//! A Poisson process with a changing rate is one with rate 1 on a stretched clock. Straight pieces make the stretching
//! exact: their sum is a quadratic, which has a closed inverse, so nothing is thinned and no draw is thrown away.
//!
//! Invariant: `time_of` is the inverse of `passed`, and both never fall.

use std::time::Duration;

/// Sessions a second over time.
#[derive(Debug, Clone)]
pub struct RateCurve {
    pieces: Vec<Piece>,
}

/// One straight piece.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Seconds.
    start: f64,
    length: f64,
    from: f64,
    to: f64,
    /// Arrivals expected before it.
    before: f64,
}

impl RateCurve {
    /// Straight lines through points of seconds and rate, ascending in time. Two points at one time are a jump.
    /// Before the first point and after the last one the rate is theirs, up to `end`.
    #[must_use]
    pub fn through(points: &[(f64, f64)], end: Duration) -> Self {
        let end = end.as_secs_f64();
        let mut all = Vec::with_capacity(points.len() + 2);
        all.push((0.0, points.first().map_or(0.0, |point| point.1)));
        all.extend_from_slice(points);
        all.push((f64::INFINITY, points.last().map_or(0.0, |point| point.1)));
        let mut pieces = Vec::new();
        let mut before = 0.0;
        for pair in all.windows(2) {
            let ((start, from), (stop, to)) = (pair[0], pair[1]);
            if start >= end || stop <= start {
                continue;
            }
            let length = stop.min(end) - start;
            // A piece that the end cuts keeps its slope.
            let to = if stop > end && stop.is_finite() {
                from + (to - from) * length / (stop - start)
            } else {
                to
            };
            pieces.push(Piece { start, length, from, to, before });
            before += (from + to) / 2.0 * length;
        }
        Self { pieces }
    }

    /// Sessions a second at a time; 0 after the end.
    #[must_use]
    pub fn at(&self, seconds: f64) -> f64 {
        let after = self.pieces.partition_point(|piece| piece.start <= seconds);
        let Some(piece) = after.checked_sub(1).map(|index| self.pieces[index]) else { return 0.0 };
        let into = seconds - piece.start;
        if into > piece.length {
            return 0.0;
        }
        piece.from + (piece.to - piece.from) * into / piece.length
    }

    /// Arrivals expected until the end.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.pieces.last().map_or(0.0, |piece| piece.before + piece.mass())
    }

    /// Arrivals expected up to a time.
    #[must_use]
    pub fn passed(&self, seconds: f64) -> f64 {
        let after = self.pieces.partition_point(|piece| piece.start <= seconds);
        let Some(piece) = after.checked_sub(1).map(|index| self.pieces[index]) else { return 0.0 };
        let into = (seconds - piece.start).min(piece.length);
        piece.before + piece.from * into + piece.slope() / 2.0 * into * into
    }

    /// The time at which so many arrivals are expected to have come; `None` when the curve ends before.
    #[must_use]
    pub fn time_of(&self, mass: f64) -> Option<f64> {
        if mass >= self.total() {
            return None;
        }
        // Pieces without arrivals begin with the same mass as the next one: the last that begins below it is it.
        let after = self.pieces.partition_point(|piece| piece.before <= mass);
        let piece = self.pieces[after.checked_sub(1)?];
        let need = mass - piece.before;
        let root = (piece.from * piece.from + 2.0 * piece.slope() * need).max(0.0).sqrt();
        let into = if need <= 0.0 { 0.0 } else { 2.0 * need / (piece.from + root) };
        Some(piece.start + into.clamp(0.0, piece.length))
    }
}

impl Piece {
    fn mass(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.length
    }

    fn slope(&self) -> f64 {
        (self.to - self.from) / self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_read_between_its_points() {
        let curve = RateCurve::through(
            &[(0.0, 2.0), (10.0, 2.0), (10.0, 8.0), (20.0, 4.0)],
            Duration::from_secs(30),
        );
        for (seconds, rate) in [(0.0, 2.0), (9.9, 2.0), (10.0, 8.0), (15.0, 6.0), (25.0, 4.0)] {
            assert!((curve.at(seconds) - rate).abs() < 1e-9, "{seconds}: {}", curve.at(seconds));
        }
        assert!((curve.at(30.1)).abs() < 1e-9);
        assert!((curve.total() - (20.0 + 60.0 + 40.0)).abs() < 1e-9);
        assert_eq!(curve.time_of(120.0), None);
        assert!((curve.time_of(20.0).unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_piece_that_the_end_cuts_keeps_its_slope() {
        let curve = RateCurve::through(&[(0.0, 0.0), (100.0, 100.0)], Duration::from_secs(10));
        assert!((curve.total() - 50.0).abs() < 1e-9);
        assert!((curve.at(10.0) - 10.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn time_of_is_the_inverse_of_passed(
            points in prop::collection::vec((0.0..50.0_f64, 0.0..100.0_f64), 1..8),
            share in 0.0..1.0_f64,
        ) {
            let mut points = points;
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let curve = RateCurve::through(&points, Duration::from_secs(60));
            let mass = curve.total() * share;
            if let Some(seconds) = curve.time_of(mass) {
                prop_assert!((0.0..=60.0).contains(&seconds));
                let back = curve.passed(seconds);
                prop_assert!((back - mass).abs() <= 1e-6 * (1.0 + mass), "{mass} gave {back}");
            } else {
                prop_assert!(curve.total() <= mass);
            }
        }
    }
}
