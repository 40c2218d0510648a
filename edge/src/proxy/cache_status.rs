//! How the cache handled an exchange: one word for metrics and logs, and the `Cache-Status` member (RFC 9211).
//!
//! Pure. Invariant: something stale is never called fresh: its `ttl` is negative.

use std::{fmt::Write, time::SystemTime};

use pingora::cache::CachePhase;

use super::exchange::Exchange;

/// How the cache handled an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CacheStatus {
    /// A fresh stored response was served.
    Hit,
    /// A stale one was served while it is revalidated.
    Stale,
    /// A stale one was served because upstream failed.
    StaleOnError,
    /// A stale one was confirmed by upstream and served.
    Revalidated,
    /// A stale one was replaced by upstream's answer.
    Expired,
    /// Nothing was stored; upstream answered.
    Miss,
    /// Nothing was stored, but another exchange was already filling.
    Collapsed,
    /// The cache was not asked, or must not keep the answer.
    Pass,
    /// The exchange ended before the cache was asked.
    None,
}

impl CacheStatus {
    /// Finds it out.
    #[must_use]
    pub(super) fn of(exchange: &Exchange, phase: CachePhase, waited: bool) -> Self {
        if exchange.route.is_none() {
            return Self::None;
        }
        if exchange.forward.is_stale_on_error {
            return Self::StaleOnError;
        }
        match phase {
            CachePhase::Hit => {
                let is_arriving = exchange.found.is_some_and(|found| found.is_in_flight);
                if waited || is_arriving { Self::Collapsed } else { Self::Hit }
            }
            CachePhase::StaleUpdating => Self::Stale,
            CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => Self::Revalidated,
            CachePhase::Expired | CachePhase::Stale => Self::Expired,
            CachePhase::Miss | CachePhase::CacheKey => Self::Miss,
            CachePhase::Disabled(_) | CachePhase::Bypass | CachePhase::Uninit => Self::Pass,
        }
    }

    /// The word in logs and labels.
    #[must_use]
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleOnError => "stale-on-error",
            Self::Revalidated => "revalidated",
            Self::Expired => "expired",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Pass => "pass",
            Self::None => "none",
        }
    }

    /// Whether a client was answered from what was stored before it asked.
    #[must_use]
    pub(super) fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::StaleOnError)
    }
}

/// The `Cache-Status` member of this node.
#[must_use]
pub(super) fn member(
    node: &str,
    status: CacheStatus,
    exchange: &Exchange,
    now: SystemTime,
) -> String {
    let mut member = node.to_owned();
    let ttl = |member: &mut String, is_stored: bool| {
        let freshness =
            if is_stored { exchange.stored } else { exchange.found.map(|found| found.freshness) };
        if let Some(freshness) = freshness {
            let ttl_s = freshness.ttl_s(now);
            // Stale for another reason than its age: purged softly, or in doubt.
            let is_served_stale = matches!(status, CacheStatus::Stale | CacheStatus::StaleOnError);
            let ttl_s = if is_served_stale { ttl_s.min(-1) } else { ttl_s };
            let _ = write!(member, "; ttl={ttl_s}");
        }
    };
    let forwarded = |member: &mut String, why: &str| {
        let _ = write!(member, "; fwd={why}");
        if let Some(status) = exchange.forward.status {
            let _ = write!(member, "; fwd-status={status}");
        }
        if exchange.stored.is_some() {
            ttl(member, true);
            member.push_str("; stored");
        }
    };
    match status {
        CacheStatus::Hit | CacheStatus::Stale => {
            member.push_str("; hit");
            ttl(&mut member, false);
        }
        CacheStatus::StaleOnError => {
            member.push_str("; fwd=stale");
            if let Some(status) = exchange.forward.status {
                let _ = write!(member, "; fwd-status={status}");
            }
            ttl(&mut member, false);
            member.push_str("; detail=stale-on-error");
        }
        CacheStatus::Collapsed => {
            member.push_str("; fwd=miss");
            ttl(&mut member, false);
            member.push_str("; collapsed");
        }
        CacheStatus::Miss => forwarded(&mut member, "miss"),
        CacheStatus::Expired | CacheStatus::Revalidated => forwarded(&mut member, "stale"),
        CacheStatus::Pass => {
            let why = exchange.pass.map(super::exchange::Pass::as_str);
            let is_method = why == Some("method");
            forwarded(&mut member, if is_method { "method" } else { "bypass" });
            if let Some(detail) = why.or(exchange.unstorable).filter(|_| !is_method) {
                let _ = write!(member, "; detail={detail}");
            }
        }
        CacheStatus::None => member.push_str("; fwd=bypass"),
    }
    member
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cache::{freshness::Freshness, reuse::Reuse},
        proxy::exchange::{FoundHead, Pass},
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn freshness() -> Freshness {
        Freshness {
            received_at: at(0),
            initial_age: Duration::ZERO,
            lifetime: Duration::from_secs(10),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_if_unreachable: Duration::ZERO,
            is_for_shared: false,
            always_revalidate: false,
            forbids_stale: false,
            is_immutable: false,
        }
    }

    #[test]
    fn the_member_says_what_happened() {
        let mut exchange = Exchange::new(at(0));
        exchange.found =
            Some(FoundHead { freshness: freshness(), reuse: Reuse::Serve, is_in_flight: false });
        for (status, now, expected) in [
            (CacheStatus::Hit, 3, "n; hit; ttl=7"),
            (CacheStatus::Stale, 13, "n; hit; ttl=-3"),
            (CacheStatus::Stale, 3, "n; hit; ttl=-1"),
            (CacheStatus::StaleOnError, 13, "n; fwd=stale; ttl=-3; detail=stale-on-error"),
            (CacheStatus::Collapsed, 3, "n; fwd=miss; ttl=7; collapsed"),
            (CacheStatus::None, 3, "n; fwd=bypass"),
        ] {
            assert_eq!(member("n", status, &exchange, at(now)), expected);
        }
        exchange.forward.status = Some(200);
        exchange.stored = Some(freshness());
        let miss = member("n", CacheStatus::Miss, &exchange, at(0));
        assert_eq!(miss, "n; fwd=miss; fwd-status=200; ttl=10; stored");
        exchange.forward.status = Some(304);
        let confirmed = member("n", CacheStatus::Revalidated, &exchange, at(0));
        assert_eq!(confirmed, "n; fwd=stale; fwd-status=304; ttl=10; stored");
    }

    #[test]
    fn a_pass_says_why() {
        let mut exchange = Exchange::new(at(0));
        exchange.forward.status = Some(200);
        exchange.unstorable = Some("private");
        let member = |exchange: &Exchange| member("n", CacheStatus::Pass, exchange, at(0));
        assert_eq!(member(&exchange), "n; fwd=bypass; fwd-status=200; detail=private");
        exchange.pass = Some(Pass::Method);
        assert_eq!(member(&exchange), "n; fwd=method; fwd-status=200");
    }
}
