//! The cache key: property, host and path with the query parameters that count, as one 128-bit name.
//!
//! Protocol and scheme are not part of it: one object serves H1, H2 and H3. Invariants: a query parameter that the
//! property does not count reaches neither the key nor upstream; upstream is asked for the very path that the key
//! names.

use std::borrow::Cow;

use tidegate_contract::{id::PropertyId, property::QueryPolicy, url_path};

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
        self.derived(b"variant", &[variance])
    }

    /// The key of a slice of this resource: the `n`th of the representation with a strong validator.
    #[must_use]
    pub fn slice(&self, validator: &[u8], n: u64) -> Self {
        self.derived(b"slice", &[&n.to_le_bytes(), validator])
    }

    /// The key under which this is asked for where another node brings it.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        self.derived(b"elsewhere", &[])
    }

    /// Kinds have different lengths, and only the last part has none of its own: no two lists give the same bytes.
    fn derived(&self, kind: &[u8], parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(kind);
        for part in parts {
            hasher.update(part);
        }
        Self(truncate(&hasher.finalize()))
    }
}

/// The path in its normal form with the query parameters that count, as the key has it and as upstream is asked for it.
#[must_use]
pub fn counted_path<'a>(path: &'a str, query: Option<&str>, policy: &QueryPolicy) -> Cow<'a, str> {
    let path = url_path::normal(path);
    let counted = match (query.filter(|query| !query.is_empty()), policy) {
        (None, _) => return path,
        (Some(query), QueryPolicy::All) => Cow::Borrowed(query),
        (Some(query), QueryPolicy::Sorted) => Cow::Owned(kept(query, |_| true)),
        (Some(_), QueryPolicy::Drop) if !is_playlist(&path) => return path,
        (Some(query), QueryPolicy::Drop) => Cow::Owned(kept(query, is_delivery_directive)),
        (Some(query), QueryPolicy::Keep(names)) => {
            let is_playlist = is_playlist(&path);
            Cow::Owned(kept(query, |name| {
                names.iter().any(|kept| kept == name)
                    || (is_playlist && is_delivery_directive(name))
            }))
        }
    };
    if counted.is_empty() { path } else { Cow::Owned(format!("{path}?{counted}")) }
}

/// A query without the named parameters: tokens and the like, which neither key nor upstream may see.
#[must_use]
pub fn without<'a>(query: &'a str, names: &[impl AsRef<str>]) -> Cow<'a, str> {
    let is_named = |pair: &str| names.iter().any(|name| name.as_ref() == name_of(pair));
    if !query.split('&').any(is_named) {
        return Cow::Borrowed(query);
    }
    let left: Vec<&str> = query.split('&').filter(|pair| !is_named(pair)).collect();
    Cow::Owned(left.join("&"))
}

/// The parameters that count, sorted by name; parameters of one name keep their order.
fn kept(query: &str, counts: impl Fn(&str) -> bool) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| counts(name_of(pair))).collect();
    pairs.retain(|pair| !pair.is_empty());
    pairs.sort_by_key(|pair| name_of(pair));
    pairs.join("&")
}

fn name_of(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

/// Whether the answer to a request for this path depends on delivery directives (RFC 8216bis 6.2.5).
fn is_playlist(path: &str) -> bool {
    path.len() >= PLAYLIST.len()
        && path.as_bytes()[path.len() - PLAYLIST.len()..].eq_ignore_ascii_case(PLAYLIST)
}

fn is_delivery_directive(name: &str) -> bool {
    DELIVERY_DIRECTIVES.contains(&name)
}

fn truncate(hash: &blake3::Hash) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash.as_bytes()[..16]);
    out
}

const PLAYLIST: &[u8] = b".m3u8";
const DELIVERY_DIRECTIVES: [&str; 3] = ["_HLS_msn", "_HLS_part", "_HLS_skip"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert_ne!(base.slice(b"\"a\"", 1), base.slice(b"\"a\"", 2));
        assert_ne!(base.slice(b"\"a\"", 1), base.slice(b"\"b\"", 1));
        assert_ne!(base.slice(&[1; 8], u64::from_le_bytes([1; 8])), base.variant(&[1; 16]));
    }

    #[test]
    fn only_counted_parameters_remain() {
        let keep = QueryPolicy::Keep(vec!["b".into(), "a".into()]);
        for (query, policy, expected) in [
            (None, &QueryPolicy::All, "/p"),
            (Some("b=2&a=1"), &QueryPolicy::All, "/p?b=2&a=1"),
            (Some("b=2&a=1&&b=1"), &QueryPolicy::Sorted, "/p?a=1&b=2&b=1"),
            (Some("token=secret"), &QueryPolicy::Drop, "/p"),
            (Some("b=2&token=secret&a=1&a=0"), &keep, "/p?a=1&a=0&b=2"),
            (Some("token=secret"), &keep, "/p"),
            (Some("_HLS_msn=1"), &keep, "/p"),
            (Some("a"), &keep, "/p?a"),
            (Some(""), &QueryPolicy::All, "/p"),
            (Some("/../%7e"), &QueryPolicy::All, "/p?/../%7e"),
        ] {
            assert_eq!(counted_path("/p", query, policy), expected, "{query:?}");
        }
    }

    #[test]
    fn delivery_directives_of_playlists_always_count() {
        let query = Some("_HLS_skip=YES&_HLS_part=2&x=1&_HLS_msn=7&_HLS_other=1");
        let directives = "/l.m3u8?_HLS_msn=7&_HLS_part=2&_HLS_skip=YES";
        assert_eq!(counted_path("/l.m3u8", query, &QueryPolicy::Drop), directives);
        assert_eq!(counted_path("/l.m3u8", query, &QueryPolicy::Keep(vec![])), directives);
        let keep = QueryPolicy::Keep(vec!["x".into()]);
        assert_eq!(counted_path("/l.m3u8", query, &keep), format!("{directives}&x=1"));
        assert_eq!(counted_path("/l.M3U8", Some("x=1"), &QueryPolicy::Drop), "/l.M3U8");
        assert_eq!(counted_path("/l.m4s", query, &QueryPolicy::Drop), "/l.m4s");
    }

    #[test]
    fn named_parameters_are_taken_out() {
        for (query, expected) in [
            ("a=1&b=2", "a=1&b=2"),
            ("token=x&a=1", "a=1"),
            ("a=1&token=x&CMCD=y&b", "a=1&b"),
            ("token", ""),
            ("tokens=1", "tokens=1"),
        ] {
            assert_eq!(without(query, &["token", "CMCD"]), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_counted_path_counts_as_itself(
            path in "/[a-c./%2eE]{0,16}(\\.m3u8)?", query in "[ab&=_HLSmn%]{0,16}",
        ) {
            for policy in [
                QueryPolicy::All,
                QueryPolicy::Sorted,
                QueryPolicy::Drop,
                QueryPolicy::Keep(vec!["a".into()]),
            ] {
                let once = counted_path(&path, Some(&query), &policy).into_owned();
                let (path, query) = match once.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (&*once, None),
                };
                prop_assert_eq!(counted_path(path, query, &policy), once.as_str());
            }
        }
    }
}
