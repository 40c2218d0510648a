//! What a geo node said, as people read it, whatever is missing of it.
//!
//! Nodes of another build say more or less. Invariant: nothing that a node says makes anything fail here.

use serde_json::Value;

use super::output::or_dash;

/// An object in one line: names and values.
pub(super) fn flat(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut parts: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}={}", flat(value))).collect();
            parts.sort_unstable();
            parts.join("  ")
        }
        Value::Array(items) => items.iter().map(flat).collect::<Vec<_>>().join(","),
        Value::Number(number) if !number.is_u64() && !number.is_i64() => {
            number.as_f64().map_or_else(|| number.to_string(), |number| format!("{number:.3}"))
        }
        other => text(other),
    }
}

/// The items of a list; none where it is no list.
pub(super) fn list(value: &Value, name: &str) -> Vec<Value> {
    value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A field as text, or a dash.
pub(super) fn field(value: &Value, name: &str) -> String {
    or_dash(value.get(name).filter(|value| !value.is_null()).map(text))
}

/// A number to a tenth, or a dash.
pub(super) fn number(value: &Value, name: &str) -> String {
    or_dash(value.get(name).and_then(Value::as_f64).map(|number| format!("{number:.1}")))
}

/// A part of one as a percentage, or a dash.
pub(super) fn percent(value: &Value, name: &str) -> String {
    let part = value.get(name).and_then(Value::as_f64);
    or_dash(part.map(|part| format!("{:.0} %", part * 100.0)))
}

/// A value as text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_is_said_is_shown_and_what_is_not_said_is_a_dash() {
        let unit = json!({"country": "DE", "asn": 64500, "latitude": 50.11111});
        assert_eq!(flat(&unit), "asn=64500  country=DE  latitude=50.111");
        assert!(list(&json!({"records": 3}), "records").is_empty());
        let one = json!({"share": 0.126, "ms": 1.26, "none": null});
        assert_eq!((percent(&one, "share"), number(&one, "ms")), ("13 %".into(), "1.3".into()));
        assert_eq!((field(&one, "none"), percent(&json!(3), "share")), ("-".into(), "-".into()));
    }
}
