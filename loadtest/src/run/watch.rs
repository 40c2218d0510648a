//! Whoever watches a run: told of each second, and asked whether it shall end.

use crate::results::{Interval, Results};

/// Whoever watches a run.
pub trait Watch {
    /// Whether `totals` of `second` are wanted; they cost the workers time.
    fn wants_totals(&self) -> bool {
        false
    }

    /// A second is over. `at_s` of the warm-up is negative.
    fn second(&mut self, interval: &Interval, totals: Option<&Results>);

    /// Something that a person should know.
    fn note(&mut self, text: &str);

    /// Whether whoever watches wants the run to end.
    fn is_stop_asked(&mut self) -> bool {
        false
    }
}
