//! How numbers are written for people: three digits that matter, and the unit.
//!
//! Invariant: rounding never moves a value to another unit's end ("1000 ms" is "1.00 s").

use crate::results::{
    GateOutcome,
    figure::{Figure, Unit},
};

/// A value in its unit; a dash where nothing was measured.
pub(super) fn value(value: Option<f64>, unit: Unit) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return DASH.to_owned() };
    match unit {
        Unit::Milliseconds => milliseconds(value),
        Unit::Share => share(value),
        Unit::Multiple => format!("×{}", digits(value)),
        Unit::PerMinute => format!("{}/min", digits(value)),
        Unit::PerSecond => format!("{}/s", digits(value)),
        Unit::BitsPerSecond => scaled(value, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]),
        Unit::Count => count(value.round().max(0.0) as u64),
    }
}

/// What a gate measured, in the unit of its figure.
pub(super) fn measured(gate: &GateOutcome) -> String {
    let unit = Figure::of(figure_name(&gate.gate)).map_or(Unit::Count, |figure| figure.unit);
    match gate.measured {
        Some(_) => value(gate.measured, unit),
        None => "nothing".to_owned(),
    }
}

/// The name of the figure that a gate begins with.
pub(super) fn figure_name(gate: &str) -> &str {
    let end = gate.find(|c: char| !(c.is_ascii_alphanumeric() || "_.@".contains(c)));
    &gate[..end.unwrap_or(gate.len())]
}

/// 12,345.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Decimal units, as networks and disks are sold.
pub(super) fn bytes(value: u64) -> String {
    scaled(value as f64, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// A time in milliseconds.
pub(super) fn milliseconds(value: f64) -> String {
    match value.abs() {
        0.0 => "0 ms".to_owned(),
        small if small < 0.9995 => format!("{} µs", digits(value * 1_000.0)),
        small if small < 999.5 => format!("{} ms", digits(value)),
        _ => seconds(value / 1_000.0),
    }
}

/// A time in seconds.
pub(super) fn seconds(value: f64) -> String {
    if value.abs() < 99.95 {
        return format!("{} s", digits(value));
    }
    let whole = value.round() as i64;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match (hours, minutes, seconds) {
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A share in percent; a very small one is not rounded to none, nor a very large one to all.
fn share(value: f64) -> String {
    let percent = value * 100.0;
    match percent.abs() {
        0.0 => "0 %".to_owned(),
        tiny if tiny < 0.001 => "<0.001 %".to_owned(),
        small if small < 0.995 => format!("{} %", trimmed(format!("{percent:.3}"))),
        much if (99.0..100.0).contains(&much) => {
            // Cut, not rounded: 99.9996 % is not all.
            format!("{} %", trimmed(format!("{:.3}", (percent * 1_000.0).trunc() / 1_000.0)))
        }
        _ => format!("{} %", digits(percent)),
    }
}

fn scaled(value: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value.abs() >= 999.5 {
        let Some(larger) = units.next() else { break };
        value /= 1_000.0;
        unit = larger;
    }
    format!("{} {unit}", digits(value))
}

/// Three digits that matter.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 0.000_5 => "<0.001".to_owned(),
        small if small < 0.0995 => trimmed(format!("{value:.3}")),
        small if small < 9.995 => trimmed(format!("{value:.2}")),
        middle if middle < 99.95 => trimmed(format!("{value:.1}")),
        large if large < 1e15 => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(large.round() as u64))
        }
        _ => format!("{value:.2e}"),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// For what was not measured.
pub(super) const DASH: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        for (number, unit, text) in [
            (0.0, Unit::Milliseconds, "0 ms"),
            (0.042, Unit::Milliseconds, "42 µs"),
            (4.256, Unit::Milliseconds, "4.26 ms"),
            (999.4, Unit::Milliseconds, "999 ms"),
            (999.6, Unit::Milliseconds, "1 s"),
            (75_000.0, Unit::Milliseconds, "75 s"),
            (754_000.0, Unit::Milliseconds, "12 min 34 s"),
            (7_500_000.0, Unit::Milliseconds, "2 h 5 min"),
            (0.0, Unit::Share, "0 %"),
            (0.000_001, Unit::Share, "<0.001 %"),
            (0.004_21, Unit::Share, "0.421 %"),
            (0.999_999_9, Unit::Share, "99.999 %"),
            (1.0, Unit::Share, "100 %"),
            (0.914, Unit::Share, "91.4 %"),
            (4_820_000.0, Unit::BitsPerSecond, "4.82 Mbit/s"),
            (999_700.0, Unit::BitsPerSecond, "1 Mbit/s"),
            (1_234_567.0, Unit::Count, "1,234,567"),
            (1_234.0, Unit::PerSecond, "1,234/s"),
            (0.25, Unit::Multiple, "×0.25"),
            (f64::NAN, Unit::Share, DASH),
        ] {
            assert_eq!(value(Some(number), unit), text);
        }
        assert_eq!(value(None, Unit::Count), DASH);
        assert_eq!(bytes(1_500_000_000), "1.5 GB");
        assert_eq!(digits(-12.34), "-12.3");
    }

    #[test]
    fn a_gate_begins_with_the_name_of_its_figure() {
        for (gate, name) in [
            ("startup_p99.9<1s", "startup_p99.9"),
            ("segment_ttfb_p99@h3 <= 40ms", "segment_ttfb_p99@h3"),
            ("<5", ""),
        ] {
            assert_eq!(figure_name(gate), name);
        }
    }
}
