//! Bearer and enrolment tokens: made here, shown once, kept as a hash.
//!
//! A token reads `tga_<id>_<secret>`. The id is public and finds the row; the secret has 256 random bits, so that
//! a plain SHA-256 of it is enough; hashes are compared in constant time.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a token is for; each kind has its own prefix, so that one is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For the HTTP API.
    Api,
    /// For the enrolment of one node.
    Enrolment,
}

/// A token that was just made. The text is shown once.
pub struct NewToken {
    /// Its public id.
    pub id: String,
    /// The whole token.
    pub text: String,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
}

/// A token that somebody presents.
pub struct Presented {
    /// The public id that it claims.
    pub id: String,
    hash: [u8; 32],
}

/// What the bearer of an API token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everything.
    Admin,
    /// Order purges and see what became of them.
    Purge,
    /// See everything that the API shows; change nothing.
    Read,
}

/// Why a text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope is admin, purge or read, not {0:?}")]
pub struct ScopeError(String);

impl NewToken {
    /// Makes a token from the system's randomness.
    #[must_use]
    pub fn make(kind: Kind) -> Self {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let secret = hex::encode(rand::random::<[u8; 32]>());
        let text = format!("{}_{id}_{secret}", kind.prefix());
        Self { id, text, hash: Sha256::digest(secret.as_bytes()).into() }
    }
}

impl Presented {
    /// Takes a token apart; `None` when it has not the form of its kind.
    #[must_use]
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (id, secret) = text.strip_prefix(kind.prefix())?.strip_prefix('_')?.split_once('_')?;
        let is_plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
        let hash = Sha256::digest(secret.as_bytes()).into();
        is_plain.then(|| Self { id: id.to_owned(), hash })
    }

    /// Whether its secret is the one that was hashed; in constant time.
    #[must_use]
    pub fn matches(&self, hash: &[u8]) -> bool {
        self.hash.ct_eq(hash).into()
    }
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Api => "tga",
            Self::Enrolment => "tge",
        }
    }
}

impl Scope {
    /// The scope's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Purge => "purge",
            Self::Read => "read",
        }
    }

    /// The scopes of a stored list.
    ///
    /// # Errors
    /// The first word that is no scope.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ScopeError> {
        text.split_ascii_whitespace().map(str::parse).collect()
    }

    /// The form that is stored.
    #[must_use]
    pub fn format_list(scopes: &[Self]) -> String {
        scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
    }
}

impl FromStr for Scope {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        [Self::Admin, Self::Purge, Self::Read]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| ScopeError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const TOKEN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_its_own_hash_alone() {
        let token = NewToken::make(Kind::Api);
        let other = NewToken::make(Kind::Api);
        let presented = Presented::parse(Kind::Api, &token.text).expect("its own text");
        assert_eq!(presented.id, token.id);
        assert!(presented.matches(&token.hash));
        assert!(!presented.matches(&other.hash));
        assert!(!presented.matches(b""));
    }

    #[test]
    fn a_token_of_another_kind_or_form_is_none() {
        let enrolment = NewToken::make(Kind::Enrolment).text;
        for text in ["", "tga", "tga_", "tga__x", "tga_a b_c", &enrolment, &"x".repeat(300)] {
            assert!(Presented::parse(Kind::Api, text).is_none(), "{text}");
        }
    }

    #[test]
    fn scopes_read_as_they_were_written() {
        let scopes = [Scope::Purge, Scope::Read];
        assert_eq!(Scope::parse_list(&Scope::format_list(&scopes)).as_deref(), Ok(&scopes[..]));
        assert!(Scope::parse_list("purge root").is_err());
    }
}
