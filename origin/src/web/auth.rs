//! Who asks: API tokens, known by their SHA-256 alone.
//!
//! **Invariant.** A token is neither stored nor logged; what is compared are hashes, in constant time, and every
//! known token is compared, so that the time tells nothing.

use std::{
    fmt,
    io::Write,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, header, request::Parts},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_contract::id::NodeId;

use crate::web::{ApiError, bearer_token};

/// The client that a token belongs to: its name in the token file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientId(String);

/// Extracts the client of a request, or answers 401.
#[derive(Debug, Clone)]
pub struct Client(pub ClientId);

/// The tokens that are good now; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Arc<RwLock<Vec<KnownToken>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownToken {
    client: ClientId,
    sha256: [u8; 32],
}

/// Why a line is no token line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenLineError {
    /// Not `name hash`.
    #[error("line {0} is not `name sha256-of-token`")]
    Shape(usize),
    /// The name breaks the rules of ids.
    #[error("line {0}: a name has 1 to 64 of a-z, 0-9, '-' and '_'")]
    Name(usize),
    /// The hash is none.
    #[error("line {0}: a hash has 64 hex digits")]
    Hash(usize),
    /// More tokens than this program takes.
    #[error("more than {TOKENS_MAX} tokens")]
    TooMany,
}

impl ClientId {
    /// Checks a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The same syntax as every id, since a name stands in the database and in logs.
        NodeId::parse(text).ok().map(|id| Self(id.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Tokens {
    /// Replaces all tokens by those of the lines.
    ///
    /// # Errors
    /// The first bad line; then the tokens stay as they are.
    pub fn replace<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<usize, TokenLineError> {
        let known = parse(lines)?;
        let count = known.len();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(count)
    }

    /// The client of a token.
    #[must_use]
    pub fn client(&self, token: &str) -> Option<ClientId> {
        let sha256: [u8; 32] = Sha256::digest(token).into();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for token in known.iter() {
            if bool::from(token.sha256.ct_eq(&sha256)) {
                found = Some(&token.client);
            }
        }
        found.cloned()
    }
}

impl<S> FromRequestParts<S> for Client
where
    S: Send + Sync,
    Tokens: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let tokens = Tokens::from_ref(state);
        bearer_token(&parts.headers)
            .and_then(|token| tokens.client(token))
            .map(Self)
            .ok_or_else(ApiError::unauthorized)
    }
}

impl ApiError {
    /// No token, or one that is not known.
    #[must_use]
    pub fn unauthorized() -> Self {
        let detail = "send `Authorization: Bearer <API token>`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A known API token is needed", detail)
            .with_header(header::WWW_AUTHENTICATE, "Bearer")
    }
}

/// Makes a token for a client, adds its hash to the file and returns the token, which nobody can read again.
///
/// # Errors
/// A bad name, a file that holds something else, or the file system.
pub fn create_token(file: &Path, name: &str) -> anyhow::Result<String> {
    let Some(client) = ClientId::parse(name) else {
        anyhow::bail!("a name has 1 to 64 of a-z, 0-9, '-' and '_', this one does not: {name:?}");
    };
    let known = match std::fs::read_to_string(file) {
        Ok(text) => parse(text.lines())?.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    anyhow::ensure!(known < TOKENS_MAX, TokenLineError::TooMany);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let token = format!("tgo_{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let mut out = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(out, "{client} {}", hex::encode(Sha256::digest(&token)))?;
    out.sync_all()?;
    Ok(token)
}

fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<KnownToken>, TokenLineError> {
    let mut known = Vec::new();
    for (index, line) in lines.into_iter().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(' ').ok_or(TokenLineError::Shape(number))?;
        let client = ClientId::parse(name).ok_or(TokenLineError::Name(number))?;
        let mut sha256 = [0; 32];
        hex::decode_to_slice(hash.trim(), &mut sha256).map_err(|_| TokenLineError::Hash(number))?;
        if known.len() == TOKENS_MAX {
            return Err(TokenLineError::TooMany);
        }
        known.push(KnownToken { client, sha256 });
    }
    Ok(known)
}

const TOKENS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_token_opens_as_its_client_and_stands_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("sub/tokens");
        let first = create_token(&file, "demo").unwrap();
        let second = create_token(&file, "other").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&first));

        let tokens = Tokens::default();
        assert_eq!(tokens.replace(text.lines()), Ok(2));
        assert_eq!(tokens.client(&first), ClientId::parse("demo"));
        assert_eq!(tokens.client(&second), ClientId::parse("other"));
        for bad in ["", "tgo_", &first[..first.len() - 1]] {
            assert_eq!(tokens.client(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_line_is_named_and_changes_nothing() {
        let tokens = Tokens::default();
        let good = format!("a {}", "0".repeat(64));
        assert_eq!(tokens.replace(["# comment", "", &good]), Ok(1));
        let short = format!("a {}", "0".repeat(63));
        let upper = format!("A {}", "0".repeat(64));
        for (line, error) in [
            ("alone", TokenLineError::Shape(1)),
            (short.as_str(), TokenLineError::Hash(1)),
            (upper.as_str(), TokenLineError::Name(1)),
        ] {
            assert_eq!(tokens.replace([line]), Err(error), "{line}");
        }
        assert_eq!(tokens.0.read().unwrap().len(), 1);
    }

    #[test]
    fn a_name_that_is_no_id_gets_no_token() {
        let home = tempfile::tempdir().unwrap();
        assert!(create_token(&home.path().join("t"), "two words").is_err());
    }
}
