//! What comes out of the door: let in, or an answer.
//!
//! A leaf that the whole folder shares. Invariant: nothing in here shows a token; what is logged of it is a hash.

use http::{HeaderName, HeaderValue, StatusCode, header};
use tidegate_contract::problem::{self, Problem};

use super::strip::Strip;

/// A request that may be answered.
#[derive(Debug, Default)]
pub struct Granted {
    /// The request without what is for the door alone.
    pub strip: Strip,
    /// Headers of this response alone: CORS, cookies, renewed tokens.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// A name of the token for logs, the same for every request with it and after its renewal.
    pub token: Option<[u8; 8]>,
    /// Whom the response's bytes are counted for; see [`super::Guard::charge`].
    pub meters: Meters,
}

/// Whom the response's bytes are counted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meters {
    /// Client and token: the table's key, and nanoseconds for each KiB.
    pub(super) charged: [Option<(u64, u64)>; 2],
}

/// A request that is answered at the door.
#[derive(Debug)]
pub struct Reply {
    /// The request without what is for the door alone, for the log.
    pub strip: Strip,
    /// Why.
    pub reason: Reason,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers, without its length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The answer's body; a response to HEAD leaves it out.
    pub body: String,
}

/// Why a request is answered at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A browser asks what it may do.
    Preflight,
    /// The token was renewed: the same again, with the new one.
    Renewal,
    /// No token.
    TokenMissing,
    /// What stands in the token's place is none.
    TokenMalformed,
    /// No key of ours made it.
    TokenSignature,
    /// It is over.
    TokenExpired,
    /// It is not good yet.
    TokenEarly,
    /// Issuer, audience or lifetime are not what is asked for, or it says something that is not understood here.
    TokenClaim,
    /// It opens another path.
    TokenPath,
    /// It is for other methods, headers or protocols.
    TokenRequest,
    /// It is for clients at another place or address.
    TokenClient,
    /// The client asks too often.
    RateClient,
    /// The token is used too often.
    RateToken,
    /// The client's country is not let in.
    Geo,
    /// The method is not let in.
    Method,
    /// The page's origin may not do this.
    Origin,
}

impl Reason {
    /// Every reason, for metrics and documents.
    pub const ALL: [Self; 16] = [
        Self::Preflight,
        Self::Renewal,
        Self::TokenMissing,
        Self::TokenMalformed,
        Self::TokenSignature,
        Self::TokenExpired,
        Self::TokenEarly,
        Self::TokenClaim,
        Self::TokenPath,
        Self::TokenRequest,
        Self::TokenClient,
        Self::RateClient,
        Self::RateToken,
        Self::Geo,
        Self::Method,
        Self::Origin,
    ];

    /// The stable word of problem documents, logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The status that it is answered with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.parts().1
    }

    /// Whether the request was refused, rather than answered.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        !matches!(self, Self::Preflight | Self::Renewal)
    }

    /// 401 where another token would help, 403 where it would not.
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Preflight => ("preflight", S::NO_CONTENT, ""),
            Self::Renewal => ("renewal", S::TEMPORARY_REDIRECT, ""),
            Self::TokenMissing => ("token-missing", S::UNAUTHORIZED, "a playback token is needed"),
            Self::TokenMalformed => {
                ("token-malformed", S::UNAUTHORIZED, "the token cannot be read")
            }
            Self::TokenSignature => {
                ("token-signature", S::UNAUTHORIZED, "the token's signature is not good")
            }
            Self::TokenExpired => ("token-expired", S::UNAUTHORIZED, "the token is over"),
            Self::TokenEarly => ("token-early", S::UNAUTHORIZED, "the token is not good yet"),
            Self::TokenClaim => {
                ("token-claim", S::FORBIDDEN, "the token says what is not accepted here")
            }
            Self::TokenPath => ("token-path", S::FORBIDDEN, "the token is for another resource"),
            Self::TokenRequest => {
                ("token-request", S::FORBIDDEN, "the token is for another kind of request")
            }
            Self::TokenClient => ("token-client", S::FORBIDDEN, "the token is for another place"),
            Self::RateClient => ("rate-client", S::TOO_MANY_REQUESTS, "too many requests"),
            Self::RateToken => ("rate-token", S::TOO_MANY_REQUESTS, "the token is used too often"),
            Self::Geo => ("geo", S::FORBIDDEN, "not available at this place"),
            Self::Method => ("method", S::METHOD_NOT_ALLOWED, "this method is not allowed"),
            Self::Origin => ("origin", S::FORBIDDEN, "pages of this origin may not do this"),
        }
    }
}

impl Reply {
    /// The answer for a reason: a problem document that no cache keeps.
    #[must_use]
    pub fn refusal(reason: Reason, strip: Strip) -> Self {
        let (kind, status, title) = reason.parts();
        let problem = Problem::new(status.as_u16(), kind, title, "");
        let mut headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 3: without an error when nothing was offered.
            let challenge = match reason {
                Reason::TokenMissing => "Bearer realm=\"playback\"",
                _ => "Bearer realm=\"playback\", error=\"invalid_token\"",
            };
            headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        }
        let body = serde_json::to_string(&problem).expect("a problem is plain data");
        Self { strip, reason, status, headers, body }
    }

    /// An answer without a body that no cache keeps.
    #[must_use]
    pub fn bare(reason: Reason, strip: Strip) -> Self {
        let headers = vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        Self { strip, reason, status: reason.status(), headers, body: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_word_of_its_own_and_a_status() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL.into_iter().filter(|reason| reason.is_refusal()) {
            assert!(reason.status().is_client_error(), "{reason:?}");
        }
    }

    #[test]
    fn a_refusal_is_a_problem_that_says_what_would_help() {
        let reply = Reply::refusal(Reason::TokenExpired, Strip::default());
        assert!(reply.body.contains("/problem/token-expired"), "{}", reply.body);
        let challenge = reply.headers.iter().find(|(name, _)| name == header::WWW_AUTHENTICATE);
        assert!(challenge.is_some_and(|(_, value)| value.as_bytes().ends_with(b"invalid_token\"")));
        let geo = Reply::refusal(Reason::Geo, Strip::default());
        assert!(!geo.headers.iter().any(|(name, _)| name == header::WWW_AUTHENTICATE));
    }
}
