//! How urgent a response is (RFC 9218): from the request's `Priority`, a PRIORITY_UPDATE frame, or the response. Pure.
//!
//! Invariant: what cannot be read counts as the default, as section 4 asks.

use http::{HeaderMap, HeaderName};

use crate::cache::structured::{Bare, Item, Value, dictionary};

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7 (last).
    pub urgency: u8,
    /// Useful in parts, so that several may share the way.
    pub is_incremental: bool,
}

/// The header.
pub const PRIORITY: HeaderName = HeaderName::from_static("priority");
/// Urgencies, from 0.
pub const URGENCIES: usize = 8;

impl Priority {
    /// The priority of a request, or what a response says instead. A line that is no dictionary says nothing.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get_all(PRIORITY)
            .iter()
            .fold(Self::default(), |before, value| before.with(value.as_bytes()))
    }

    /// This priority, changed by what a dictionary (RFC 9651 3.2) says.
    #[must_use]
    pub fn with(mut self, value: &[u8]) -> Self {
        for (name, value) in dictionary(value, MEMBERS_MAX).unwrap_or_default() {
            let Value::Item(Item { bare, .. }) = value else { continue };
            match (name, bare) {
                ("u", Bare::Integer(urgency @ 0..=7)) => self.urgency = urgency as u8,
                ("i", Bare::Boolean(is_incremental)) => self.is_incremental = is_incremental,
                _ => {}
            }
        }
        self
    }
}

/// RFC 9218 knows two; whoever sends more than this says nothing.
const MEMBERS_MAX: usize = 16;

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, is_incremental: false }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_header_says_urgency_and_increments() {
        for (value, urgency, is_incremental) in [
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i, u=1", 1, true),
            ("i=?1;x=2, u=5;y", 5, true),
            ("i=?0", 3, false),
            ("u=9", 3, false),
            ("u=-1", 3, false),
            ("u=1, u=2", 2, false),
            ("u", 3, false),
            ("", 3, false),
            ("u=x", 3, false),
            ("u=1.0", 3, false),
            ("u=(1 2), i", 3, true),
            ("u=1,", 3, false),
            ("u=1;;, i", 3, false),
            ("U=1, i", 3, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PRIORITY, HeaderValue::from_str(value).unwrap());
            assert_eq!(Priority::of(&headers), Priority { urgency, is_incremental }, "{value}");
        }
        assert_eq!(Priority::of(&HeaderMap::new()), Priority::default());
    }
}
