//! What a client wishes of a cache (RFC 9111 5.2.1).
//!
//! Wishes are followed only where a property says so, because any client could make every request a request to the
//! origin; `only-if-cached` costs nothing and is followed always. Invariant: a wish never makes a response that the
//! origin calls stale fresh, except within `max-stale`.

use std::time::Duration;

use http::{HeaderMap, header};
use tidegate_contract::property::CachePolicy;

use super::{directive::Directives, list::members};

/// The wishes that count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Nothing that upstream was not asked about.
    pub no_cache: bool,
    /// Neither this request nor its answer in a store: pass it.
    pub no_store: bool,
    /// Nothing older.
    pub max_age: Option<Duration>,
    /// Nothing that stays fresh for less.
    pub min_fresh: Option<Duration>,
    /// Also what has been stale for so long.
    pub max_stale: Option<Duration>,
    /// Nothing but what is stored.
    pub only_if_cached: bool,
}

impl Wishes {
    /// The wishes of a request.
    #[must_use]
    pub fn of(request: &HeaderMap, policy: &CachePolicy) -> Self {
        if !request.contains_key(header::CACHE_CONTROL) {
            let no_cache = policy.client_directives && is_pragma_no_cache(request);
            return Self { no_cache, ..Self::default() };
        }
        let directives = Directives::read(request);
        let only_if_cached = directives.only_if_cached;
        if !policy.client_directives {
            return Self { only_if_cached, ..Self::default() };
        }
        Self {
            no_cache: directives.no_cache,
            no_store: directives.no_store,
            max_age: directives.max_age,
            min_fresh: directives.min_fresh,
            max_stale: directives.max_stale,
            only_if_cached,
        }
    }

    /// Whether something this old that stays fresh for so long is not what the client wishes for.
    #[must_use]
    pub fn refuse(&self, age: Duration, remaining: Duration) -> bool {
        let is_too_old =
            self.max_age.is_some_and(|max| max.is_zero() || age.as_secs() > max.as_secs());
        let is_too_short = self.min_fresh.is_some_and(|min| remaining < min);
        self.no_cache || is_too_old || is_too_short
    }
}

/// As older clients write `no-cache` (RFC 9111 5.4); it counts only without `Cache-Control`.
fn is_pragma_no_cache(request: &HeaderMap) -> bool {
    let lines = request.get_all(header::PRAGMA).iter();
    lines
        .flat_map(|line| members(line.as_bytes()))
        .any(|m| m.text.eq_ignore_ascii_case(b"no-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    #[test]
    fn only_a_property_that_says_so_follows_wishes() {
        let all = headers(&[(
            "cache-control",
            "no-cache, no-store, max-age=1, min-fresh=2, max-stale=3, only-if-cached",
        )]);
        let strict = Wishes::of(&all, &CachePolicy::default());
        assert_eq!(strict, Wishes { only_if_cached: true, ..Wishes::default() });
        let open = CachePolicy { client_directives: true, ..CachePolicy::default() };
        let expected = Wishes {
            no_cache: true,
            no_store: true,
            max_age: Some(Duration::from_secs(1)),
            min_fresh: Some(Duration::from_secs(2)),
            max_stale: Some(Duration::from_secs(3)),
            only_if_cached: true,
        };
        assert_eq!(Wishes::of(&all, &open), expected);
        for (pairs, expected) in [
            (vec![("pragma", "No-Cache")], true),
            (vec![("pragma", "foo")], false),
            (vec![("pragma", "no-cache"), ("cache-control", "max-age=60")], false),
        ] {
            assert_eq!(Wishes::of(&headers(&pairs), &open).no_cache, expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_wish_refuses_what_is_too_old_or_too_short() {
        let secs = Duration::from_secs;
        let max_age = |max| Wishes { max_age: Some(secs(max)), ..Wishes::default() };
        assert!(max_age(0).refuse(secs(0), secs(9)));
        assert!(max_age(1).refuse(secs(3), secs(9)) && !max_age(3).refuse(secs(3), secs(9)));
        let min_fresh = Wishes { min_fresh: Some(secs(5)), ..Wishes::default() };
        assert!(min_fresh.refuse(secs(0), secs(4)) && !min_fresh.refuse(secs(0), secs(5)));
        assert!(!Wishes::default().refuse(secs(99), secs(0)));
    }
}
