//! How the cache handled an exchange: one word for metrics and logs, and the `Cache-Status` member (RFC 9211).
//!
//! Pure. Invariant: something stale is never called fresh: its `ttl` is negative.

use http::{HeaderValue, StatusCode};

use super::context::Pass;

/// How the cache handled an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
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
    /// Another variant was stored; upstream answered.
    VaryMiss,
    /// A part of it was stored; upstream brings the rest.
    Partial,
    /// Another exchange was already filling.
    Collapsed,
    /// The cache was not asked.
    Pass(Pass),
    /// Upstream's answer is not kept, for this reason.
    Unstorable(&'static str),
    /// The exchange ended before the cache was asked.
    None,
}

/// What is told beside that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// How long the answer stays fresh, in seconds.
    pub(super) ttl_s: Option<i64>,
    /// Upstream's status, when this exchange asked it.
    pub(super) forward_status: Option<StatusCode>,
    /// Whether upstream's answer is kept.
    pub(super) is_stored: bool,
}

impl Handled {
    /// Every word, in the order of [`Handled::index`].
    pub(super) const WORDS: [&'static str; 11] = [
        "hit",
        "stale",
        "stale-on-error",
        "revalidated",
        "expired",
        "miss",
        "vary-miss",
        "partial",
        "collapsed",
        "pass",
        "none",
    ];

    /// Its place among the words.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::Stale => 1,
            Self::StaleOnError => 2,
            Self::Revalidated => 3,
            Self::Expired => 4,
            Self::Miss => 5,
            Self::VaryMiss => 6,
            Self::Partial => 7,
            Self::Collapsed => 8,
            Self::Pass(_) | Self::Unstorable(_) => 9,
            Self::None => 10,
        }
    }

    /// The word in logs and labels.
    pub(super) fn as_str(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// Whether a client was answered from what was stored before it asked.
    pub(super) fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::StaleOnError)
    }
}

/// The `Cache-Status` member of this node.
pub(super) fn member(node: &str, handled: Handled, told: &Told) -> HeaderValue {
    let mut text = String::with_capacity(MEMBER_BYTES);
    text.push_str(node);
    match handled {
        Handled::Hit => text.push_str("; hit"),
        Handled::Stale => text.push_str("; hit"),
        Handled::StaleOnError | Handled::Revalidated | Handled::Expired => {
            text.push_str("; fwd=stale");
        }
        Handled::Miss | Handled::Collapsed => text.push_str("; fwd=uri-miss"),
        Handled::VaryMiss => text.push_str("; fwd=vary-miss"),
        Handled::Partial => text.push_str("; fwd=partial"),
        Handled::Pass(Pass::Method) => text.push_str("; fwd=method"),
        Handled::Pass(Pass::Wish) => text.push_str("; fwd=request"),
        Handled::Pass(_) | Handled::Unstorable(_) | Handled::None => text.push_str("; fwd=bypass"),
    }
    if let Some(status) = told.forward_status {
        text.push_str("; fwd-status=");
        text.push_str(status.as_str());
    }
    if let Some(ttl_s) = told.ttl_s {
        // Stale for another reason than its age: purged softly, or in doubt.
        let is_stale = matches!(handled, Handled::Stale | Handled::StaleOnError);
        push_number(&mut text, "; ttl=", if is_stale { ttl_s.min(-1) } else { ttl_s });
    }
    if told.is_stored {
        text.push_str("; stored");
    }
    match handled {
        Handled::Collapsed => text.push_str("; collapsed"),
        Handled::StaleOnError => text.push_str("; detail=stale-on-error"),
        Handled::Pass(pass @ (Pass::Policy | Pass::Shape | Pass::Behind)) => {
            text.push_str("; detail=");
            text.push_str(pass.as_str());
        }
        Handled::Unstorable(reason) => {
            text.push_str("; detail=");
            text.push_str(reason);
        }
        _ => {}
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("tidegate"))
}

fn push_number(text: &mut String, name: &str, number: i64) {
    use std::fmt::Write;
    // Writing to a string does not fail.
    let _ = write!(text, "{name}{number}");
}

/// What a member takes, nearly always.
const MEMBER_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(handled: Handled, ttl_s: Option<i64>, status: Option<u16>, is_stored: bool) -> String {
        let forward_status = status.map(|status| StatusCode::from_u16(status).unwrap());
        let told = Told { ttl_s, forward_status, is_stored };
        member("n", handled, &told).to_str().unwrap().to_owned()
    }

    #[test]
    fn the_member_says_what_happened() {
        for (handled, ttl_s, status, is_stored, expected) in [
            (Handled::Hit, Some(7), None, false, "n; hit; ttl=7"),
            (Handled::Stale, Some(-3), None, false, "n; hit; ttl=-3"),
            (Handled::Stale, Some(7), None, false, "n; hit; ttl=-1"),
            (
                Handled::StaleOnError,
                Some(-3),
                Some(503),
                false,
                "n; fwd=stale; fwd-status=503; ttl=-3; detail=stale-on-error",
            ),
            (Handled::Collapsed, Some(7), None, false, "n; fwd=uri-miss; ttl=7; collapsed"),
            (Handled::None, None, None, false, "n; fwd=bypass"),
            (
                Handled::Miss,
                Some(10),
                Some(200),
                true,
                "n; fwd=uri-miss; fwd-status=200; ttl=10; stored",
            ),
            (
                Handled::VaryMiss,
                Some(10),
                Some(200),
                true,
                "n; fwd=vary-miss; fwd-status=200; ttl=10; stored",
            ),
            (
                Handled::Revalidated,
                Some(10),
                Some(304),
                true,
                "n; fwd=stale; fwd-status=304; ttl=10; stored",
            ),
            (Handled::Partial, Some(10), None, false, "n; fwd=partial; ttl=10"),
            (
                Handled::Unstorable("private"),
                None,
                Some(200),
                false,
                "n; fwd=bypass; fwd-status=200; detail=private",
            ),
            (Handled::Pass(Pass::Method), None, Some(201), false, "n; fwd=method; fwd-status=201"),
            (
                Handled::Pass(Pass::Behind),
                None,
                Some(200),
                false,
                "n; fwd=bypass; fwd-status=200; detail=behind",
            ),
        ] {
            assert_eq!(text(handled, ttl_s, status, is_stored), expected);
        }
    }

    #[test]
    fn every_way_has_a_word() {
        for handled in [Handled::Hit, Handled::Partial, Handled::Unstorable("x"), Handled::None] {
            assert_eq!(Handled::WORDS[handled.index()], handled.as_str());
        }
    }
}
