//! How urgent a response is (RFC 9218): from the request's `Priority`, a PRIORITY_UPDATE frame, or the response. Pure.
//!
//! Invariant: what cannot be read counts as the default, as section 4 asks.

use http::{HeaderMap, HeaderName};

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
    /// The priority of a request, or what a response says instead.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get_all(PRIORITY)
            .iter()
            .fold(Self::default(), |before, value| before.with(value.as_bytes()))
    }

    /// This priority, changed by what a dictionary (RFC 8941 3.2) says; its last word counts.
    #[must_use]
    pub fn with(mut self, value: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(value) else { return self };
        for member in text.split(',') {
            let member = member.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
            match member.split_once('=') {
                Some(("u", digit)) => {
                    if let Ok(urgency @ 0..=7) = digit.parse() {
                        self.urgency = urgency;
                    }
                }
                None if member == "i" => self.is_incremental = true,
                Some(("i", "?1")) => self.is_incremental = true,
                Some(("i", "?0")) => self.is_incremental = false,
                _ => {}
            }
        }
        self
    }
}

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
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PRIORITY, HeaderValue::from_str(value).unwrap());
            assert_eq!(Priority::of(&headers), Priority { urgency, is_incremental }, "{value}");
        }
        assert_eq!(Priority::of(&HeaderMap::new()), Priority::default());
    }
}
