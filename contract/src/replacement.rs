//! The new body that arrives with a purge: what every PoP serves from then on in the place of what was purged.
//!
//! A whole response with status 200, small enough to travel in the log of purges. It is stored under the property's
//! policy like an answer of the origin. Invariant: what was checked is one resource for everybody: nothing in it is
//! about one client, one connection, or one of several variants.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::header::OF_ONE_HOP;

/// The largest body, in bytes: a media playlist of ten hours with long names has less.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// The most headers.
pub const HEADERS_MAX: usize = 32;
/// The longest name or value of a header, in bytes: a list of surrogate keys fits.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;

/// A body with its headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// Its headers; `content-type` is needed, `date` and `content-length` are written by the node.
    pub headers: BTreeMap<String, String>,
    /// Its body; in JSON as base64 (RFC 4648 4).
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub body: Vec<u8>,
}

/// Why something cannot stand in the place of what is purged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplacementError {
    /// The body is larger than [`BODY_BYTES_MAX`].
    #[error("a body that replaces has at most {BODY_BYTES_MAX} bytes, this one has {0}")]
    Body(usize),
    /// More than [`HEADERS_MAX`].
    #[error("a body that replaces has at most {HEADERS_MAX} headers, this one has {0}")]
    Headers(usize),
    /// No `content-type`.
    #[error("a body that replaces needs a content-type")]
    ContentType,
    /// A header that cannot be, with the reason.
    #[error("header {0:?}: {1}")]
    Header(String, &'static str),
}

impl Replacement {
    /// The same with the names of its headers in lower case, and checked. What was read from outside goes through
    /// this.
    ///
    /// # Errors
    /// The first [`ReplacementError`] found.
    pub fn checked(self) -> Result<Self, ReplacementError> {
        let Self { headers: given, body } = self;
        if body.len() > BODY_BYTES_MAX {
            return Err(ReplacementError::Body(body.len()));
        }
        if given.len() > HEADERS_MAX {
            return Err(ReplacementError::Headers(given.len()));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in given {
            let refused = |why| ReplacementError::Header(name.chars().take(64).collect(), why);
            let own = name.to_ascii_lowercase();
            check_header(&own, &value).map_err(refused)?;
            if headers.insert(own, value.trim().to_owned()).is_some() {
                return Err(refused("it is there twice"));
            }
        }
        if !headers.contains_key("content-type") {
            return Err(ReplacementError::ContentType);
        }
        Ok(Self { headers, body })
    }

    /// Its name among others: BLAKE3 over its framed parts.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        // Lengths in front, so that no two different replacements give the same bytes.
        let mut take = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        take(&(self.headers.len() as u64).to_le_bytes());
        for (name, value) in &self.headers {
            take(name.as_bytes());
            take(value.as_bytes());
        }
        take(&self.body);
        *hasher.finalize().as_bytes()
    }
}

fn check_header(name: &str, value: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > HEADER_BYTES_MAX || value.len() > HEADER_BYTES_MAX {
        return Err("name and value have at most 8192 bytes, the name at least one");
    }
    if !name.bytes().all(is_token) {
        return Err("this is no name of a header");
    }
    if !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
        return Err("its value is not plain ASCII");
    }
    match REFUSED.iter().find(|(names, _)| names.contains(&name)) {
        Some((_, why)) => Err(why),
        None => Ok(()),
    }
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn write_base64<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(body))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(|error| D::Error::custom(format!("body: {error}")))
}

/// Headers that cannot be part of it, and why.
const REFUSED: &[(&[&str], &str)] = &[
    (OF_ONE_HOP, "it is about one connection"),
    (&["date", "age", "content-length", "cache-status", "via"], "every node writes it itself"),
    (&["set-cookie", "www-authenticate"], "it is about one client"),
    (&["vary", "content-encoding"], "a body that replaces is the only variant"),
    (&["content-range", "accept-ranges"], "a body that replaces is whole"),
    (&["tidegate-tier", "x-request-id"], "it is between nodes"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replacement(headers: &[(&str, &str)], body: &[u8]) -> Replacement {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Replacement { headers: headers.iter().map(own).collect(), body: body.to_owned() }
    }

    const TYPE: (&str, &str) = ("Content-Type", "text/plain");

    #[test]
    fn names_of_headers_are_in_lower_case_afterwards() {
        let given = replacement(&[TYPE, ("Cache-Control", " max-age=2 ")], b"x");
        let checked = given.checked().expect("good");
        let expected = [("cache-control", "max-age=2"), ("content-type", "text/plain")];
        let found = checked.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(checked.clone().checked(), Ok(checked), "checked stays checked");
    }

    #[test]
    fn what_is_not_one_resource_for_everybody_is_refused() {
        for (name, value) in [
            ("set-cookie", "a=1"),
            ("Transfer-Encoding", "chunked"),
            ("vary", "accept"),
            ("content-encoding", "gzip"),
            ("Content-Length", "1"),
            ("date", "now"),
            ("content-range", "bytes 0-1/2"),
            ("a b", "x"),
            ("", "x"),
            ("x", "a\r\nb: c"),
            ("x", "caf\u{e9}"),
            ("content-type", "twice"),
        ] {
            let given = replacement(&[TYPE, (name, value)], b"x").checked();
            assert!(matches!(given, Err(ReplacementError::Header(..))), "{name}: {value:?}");
        }
        assert_eq!(replacement(&[], b"x").checked(), Err(ReplacementError::ContentType));
    }

    #[test]
    fn sizes_have_limits() {
        let body = vec![0; BODY_BYTES_MAX];
        assert!(replacement(&[TYPE], &body).checked().is_ok());
        let body = vec![0; BODY_BYTES_MAX + 1];
        let refused = replacement(&[TYPE], &body).checked();
        assert_eq!(refused, Err(ReplacementError::Body(BODY_BYTES_MAX + 1)));
        let names: Vec<_> = (0..=HEADERS_MAX).map(|n| format!("x-{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let refused = replacement(&many, b"").checked();
        assert_eq!(refused, Err(ReplacementError::Headers(HEADERS_MAX + 1)));
        let long = "x".repeat(HEADER_BYTES_MAX + 1);
        assert!(replacement(&[TYPE, ("x", &long)], b"").checked().is_err());
    }

    #[test]
    fn json_holds_the_body_as_base64() {
        let given = replacement(&[("content-type", "text/plain")], b"\0\xff");
        let text = serde_json::to_string(&given).expect("plain data");
        assert_eq!(text, r#"{"headers":{"content-type":"text/plain"},"body":"AP8="}"#);
        assert_eq!(serde_json::from_str::<Replacement>(&text).expect("its own text"), given);
        assert!(serde_json::from_str::<Replacement>(&text.replace("AP8=", "AP8")).is_err());
    }

    proptest! {
        #[test]
        fn different_replacements_have_different_digests(
            a in ("[a-c]{0,3}", "[a-c]{0,3}", "[a-c]{0,3}"),
            b in ("[a-c]{0,3}", "[a-c]{0,3}", "[a-c]{0,3}"),
        ) {
            let of = |(name, value, body): &(String, String, String)| {
                replacement(&[(name, value)], body.as_bytes())
            };
            prop_assert_eq!(of(&a) == of(&b), of(&a).digest() == of(&b).digest());
        }
    }
}
