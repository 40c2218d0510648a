//! Playback tokens: Common Access Token (`cat` in `cwt`) and JSON Web Token (`jwt`), both signed with a property's keys.
//!
//! Reading one gives [`Token`]: checked claims that can be asked, request after request, whether they open it.
//! Invariant: a restriction that is not understood refuses the token; nothing is read before the signature is good but
//! what is needed to check it.

pub mod renewal; // a token that lives on
pub mod cat; // claims of CTA-5007
pub mod cwt; // COSE around them
pub mod jwt; // the same in JSON
pub mod claims; // what a token allows, and to whom
pub mod uri; // matching texts and parts of a URI
pub mod key; // the keys of a property

use std::time::Duration;

use tidegate_contract::guard_policy::{TokenKind, TokenPolicy};

use self::{
    claims::Claims,
    key::{KeyError, Keys},
};
use crate::guard::verdict::Reason;

/// A token whose signature is good.
#[derive(Debug)]
pub struct Token {
    /// What it says.
    pub claims: Claims,
    /// Its claims as they were signed, when it asks for renewal.
    pub renewable: Option<Vec<u8>>,
    /// When its key is no longer good, in seconds since 1970.
    pub key_until: u64,
    /// A name for it in logs and rates: of its id, so that it stays the same when the token is renewed.
    pub tag: [u8; 8],
    /// What it takes of memory, in bytes; about.
    pub weight: u32,
}

/// What a property asks of tokens.
#[derive(Debug)]
pub struct Verifier {
    /// Its keys.
    pub keys: Keys,
    kinds: Vec<TokenKind>,
    skew: u64,
    lifetime_max: Duration,
    issuer: Option<String>,
    audience: Vec<String>,
}

/// Why a token does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of a kind that is accepted.
    #[error("not a token")]
    Malformed,
    /// No key of ours made it.
    #[error("the signature is not good")]
    Signature,
    /// It is over.
    #[error("the token is over")]
    Expired,
    /// It is not good yet.
    #[error("the token is not good yet")]
    Early,
    /// It says what is not accepted, or what is not understood.
    #[error("claim {0} is not accepted")]
    Claim(&'static str),
}

impl Verifier {
    /// What a policy asks for. Keys that cannot be read are left out, with a line in the log.
    #[must_use]
    pub fn new(policy: &TokenPolicy) -> Self {
        Self {
            keys: Keys::new(&policy.keys),
            kinds: policy.kinds.clone(),
            skew: policy.clock_skew.as_secs(),
            lifetime_max: policy.lifetime_max,
            issuer: policy.issuer.clone(),
            audience: policy.audience.clone(),
        }
    }

    /// Reads a token and checks everything that does not depend on a request.
    ///
    /// # Errors
    /// [`TokenError`]; whether it was the signature or the claims is told apart for operators' sake.
    pub fn read(&self, text: &str, now: u64) -> Result<Token, TokenError> {
        let is_jwt = text.contains('.');
        let kind = if is_jwt { TokenKind::Jwt } else { TokenKind::Cat };
        if !self.kinds.contains(&kind) {
            return Err(TokenError::Malformed);
        }
        let token = if is_jwt {
            jwt::read(text, &self.keys, now)?
        } else {
            cwt::read(text, &self.keys, now)?
        };
        self.admit(&token.claims, now)?;
        self.check_time(&token, now)?;
        // Claims repeat the text, with what their types and the table add.
        let weight = 2 * text.len() as u32 + OVERHEAD_BYTES;
        Ok(Token { weight, ..token })
    }

    /// Whether a token that was good is still in its time.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::Early`], or that its key is no longer good.
    pub fn check_time(&self, token: &Token, now: u64) -> Result<(), TokenError> {
        if now >= token.claims.expires.saturating_add(self.skew) {
            return Err(TokenError::Expired);
        }
        if token.claims.not_before.is_some_and(|start| now.saturating_add(self.skew) < start) {
            return Err(TokenError::Early);
        }
        if now >= token.key_until { Err(TokenError::Signature) } else { Ok(()) }
    }

    /// Issuer, audience and lifetime.
    fn admit(&self, claims: &Claims, now: u64) -> Result<(), TokenError> {
        if self.issuer.is_some() && self.issuer != claims.issuer {
            return Err(TokenError::Claim("iss"));
        }
        let is_ours = |names: &Vec<String>| names.iter().any(|name| self.audience.contains(name));
        // RFC 7519 4.1.3: whoever is not named must refuse.
        let is_for_us = match &claims.audience {
            Some(names) => is_ours(names),
            None => self.audience.is_empty(),
        };
        if !is_for_us {
            return Err(TokenError::Claim("aud"));
        }
        if claims.expires.saturating_sub(now) > self.lifetime_max.as_secs() {
            return Err(TokenError::Claim("exp"));
        }
        Ok(())
    }
}

impl Token {
    /// A token whose signature covers these bytes.
    fn new(claims: Claims, signed: &[u8], key_until: u64) -> Self {
        // Not of the text: who holds a token can write it in many ways that are as good.
        let id = claims.id.as_deref().unwrap_or(signed);
        let tag = blake3::hash(id).as_bytes()[..8].try_into().expect("eight of 32 bytes");
        let renewable = claims.renewal.is_some().then(|| signed.to_vec());
        Self { claims, renewable, key_until, tag, weight: 0 }
    }
}

impl TokenError {
    /// What the client is told.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed => Reason::TokenMalformed,
            Self::Signature => Reason::TokenSignature,
            Self::Expired => Reason::TokenExpired,
            Self::Early => Reason::TokenEarly,
            Self::Claim(_) => Reason::TokenClaim,
        }
    }
}

impl From<KeyError> for TokenError {
    fn from(_: KeyError) -> Self {
        Self::Signature
    }
}

/// What a token takes beside its text.
const OVERHEAD_BYTES: u32 = 512;
