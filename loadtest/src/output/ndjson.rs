//! One interval as one line of JSON, for programs that read along.
//!
//! Beside the fields of the interval stand its percentiles as plain numbers, so that a reader needs no histograms.
//! Invariant: a line is whole and ends with a line break.

use serde_json::{Map, Value};

use crate::results::{Histogram, Interval, SCHEMA};

/// The line, with its line break.
#[must_use]
pub fn line(interval: &Interval) -> String {
    let mut fields = Map::new();
    fields.insert("schema".to_owned(), SCHEMA.into());
    if let Ok(Value::Object(own)) = serde_json::to_value(interval) {
        fields.extend(own);
    }
    for (name, values) in [
        ("startup_ms", &interval.startup_ms),
        ("first_byte_us", &interval.first_byte_us),
        ("loop_lag_us", &interval.loop_lag_us),
    ] {
        fields.extend(percentiles(name, values));
    }
    let mut text = Value::Object(fields).to_string();
    text.push('\n');
    text
}

/// `startup_ms_p50` and so on; null without values.
fn percentiles(name: &str, values: &Histogram) -> impl Iterator<Item = (String, Value)> {
    PERCENTILES.iter().map(move |(word, share)| {
        (format!("{name}_{word}"), values.quantile(*share).map_or(Value::Null, Value::from))
    })
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_interval_and_its_percentiles() {
        let mut interval = Interval { at_s: 3.0, requests: 12, ..Interval::default() };
        (1..=100).for_each(|ms| interval.startup_ms.record(ms));
        let text = line(&interval);
        assert_eq!(text.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        for (key, wanted) in [
            ("schema", Value::from(SCHEMA)),
            ("at_s", 3.0.into()),
            ("requests", 12.into()),
            ("startup_ms_p50", 50.into()),
            ("startup_ms_p95", 95.into()),
            ("startup_ms_max", 100.into()),
            ("first_byte_us_p99", Value::Null),
        ] {
            assert_eq!(value[key], wanted, "{key}");
        }
        let again: Interval = serde_json::from_str(&text).unwrap();
        assert_eq!(again, interval);
    }
}
