//! A number with its unit, as gates are written: `800ms`, `1.5%`, `3Mbit`.
//!
//! Invariant: a value is finite, not negative, and in the figure's own unit.

use crate::results::figure::Unit;

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{0:?} is no number from 0")]
    NoNumber(String),
    #[error("{unit:?} is no unit of it, which are: {known}")]
    NoUnit { unit: String, known: String },
    #[error("the value needs a unit, one of: {known}")]
    Bare { known: String },
}

/// Reads a quantity in one of the units of its kind.
pub(super) fn parse_quantity(text: &str, kind: Unit) -> Result<f64, QuantityError> {
    let split = text.find(|c: char| !c.is_ascii_digit() && !".-+_".contains(c));
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let no_number = || QuantityError::NoNumber(text.to_owned());
    let number: f64 = number.replace('_', "").parse().map_err(|_| no_number())?;
    if !number.is_finite() || number < 0.0 {
        return Err(no_number());
    }
    let unit = unit.trim();
    let known = || {
        let names = units(kind).iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
        names.collect::<Vec<_>>().join(" ")
    };
    match units(kind).iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => Ok(number * factor),
        None if unit.is_empty() => Err(QuantityError::Bare { known: known() }),
        None => Err(QuantityError::NoUnit { unit: unit.to_owned(), known: known() }),
    }
}

/// The units of a kind, and how many of the figure's own unit one is. An empty name: none is needed.
#[must_use]
pub fn units(kind: Unit) -> &'static [(&'static str, f64)] {
    match kind {
        Unit::Milliseconds => &[("us", 0.001), ("ms", 1.0), ("s", 1_000.0), ("min", 60_000.0)],
        Unit::Share => &[("", 1.0), ("%", 0.01)],
        Unit::Multiple => &[("", 1.0), ("x", 1.0)],
        Unit::PerMinute => &[("", 1.0), ("/min", 1.0)],
        Unit::PerSecond => &[("", 1.0), ("/s", 1.0)],
        Unit::BitsPerSecond => {
            &[("", 1.0), ("bit", 1.0), ("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)]
        }
        Unit::Count => &[("", 1.0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_come_in_the_figures_unit() {
        let table = [
            ("800ms", Unit::Milliseconds, 800.0),
            ("1.5 s", Unit::Milliseconds, 1_500.0),
            ("250us", Unit::Milliseconds, 0.25),
            ("2%", Unit::Share, 0.02),
            ("0.02", Unit::Share, 0.02),
            ("3Mbit", Unit::BitsPerSecond, 3e6),
            ("1_000", Unit::Count, 1_000.0),
            ("1.2x", Unit::Multiple, 1.2),
        ];
        for (text, unit, expected) in table {
            let value = parse_quantity(text, unit).unwrap();
            assert!((value - expected).abs() < 1e-9, "{text}: {value}");
        }
        for text in ["", "ms", "1e999ms", "-1ms", "nanms", "--1ms"] {
            assert!(parse_quantity(text, Unit::Milliseconds).is_err(), "{text}");
        }
    }
}
