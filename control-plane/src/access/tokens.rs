//! API tokens as records: whose, what for, until when; of the secret the hash alone.
//!
//! A token is looked up on every request, so that one that was revoked is worth nothing at once. Nobody hands on what
//! they do not hold.

use serde::{Deserialize, Serialize};

use super::{
    Access, AccessError, decode, encode,
    scope::{Grant, Scopes, Verb},
};
use crate::{
    store::{Commit, Expect, Key, Record, Records, StoreError},
    token::{Kind, NewToken, Presented},
};

/// An API token as stored under `token/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its public id; stands in the key as well, and there alone in what an older program wrote.
    #[serde(default)]
    pub id: String,
    /// Whose it is, in the words of who made it; tokens of one label are one person's.
    pub label: String,
    /// What it may do; an older program wrote one text with spaces.
    #[serde(default, deserialize_with = "words")]
    pub scopes: Vec<String>,
    /// By which roles it may do more.
    #[serde(default)]
    pub roles: Vec<String>,
    /// SHA-256 of its secret part, in hex.
    pub hash: String,
    /// When it was made.
    pub created_unix_ms: u64,
    /// When it ends; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// The token that made it; absent when it was made on the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// What a new token shall be.
#[derive(Debug, Clone, Default)]
pub struct NewGrant {
    /// Whose it is.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<Grant>,
    /// By which roles it may do more.
    pub roles: Vec<String>,
    /// When it ends.
    pub expires_unix_ms: Option<u64>,
    /// The token that makes it.
    pub created_by: Option<String>,
}

impl TokenRecord {
    /// Who holds it: its label, or its id where it has none.
    #[must_use]
    pub fn person(&self) -> &str {
        if self.label.is_empty() { &self.id } else { &self.label }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self, now_unix_ms: u64) -> bool {
        self.expires_unix_ms.is_some_and(|end| end <= now_unix_ms)
    }

    fn matches(&self, presented: &Presented) -> bool {
        hex::decode(&self.hash).is_ok_and(|hash| presented.matches(&hash))
    }
}

impl NewGrant {
    /// Makes the token on some records: its text, which is shown once, and what is stored.
    ///
    /// # Errors
    /// [`AccessError`]
    pub async fn make(
        self,
        records: &dyn Records,
        now_unix_ms: u64,
    ) -> Result<(String, TokenRecord), AccessError> {
        if self.scopes.is_empty() && self.roles.is_empty() {
            return Err(AccessError::Invalid(
                "a token needs at least one scope or role".to_owned(),
            ));
        }
        if self.scopes.len() > SCOPES_MAX || self.roles.len() > SCOPES_MAX {
            let text = format!("a token has at most {SCOPES_MAX} scopes and as many roles");
            return Err(AccessError::Invalid(text));
        }
        if self.label.len() > LABEL_BYTES_MAX || self.label.chars().any(char::is_control) {
            let text = format!("a label is one line of at most {LABEL_BYTES_MAX} bytes");
            return Err(AccessError::Invalid(text));
        }
        let token = NewToken::make(Kind::Api);
        let record = TokenRecord {
            id: token.id,
            label: self.label,
            scopes: self.scopes.iter().map(ToString::to_string).collect(),
            roles: self.roles,
            hash: hex::encode(token.hash),
            created_unix_ms: now_unix_ms,
            expires_unix_ms: self.expires_unix_ms,
            created_by: self.created_by,
        };
        let key = key(&record.id)?;
        let expect = vec![(key.clone(), Expect::Absent)];
        let puts = vec![(key, encode(&record))];
        records.commit(Commit { expect, puts, deletes: vec![] }).await?;
        Ok((token.text, record))
    }
}

impl Access {
    /// The token behind a text that somebody presents, and what it may do; `None` when it is worth nothing.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn authenticate(
        &self,
        presented: &Presented,
    ) -> Result<Option<(TokenRecord, Scopes)>, AccessError> {
        let Ok(key) = key(&presented.id) else { return Ok(None) };
        let Some(record) = self.records.get(&key).await? else { return Ok(None) };
        let token = read(&record)?;
        if !token.matches(presented) || token.has_ended(self.now()) {
            return Ok(None);
        }
        let scopes = self.scopes_of(&token).await?;
        Ok(Some((token, scopes)))
    }

    /// Whether a token that was shown before may still do something, for calls that last.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn still_allows(&self, id: &str, verb: Verb) -> Result<bool, AccessError> {
        let Ok(key) = key(id) else { return Ok(false) };
        let Some(record) = self.records.get(&key).await? else { return Ok(false) };
        let token = read(&record)?;
        Ok(!token.has_ended(self.now()) && self.scopes_of(&token).await?.allows(verb, ""))
    }

    /// What a token may do, by itself and by its roles. A scope or role that is not known gives nothing.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn scopes_of(&self, token: &TokenRecord) -> Result<Scopes, AccessError> {
        let mut grants: Vec<Grant> =
            token.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        for name in &token.roles {
            grants.extend(self.role(name).await?.into_iter().flat_map(|role| role.scopes));
        }
        Ok(Scopes::of(grants))
    }

    /// Every token.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, AccessError> {
        Ok(list_tokens(self.records.as_ref()).await?)
    }

    /// Makes a token for who holds `held`.
    ///
    /// # Errors
    /// [`AccessError::Forbidden`] when it would hold more than its maker.
    pub async fn make_token(
        &self,
        grant: NewGrant,
        held: &Scopes,
    ) -> Result<(String, TokenRecord), AccessError> {
        let mut given = grant.scopes.clone();
        for name in &grant.roles {
            let role = self.role(name).await?;
            let short = || name.chars().take(64).collect();
            let role = role.ok_or_else(|| AccessError::NotFound { what: "role", id: short() })?;
            given.extend(role.scopes);
        }
        may_hand_on(held, given)?;
        let now = self.now();
        if grant.expires_unix_ms.is_some_and(|end| end <= now) {
            return Err(AccessError::Invalid("the token would have ended already".to_owned()));
        }
        if self.tokens().await?.len() >= self.config.tokens_max {
            let text = format!("there are {} tokens; revoke some", self.config.tokens_max);
            return Err(AccessError::Invalid(text));
        }
        grant.make(self.records.as_ref(), now).await
    }

    /// Makes a token worthless.
    ///
    /// # Errors
    /// [`AccessError::NotFound`]
    pub async fn revoke_token(&self, id: &str) -> Result<(), AccessError> {
        revoke_token(self.records.as_ref(), id).await
    }
}

/// Checks that somebody holds everything that they hand on.
///
/// # Errors
/// [`AccessError::Forbidden`] with the first scope that they do not hold.
pub(super) fn may_hand_on(held: &Scopes, given: Vec<Grant>) -> Result<(), AccessError> {
    let given = Scopes::of(given);
    match held.first_not_covered(&given) {
        Some(grant) => {
            let text = format!("nobody hands on what they do not hold: {grant}");
            Err(AccessError::Forbidden(text))
        }
        None => Ok(()),
    }
}

/// Every token of some records, for who has no [`Access`].
///
/// # Errors
/// [`StoreError`]
pub async fn list_tokens(records: &dyn Records) -> Result<Vec<TokenRecord>, StoreError> {
    let listing = records.list(PREFIX).await?;
    listing.records.iter().map(read).collect()
}

/// Makes a token worthless.
///
/// # Errors
/// [`AccessError::NotFound`]
pub async fn revoke_token(records: &dyn Records, id: &str) -> Result<(), AccessError> {
    let missing = || AccessError::NotFound { what: "token", id: id.chars().take(64).collect() };
    let key = key(id).map_err(|_| missing())?;
    records.get(&key).await?.ok_or_else(missing)?;
    records.commit(Commit { deletes: vec![key], ..Commit::default() }).await?;
    Ok(())
}

fn read(record: &Record) -> Result<TokenRecord, StoreError> {
    let mut token: TokenRecord = decode("token", &record.value)?;
    token.id = record.key.as_str().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    Ok(token)
}

/// A list, or words in one text.
fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::List(list) => list,
        Either::Text(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
    })
}

fn key(id: &str) -> Result<Key, AccessError> {
    Key::parse(&format!("{PREFIX}{id}")).map_err(|error| AccessError::Invalid(error.to_string()))
}

const PREFIX: &str = "token/";
const SCOPES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_program_wrote_is_read() {
        let old = r#"{"label":"ci","scopes":"purge read","hash":"00","created_unix_ms":7}"#;
        let value = bytes::Bytes::from_static(old.as_bytes());
        let record = Record { key: key("abc").expect("good"), value, revision: 1 };
        let token = read(&record).expect("readable");
        assert_eq!((token.id.as_str(), token.scopes), ("abc", vec!["purge".into(), "read".into()]));
        assert!(
            !TokenRecord { expires_unix_ms: None, ..read(&record).expect("good") }
                .has_ended(u64::MAX)
        );
    }
}
