//! The cache key: property, host and path with the query parameters that count, as one 128-bit name.
//!
//! Protocol and scheme are not part of it: one object serves H1, H2 and H3. Invariant: a query parameter that the
//! property does not count reaches neither the key nor upstream.

use std::borrow::Cow;

use tidegate_contract::{id::PropertyId, property::QueryPolicy};

/// The name of a stored response: BLAKE3 over its framed parts, truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The key of a resource. `path` is what [`counted_path`] gave.
    #[must_use]
    pub fn of(property: &PropertyId, host: &str, path: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [property.as_str(), host] {
            // Lengths in front, so that no two different lists of parts give the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(path.as_bytes());
        Self(truncate(&hasher.finalize()))
    }

    /// The key of one variant of this resource.
    #[must_use]
    pub fn variant(&self, variance: &[u8; 16]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(variance);
        Self(truncate(&hasher.finalize()))
    }
}

/// The path with the query parameters that count, as the key has it and as upstream is asked for it.
#[must_use]
pub fn counted_path<'a>(path: &'a str, query: Option<&str>, policy: &QueryPolicy) -> Cow<'a, str> {
    let counted = match (query, policy) {
        (None, _) | (Some(_), QueryPolicy::Drop) => return Cow::Borrowed(path),
        (Some(query), QueryPolicy::All) => query.to_owned(),
        (Some(query), QueryPolicy::Keep(names)) => kept(query, names),
    };
    if counted.is_empty() { Cow::Borrowed(path) } else { Cow::Owned(format!("{path}?{counted}")) }
}

/// The named parameters, sorted by name; parameters of one name keep their order.
fn kept(query: &str, names: &[String]) -> String {
    let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let mut pairs: Vec<&str> =
        query.split('&').filter(|pair| names.contains(&name_of(pair))).collect();
    pairs.sort_by_key(|pair| name_of(pair));
    pairs.join("&")
}

fn truncate(hash: &blake3::Hash) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash.as_bytes()[..16]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(property: &str, host: &str, path: &str) -> Key {
        Key::of(&PropertyId::parse(property).unwrap(), host, path)
    }

    #[test]
    fn every_part_counts_and_parts_do_not_run_into_each_other() {
        let base = key("p", "a.org", "/x");
        assert_eq!(base, key("p", "a.org", "/x"));
        for other in [key("q", "a.org", "/x"), key("p", "b.org", "/x"), key("p", "a.org", "/y")] {
            assert_ne!(base, other);
        }
        assert_ne!(key("p", "ab", "/x"), key("pa", "b", "/x"));
        assert_ne!(key("p", "a", "b/x"), key("p", "ab", "/x"));
        assert_ne!(base.variant(&[1; 16]), base);
        assert_ne!(base.variant(&[1; 16]), base.variant(&[2; 16]));
    }

    #[test]
    fn only_counted_parameters_remain() {
        let keep = QueryPolicy::Keep(vec!["b".into(), "a".into()]);
        for (query, policy, expected) in [
            (None, &QueryPolicy::All, "/p"),
            (Some("b=2&a=1"), &QueryPolicy::All, "/p?b=2&a=1"),
            (Some("token=secret"), &QueryPolicy::Drop, "/p"),
            (Some("b=2&token=secret&a=1&a=0"), &keep, "/p?a=1&a=0&b=2"),
            (Some("token=secret"), &keep, "/p"),
            (Some("a"), &keep, "/p?a"),
            (Some(""), &QueryPolicy::All, "/p"),
        ] {
            assert_eq!(counted_path("/p", query, policy), expected, "{query:?}");
        }
    }
}
