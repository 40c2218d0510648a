//! How far another machine's clock is ahead, from questions and answers. Pure.
//!
//! Invariant: the true difference lies within the error of the estimate.

/// One question for the time of day: all in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    /// Our clock when it was asked, and when the answer had come.
    pub(super) asked: f64,
    pub(super) came: f64,
    /// The other's clock in between.
    pub(super) theirs: f64,
}

/// How far ahead the other clock is, and how wrong that may be. The quickest exchange says it best.
pub(super) fn estimate(exchanges: &[Exchange]) -> Option<(f64, f64)> {
    let trip = |exchange: &Exchange| exchange.came - exchange.asked;
    let best = exchanges.iter().min_by(|a, b| trip(a).total_cmp(&trip(b)))?;
    Some((best.theirs - (best.asked + best.came) / 2.0, trip(best).abs() / 2.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_truth_lies_within_the_error(
            ahead in -1e6..1e6_f64,
            trips in prop::collection::vec((0.0..500.0_f64, 0.0..500.0_f64), 1..9),
        ) {
            let exchanges: Vec<Exchange> = trips
                .iter()
                .enumerate()
                .map(|(number, (there, back))| {
                    let asked = 1e12 + number as f64 * 1e3;
                    Exchange { asked, came: asked + there + back, theirs: asked + there + ahead }
                })
                .collect();
            let (estimated, error) = estimate(&exchanges).unwrap();
            prop_assert!((estimated - ahead).abs() <= error + 1e-3, "{estimated} ± {error}");
        }
    }
}
