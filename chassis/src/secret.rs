//! Text that must not be seen: tokens, keys, passwords.
//!
//! **Invariant.** Neither `Debug` nor `Serialize` nor an error message shows what is inside; the only ways to it
//! are [`Secret::expose`] and [`Secret::matches`].

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// A secret of the config. Empty means "not set", and matches nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that was made or read elsewhere.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a secret was given at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether somebody else's text is this secret, in a time that depends on neither the secret nor its length.
    /// A secret that is not set matches nothing, not even the empty text.
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        // Comparing two blake3 hashes with `==` takes constant time.
        let same = blake3::hash(self.0.as_bytes()) == blake3::hash(other.as_bytes());
        self.is_set() && same
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(shown(self))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(shown(self))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Takes text alone, and refuses all else without repeating it: serde's own message would show the value.
struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        if text == REDACTED {
            return Err(E::custom(
                "a secret was copied from a printed config, which does not show it",
            ));
        }
        Ok(Secret(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }
}

fn shown(secret: &Secret) -> &'static str {
    if secret.is_set() { REDACTED } else { "" }
}

const REDACTED: &str = "[redacted]";
const NOT_TEXT: &str = "a secret must be text in quotes";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        token: Secret,
    }

    #[test]
    fn a_secret_shows_in_no_output() {
        let holder: Holder = toml::from_str("token = \"hunter2\"").unwrap();
        assert_eq!(holder.token.expose(), "hunter2");
        for shown in [
            format!("{holder:?}"),
            toml::to_string(&holder).unwrap(),
            serde_json::to_string(&holder).unwrap(),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("[redacted]"), "{shown}");
        }
    }

    #[test]
    fn a_refused_secret_is_not_repeated_in_the_error() {
        for value in ["31337", "-31337", "31337.5", "\"[redacted]\""] {
            let error = toml::from_str::<Holder>(&format!("token = {value}")).unwrap_err();
            assert!(!error.message().contains("31337"), "{}", error.message());
        }
    }

    #[test]
    fn only_the_same_text_matches() {
        let secret = Secret::new("abc");
        for (other, matches) in
            [("abc", true), ("abd", false), ("ab", false), ("abcd", false), ("", false)]
        {
            assert_eq!(secret.matches(other), matches, "{other:?}");
        }
        assert!(!Secret::default().matches(""), "a secret that is not set must not open a door");
    }
}
