//! What one session is to do: which videos, as which viewer, with which token.
//!
//! Invariant: a token is never shown by `Debug`.

use std::fmt;

use url::Url;
use uuid::Uuid;

use super::behaviour::Behaviour;

/// One session.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is watched, in this order: one for ordinary viewing, many for swiping.
    pub videos: Vec<Url>,
    pub behaviour: Behaviour,
    /// Wall clock at the session's scheduled beginning, milliseconds since 1970: for live edges.
    pub wall_clock_at_start_unix_ms: i64,
    /// Shown with every request.
    pub session_token: Option<SessionToken>,
    /// CMCD's `sid`.
    pub session_id: Uuid,
}

/// How a session shows what it may.
#[derive(Clone, PartialEq, Eq)]
pub enum SessionToken {
    /// As a query parameter.
    Query { name: String, value: String },
    /// As a header. Bytes that no header can hold are a mistake of the scenario: the header is left out.
    Header { name: String, value: String },
}

impl SessionToken {
    /// The URL with the token in its query, where it goes there.
    pub(super) fn added_to(&self, url: &Url) -> Url {
        let mut url = url.clone();
        if let Self::Query { name, value } = self {
            url.query_pairs_mut().append_pair(name, value);
        }
        url
    }

    /// The header with the token, where it goes there.
    pub(super) fn header(&self) -> Option<(http::HeaderName, http::HeaderValue)> {
        let Self::Header { name, value } = self else { return None };
        let name = http::HeaderName::try_from(name.as_str()).ok()?;
        let mut value = http::HeaderValue::try_from(value.as_str()).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, name) = match self {
            Self::Query { name, .. } => ("query", name),
            Self::Header { name, .. } => ("header", name),
        };
        write!(f, "SessionToken({place} {name})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_where_the_plan_says_and_is_not_shown() {
        let url = Url::parse("https://a.example/v/m.m3u8?x=1").unwrap();
        let query = SessionToken::Query { name: "cat".into(), value: "s e&cret".into() };
        assert_eq!(query.added_to(&url).as_str(), "https://a.example/v/m.m3u8?x=1&cat=s+e%26cret");
        assert_eq!(query.header(), None);
        let header =
            SessionToken::Header { name: "authorization".into(), value: "B secret".into() };
        assert_eq!(header.added_to(&url), url);
        assert_eq!(header.header().unwrap().1, "B secret");
        for token in [query, header] {
            assert!(!format!("{token:?}").contains("cret"));
        }
        let broken = SessionToken::Header { name: "a b".into(), value: "x".into() };
        assert_eq!(broken.header(), None);
    }
}
