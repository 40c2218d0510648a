//! Why the rules at the door of a property are refused.
//!
//! A leaf: both the rules and the part about tokens use it. Invariant: no message contains a secret.

/// Why the rules at the door are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// No key, or too many.
    #[error("tokens.keys: 1 to {KEYS_MAX} are needed; there are {0}")]
    Keys(usize),
    /// A key that cannot be used.
    #[error("tokens.keys: {0:?}: {1}")]
    Key(String, &'static str),
    /// A secret that is not base64url.
    #[error("a secret is not base64url")]
    Secret,
    /// A list that needs an entry.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A list with more entries than allowed.
    #[error("{0} has too many entries: {1}")]
    TooMany(&'static str, usize),
    /// Not the beginning of a path.
    #[error("{0:?} is not the beginning of a path")]
    Path(String),
    /// Not a name.
    #[error("{0:?} is not a name of a parameter, cookie, header or method")]
    Name(String),
    /// Not an origin.
    #[error("{0:?} is not an origin such as https://a.org or https://*.a.org")]
    Origin(String),
    /// Cookies for every origin.
    #[error("cors: credentials need a list of origins instead of *")]
    Credentials,
    /// A header that nobody is believed for.
    #[error("geo: header and trusted belong together")]
    Trusted,
    /// A rate of nothing, or out of bounds.
    #[error("rates.{0}: 1 to {RATE_MAX} are needed")]
    Rate(&'static str),
}

/// The most keys of a property.
pub const KEYS_MAX: usize = 16;
/// The most requests a second and at once that a rate can say.
pub const RATE_MAX: u32 = 1_000_000;
