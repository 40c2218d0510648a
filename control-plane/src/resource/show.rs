//! A spec as people may see it: without any secret in it.
//!
//! Fingerprints stand in the place of secrets; what is sent back with them keeps the secret that is stored.

use serde_json::{Value, json};
use tidegate_contract::resource_spec::Spec;

use super::Entry;

/// The spec of an entry without its secrets.
#[must_use]
pub fn shown(entry: &Entry) -> Value {
    match &*entry.spec {
        Spec::Secret(_) => json!({ "fingerprint": fingerprint(entry) }),
        Spec::Property(spec) => {
            let mut spec = spec.clone();
            spec.guard = spec.guard.redacted();
            serde_json::to_value(spec).unwrap_or(Value::Null)
        }
        _ => serde_json::from_slice(&entry.body).unwrap_or(Value::Null),
    }
}

/// What tells one secret from another: the hash is salted, so it tells nothing else.
#[must_use]
pub fn fingerprint(entry: &Entry) -> String {
    hex::encode(&entry.hash[..FINGERPRINT_BYTES])
}

/// Enough that no two secrets of one fleet share it.
const FINGERPRINT_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::Generation,
        resource::{Kind, ResourceName},
    };

    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let name = ResourceName::parse("k").expect("good");
        let json = br#"{"salt":"s","value":"hidden"}"#;
        let spec = Spec::parse(Kind::Secret, &name, json).expect("good");
        let entry = Entry::new(Generation(1), spec);
        let text = shown(&entry).to_string();
        assert!(!text.contains("hidden") && text.contains(&fingerprint(&entry)), "{text}");
    }
}
