//! Which playback tokens open a property: kinds, keys, where they travel, what they must say.
//!
//! Keys come with the snapshot, so that rotating one is a new snapshot. Invariant: a secret is shown neither by `Debug`
//! nor in a configuration that is shown to people ([`crate::property::Property::redacted`]).

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};

use crate::guard_error::GuardError;
pub use crate::guard_error::KEYS_MAX;

/// The most path prefixes, audiences and the like of a property.
pub const LIST_MAX: usize = 64;
/// The shortest secret, in bytes: as long as the hash (RFC 7518 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 256;

/// Which tokens are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenPolicy {
    /// Kinds that are accepted. Default both.
    pub kinds: Vec<TokenKind>,
    /// Keys that tokens may be signed with.
    pub keys: Vec<TokenKey>,
    /// Where a token may stand.
    pub carriers: Carriers,
    /// Beginnings of the paths that need a token. Default `/`: all.
    pub paths: Vec<String>,
    /// Beginnings of paths that need none all the same.
    pub exempt: Vec<String>,
    /// How far clocks of whoever signs may be apart from ours. Default 5s.
    #[serde(with = "humantime_serde")]
    pub clock_skew: Duration,
    /// How long a token may be good from now on; one without expiry is never accepted. Default 7d.
    #[serde(with = "humantime_serde")]
    pub lifetime_max: Duration,
    /// What `iss` must say; absent means anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Names of which `aud` must have one. Empty means that a token for a certain audience is refused.
    pub audience: Vec<String>,
    /// The cookie that is set when a token came in the URL, so that the URLs in a playlist need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionCookie>,
    /// Whether tokens that ask for it (`catr`) are renewed here. Needs the key's secret: HS256 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<RenewalPolicy>,
}

/// A kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Common Access Token, CTA-5007.
    Cat,
    /// JSON Web Token, RFC 7519.
    Jwt,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// What a token's `kid` says; a token without one is tried with every key of its algorithm.
    pub id: String,
    /// The one algorithm that it is for.
    pub algorithm: TokenAlgorithm,
    /// For HS256: 32 to 256 bytes in base64url, as a JWK's `k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<TokenSecret>,
    /// For ES256 and PS256: the public key in PEM (`BEGIN PUBLIC KEY`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// From when on it is good (RFC 3339); absent means always.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<SystemTime>,
    /// Until when it is good; absent means for ever.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<SystemTime>,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PSS with SHA-256.
    PS256,
}

/// A shared secret, or the fingerprint of one that was taken out to be shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenSecret(Known);

#[derive(Clone, PartialEq, Eq)]
enum Known {
    Secret(Vec<u8>),
    Fingerprint(Fingerprint),
}

/// Tells secrets apart without telling them.
type Fingerprint = [u8; FINGERPRINT_BYTES];

/// Where a token may stand in a request. They are tried in the order path, query, header, cookie until one opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Carriers {
    /// A query parameter. Default `cat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A cookie. Default `cta-common-access-token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// A request header; with `authorization` the token stands behind `Bearer`. Default `cta-common-access-token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The first path segment, when it begins with this name and `=`: `/cat=TOKEN/v/1/master.m3u8` asks for
    /// `/v/1/master.m3u8`. Relative URLs in a playlist keep it. Default absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The cookie that takes over from a token in the URL: `HttpOnly`, `Secure`, `SameSite=None`, at most until expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionCookie {
    /// The path that it is sent for. Default `/`.
    pub path: String,
    /// The longest it is kept. Default 6h.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// Whether browsers keep it apart by the site that embeds the player, which lets it work where cookies of third
    /// parties are blocked. Default false.
    pub partitioned: bool,
}

/// How far the edge may renew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalPolicy {
    /// The longest that a renewed token is good, whatever it asks for. Default 1h.
    #[serde(with = "humantime_serde")]
    pub lifetime_max: Duration,
    /// How long after it was first issued (`iat`) a token is renewed at most; one without `iat` is not. Default 24h.
    #[serde(with = "humantime_serde")]
    pub age_max: Duration,
}

impl TokenPolicy {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`GuardError`] found.
    pub fn check(&self) -> Result<(), GuardError> {
        if self.keys.is_empty() || self.keys.len() > KEYS_MAX {
            return Err(GuardError::Keys(self.keys.len()));
        }
        if self.kinds.is_empty() {
            return Err(GuardError::Empty("tokens.kinds"));
        }
        for (n, key) in self.keys.iter().enumerate() {
            key.check()?;
            let twin = |other: &TokenKey| other.id == key.id && other.algorithm == key.algorithm;
            if self.keys[..n].iter().any(twin) {
                return Err(GuardError::Key(key.id.clone(), "there are two of this id"));
            }
        }
        self.carriers.check()?;
        for (name, paths) in [("tokens.paths", &self.paths), ("tokens.exempt", &self.exempt)] {
            if paths.len() > LIST_MAX {
                return Err(GuardError::TooMany(name, paths.len()));
            }
            if let Some(bad) = paths.iter().find(|path| !is_plain_prefix(path)) {
                return Err(GuardError::Path(bad.clone()));
            }
        }
        if self.paths.is_empty() {
            return Err(GuardError::Empty("tokens.paths"));
        }
        if self.audience.len() > LIST_MAX {
            return Err(GuardError::TooMany("tokens.audience", self.audience.len()));
        }
        match &self.session {
            Some(session) if !is_plain_prefix(&session.path) => {
                Err(GuardError::Path(session.path.clone()))
            }
            Some(_) if self.carriers.cookie.is_none() => {
                Err(GuardError::Empty("tokens.carriers.cookie"))
            }
            _ => Ok(()),
        }
    }
}

impl TokenPolicy {
    /// Puts secrets back that were taken out to be shown, from the policy that was shown: those of the same key with
    /// the same fingerprint. What cannot be put back stays redacted, and is refused by [`TokenPolicy::check`].
    pub fn restore_secrets(&mut self, shown: &Self) {
        for key in &mut self.keys {
            let Some(secret) = key.secret.as_mut().filter(|secret| secret.is_redacted()) else {
                continue;
            };
            let is_it = |known: &&TokenKey| known.id == key.id && known.algorithm == key.algorithm;
            let known = shown.keys.iter().find(is_it).and_then(|known| known.secret.as_ref());
            if let Some(known) = known.filter(|known| known.fingerprint() == secret.fingerprint()) {
                *secret = known.clone();
            }
        }
    }
}

impl TokenKey {
    fn check(&self) -> Result<(), GuardError> {
        let bad = |why| Err(GuardError::Key(self.id.clone(), why));
        if self.id.is_empty() || self.id.len() > KEY_ID_BYTES_MAX {
            return bad("its id has no or too many bytes");
        }
        match (self.algorithm, &self.secret, &self.public) {
            (TokenAlgorithm::HS256, Some(secret), None) => {
                if secret.is_redacted() {
                    return bad(
                        "its secret is redacted and is not the stored one: send the secret",
                    );
                }
                if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.bytes().len()) {
                    return bad("HS256 needs a secret of 32 to 256 bytes");
                }
            }
            (TokenAlgorithm::HS256, ..) => return bad("HS256 needs a secret and nothing else"),
            (_, None, Some(public)) => {
                if public.len() > PUBLIC_BYTES_MAX || !public.contains("BEGIN PUBLIC KEY") {
                    return bad("public is not PEM of a public key");
                }
            }
            _ => return bad("it needs a public key and nothing else"),
        }
        if self.not_after.zip(self.not_before).is_some_and(|(after, before)| after <= before) {
            return bad("not_after is not after not_before");
        }
        Ok(())
    }
}

impl TokenSecret {
    /// A secret from random bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Known::Secret(bytes))
    }

    /// The secret itself, for whoever signs or checks; nothing where it was taken out.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Known::Secret(bytes) => bytes,
            Known::Fingerprint(_) => &[],
        }
    }

    /// What stands in for a secret that must not be shown: its fingerprint.
    #[must_use]
    pub fn redacted(&self) -> Self {
        Self(Known::Fingerprint(self.fingerprint()))
    }

    /// Whether the secret was taken out.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        matches!(self.0, Known::Fingerprint(_))
    }

    fn fingerprint(&self) -> Fingerprint {
        match &self.0 {
            Known::Fingerprint(fingerprint) => *fingerprint,
            Known::Secret(bytes) => {
                let whole = blake3::derive_key(FINGERPRINT_CONTEXT, bytes);
                let mut fingerprint = [0; FINGERPRINT_BYTES];
                fingerprint.copy_from_slice(&whole[..FINGERPRINT_BYTES]);
                fingerprint
            }
        }
    }
}

impl Carriers {
    fn check(&self) -> Result<(), GuardError> {
        let all = [&self.query, &self.cookie, &self.header, &self.path];
        if all.iter().all(|carrier| carrier.is_none()) {
            return Err(GuardError::Empty("tokens.carriers"));
        }
        let bad = all.into_iter().flatten().find(|name| !is_name(name));
        bad.map_or(Ok(()), |name| Err(GuardError::Name(name.clone())))
    }
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self {
            kinds: vec![TokenKind::Cat, TokenKind::Jwt],
            keys: Vec::new(),
            carriers: Carriers::default(),
            paths: vec!["/".to_owned()],
            exempt: Vec::new(),
            clock_skew: Duration::from_secs(5),
            lifetime_max: Duration::from_secs(7 * 24 * 3600),
            issuer: None,
            audience: Vec::new(),
            session: None,
            renewal: None,
        }
    }
}

impl Default for Carriers {
    fn default() -> Self {
        let name = || Some("cta-common-access-token".to_owned());
        Self { query: Some("cat".to_owned()), cookie: name(), header: name(), path: None }
    }
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self { path: "/".to_owned(), max_age: Duration::from_secs(6 * 3600), partitioned: false }
    }
}

impl Default for RenewalPolicy {
    fn default() -> Self {
        Self { lifetime_max: Duration::from_secs(3600), age_max: Duration::from_secs(24 * 3600) }
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

impl TryFrom<String> for TokenSecret {
    type Error = GuardError;
    fn try_from(text: String) -> Result<Self, GuardError> {
        let shown = text.strip_prefix(REDACTED_BEGIN).and_then(|rest| rest.strip_suffix(']'));
        if let Some(shown) = shown {
            let is_hex = shown.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !is_hex || shown.len() != 2 * FINGERPRINT_BYTES {
                return Err(GuardError::Secret);
            }
            let number = u64::from_str_radix(shown, 16).map_err(|_| GuardError::Secret)?;
            return Ok(Self(Known::Fingerprint(number.to_be_bytes())));
        }
        let bytes = BASE64URL.decode(&text).map_err(|_| GuardError::Secret)?;
        Ok(Self(Known::Secret(bytes)))
    }
}

impl From<TokenSecret> for String {
    fn from(secret: TokenSecret) -> Self {
        match secret.0 {
            Known::Secret(bytes) => BASE64URL.encode(bytes),
            Known::Fingerprint(shown) => {
                format!("{REDACTED_BEGIN}{:016x}]", u64::from_be_bytes(shown))
            }
        }
    }
}

/// Whether a text begins a path as clients write it, without anything that could be read in two ways.
fn is_plain_prefix(path: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() && !b"%?#;\\\"".contains(&b);
    path.starts_with('/')
        && path.len() <= PATH_BYTES_MAX
        && path.bytes().all(is_plain)
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whether a text can name a parameter, a cookie and a header alike.
fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

/// base64url (RFC 4648 5), with or without padding.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// How a secret is shown: `[redacted 0123456789abcdef]`.
const REDACTED_BEGIN: &str = "[redacted ";
/// Enough to tell the keys of a property apart.
const FINGERPRINT_BYTES: usize = 8;
const FINGERPRINT_CONTEXT: &str = "tidegate 2026 fingerprint of a token secret";
const KEY_ID_BYTES_MAX: usize = 64;
const PUBLIC_BYTES_MAX: usize = 4096;
const PATH_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> TokenKey {
        TokenKey {
            id: id.into(),
            algorithm: TokenAlgorithm::HS256,
            secret: Some(TokenSecret::new(vec![7; 32])),
            public: None,
            not_before: None,
            not_after: None,
        }
    }

    fn policy() -> TokenPolicy {
        TokenPolicy { keys: vec![key("a")], ..TokenPolicy::default() }
    }

    #[test]
    fn a_secret_travels_but_is_not_shown() {
        let json = serde_json::to_string(&policy()).expect("plain");
        assert_eq!(serde_json::from_str::<TokenPolicy>(&json).expect("its own text"), policy());
        assert!(!format!("{:?}", policy()).contains("7, 7"));
        let secret = TokenSecret::new(vec![7; 32]);
        let shown = String::from(secret.redacted());
        assert_eq!(shown.len(), "[redacted ]".len() + 16, "{shown}");
        let read = TokenSecret::try_from(shown.clone()).expect("its own text");
        assert_eq!((read.clone(), read.bytes()), (secret.redacted(), &[][..]));
        assert_eq!(read.redacted(), read);
        for bad in ["[redacted]", "[redacted 1]", "[redacted +123456789abcdef]", "[redacted x]"] {
            assert!(TokenSecret::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_shown_can_be_sent_back_and_nothing_else_fills_a_gap() {
        let stored = TokenPolicy { keys: vec![key("a"), key("b")], ..policy() };
        let mut shown = stored.clone();
        for key in &mut shown.keys {
            key.secret = key.secret.as_ref().map(TokenSecret::redacted);
        }
        assert!(shown.check().is_err(), "no node runs without secrets");
        let mut back = TokenPolicy { issuer: Some("new".into()), ..shown.clone() };
        back.restore_secrets(&stored);
        assert_eq!(back.keys, stored.keys);
        assert_eq!(back.check(), Ok(()));

        let other = TokenSecret::new(vec![8; 32]);
        let renamed = TokenKey { id: "c".into(), ..shown.keys[0].clone() };
        let changed = TokenKey { secret: Some(other.redacted()), ..key("a") };
        for wrong in [renamed, changed] {
            let mut back = TokenPolicy { keys: vec![wrong], ..policy() };
            back.restore_secrets(&stored);
            assert!(matches!(back.check(), Err(GuardError::Key(..))));
        }
        let mut new =
            TokenPolicy { keys: vec![TokenKey { secret: Some(other), ..key("a") }], ..policy() };
        let before = new.clone();
        new.restore_secrets(&stored);
        assert_eq!(new, before, "a secret that was sent is taken");
    }

    #[test]
    fn keys_and_paths_are_checked() {
        assert_eq!(policy().check(), Ok(()));
        let short = TokenKey { secret: Some(TokenSecret::new(vec![7; 31])), ..key("a") };
        let both = TokenKey { public: Some("BEGIN PUBLIC KEY".into()), ..key("a") };
        let es = TokenKey { algorithm: TokenAlgorithm::ES256, ..key("a") };
        for keys in
            [vec![], vec![short], vec![both], vec![es], vec![key("a"), key("a")], vec![key("")]]
        {
            assert!(TokenPolicy { keys, ..policy() }.check().is_err());
        }
        for path in ["", "v/", "/a/../b", "/a%2f", "//a", "/a?b", "/a\\b", "/a b"] {
            let paths = vec![path.to_owned()];
            assert!(TokenPolicy { exempt: paths, ..policy() }.check().is_err(), "{path}");
        }
        let none = Carriers { query: None, cookie: None, header: None, path: None };
        assert!(TokenPolicy { carriers: none, ..policy() }.check().is_err());
        let odd = Carriers { query: Some("a=b".into()), ..Carriers::default() };
        assert!(TokenPolicy { carriers: odd, ..policy() }.check().is_err());
    }
}
