//! Thresholds: what a run must hold, like `startup_p95<800ms`, and whether it did. Pure.
//!
//! Invariant: a figure that was not measured holds no gate; a gate that names nothing is refused before the run.

mod quantity;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::quantity::parse_quantity;
pub use self::quantity::{QuantityError, units};
use crate::results::{GateOutcome, Results, figure::Figure};

/// One threshold.
#[derive(Debug, Clone)]
pub struct Gate {
    /// As it was written.
    text: String,
    figure: Figure,
    comparison: Comparison,
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

/// Why a text is no gate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GateError {
    #[error(
        "{0:?} compares nothing: a gate is a figure, one of < <= > >= ==, and a value, like startup_p95<800ms"
    )]
    NoComparison(String),
    #[error("{0:?} is no figure; `tidegate-load scenarios explain gates` lists them")]
    NoFigure(String),
    #[error("{gate}: {error}")]
    Value { gate: String, error: QuantityError },
}

impl Gate {
    /// Reads a gate.
    ///
    /// # Errors
    /// When it compares nothing, names no figure, or its value is not in the figure's unit.
    pub fn parse(text: &str) -> Result<Self, GateError> {
        let text = text.trim();
        let sign = COMPARISONS
            .iter()
            .filter_map(|(sign, comparison)| Some((text.find(sign)?, sign, *comparison)))
            .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
        let Some((at, sign, comparison)) = sign else {
            return Err(GateError::NoComparison(text.to_owned()));
        };
        let name = text[..at].trim();
        let figure = Figure::of(name).ok_or_else(|| GateError::NoFigure(name.to_owned()))?;
        let limit = parse_quantity(text[at + sign.len()..].trim(), figure.unit)
            .map_err(|error| GateError::Value { gate: text.to_owned(), error })?;
        Ok(Self { text: text.to_owned(), figure, comparison, limit })
    }

    /// Whether the results hold it.
    #[must_use]
    pub fn judge(&self, results: &Results) -> GateOutcome {
        let measured = self.figure.value(results);
        let is_held = measured.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Equal => value == self.limit,
        });
        GateOutcome { gate: self.text.clone(), measured, is_held }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        Self::parse(text)
    }
}

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

const COMPARISONS: &[(&str, Comparison)] = &[
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::new("test", 1);
        for ms in 1..=100 {
            results.quality.startup_ms.record(ms * 10);
        }
        results.quality.views = 100;
        results.quality.failed_starts = 2;
        results.quality.played_s = 950.0;
        results.quality.stalled_s = 50.0;
        results.duration_s = 10.0;
        results
    }

    #[test]
    fn gates_hold_or_not() {
        let table = [
            ("startup_p50<501ms", true),
            ("startup_p50 <= 500ms", true),
            ("startup_p50<500ms", false),
            ("startup_p95<1s", true),
            ("startup_p95>0.9s", true),
            ("failed_starts<=2%", true),
            ("failed_starts<0.02", false),
            ("failed_starts==2%", true),
            ("rebuffer_ratio<5.1%", true),
            ("rebuffer_ratio>=0.05", true),
            ("views>=100", true),
            ("views>100", false),
            // Nobody watched live: nothing says that the latency was good.
            ("live_latency_p95<100s", false),
        ];
        for (text, is_held) in table {
            let outcome = Gate::parse(text).unwrap().judge(&results());
            assert_eq!((outcome.is_held, outcome.gate.as_str()), (is_held, text), "{outcome:?}");
        }
    }

    #[test]
    fn what_is_no_gate_says_why() {
        let table = [
            ("startup_p95", "compares nothing"),
            ("startup<800ms", "\"startup\" is no figure"),
            ("nothing_p50<1s", "is no figure"),
            ("startup_p95<800", "needs a unit"),
            ("startup_p95<fast", "\"fast\" is no number"),
            ("hit_ratio>90Mbit", "\"Mbit\" is no unit"),
            ("startup_p95<-1s", "is no number from 0"),
            ("<800ms", "\"\" is no figure"),
        ];
        for (text, expected) in table {
            let error = Gate::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
