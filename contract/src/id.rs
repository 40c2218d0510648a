//! Checked identifiers and the generation number.
//!
//! An id is 1 to 64 bytes of `a-z`, `0-9`, `-` and `_`, beginning with a letter or a digit, so that it can stand
//! in a path, a header, a file name, a metric label and a certificate without quoting.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest id, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, or longer than [`ID_BYTES_MAX`].
    #[error("an id has 1 to {ID_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
    /// A byte outside of `a-z0-9_-`, or a first byte that is neither letter nor digit.
    #[error("an id is made of a-z, 0-9, '-' and '_' and begins with a letter or digit: {0:?}")]
    Syntax(String),
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > ID_BYTES_MAX {
        return Err(IdError::Length(text.len()));
    }
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first_is_plain = text.bytes().next().is_some_and(is_plain);
    if first_is_plain && text.bytes().all(|b| is_plain(b) || b == b'-' || b == b'_') {
        Ok(())
    } else {
        Err(IdError::Syntax(text.chars().take(ID_BYTES_MAX).collect()))
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the syntax of an id.
            ///
            /// # Errors
            /// [`IdError`] says what is wrong with the text.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// One PoP: a site with a place, announced prefixes and nodes.
    PopId;
    /// One edge process in a PoP.
    NodeId;
    /// One property: a customer configuration.
    PropertyId;
    /// One video: what a person uploaded. Several videos may share one media.
    VideoId;
    /// The transcoded media of one distinct upload content.
    MediaId;
    /// One upload in progress.
    UploadId;
    /// One durable job.
    JobId;
    /// One purge, as the control plane accepted it.
    PurgeId;
    /// A stream of the purge log; its offsets grow by one.
    StreamId;
    /// A rendition of a ladder: `360p`, `1080p`, `hevc-720p`, `audio`.
    RenditionId;
    /// Prefixes that the same PoPs announce, as one thing to steer.
    AnycastGroupId;
    /// One announced prefix: a slice of the load of its group.
    PrefixId;
    /// One BGP neighbour of a PoP, as the PoP's speaker calls it.
    PeerId;
}

/// A number that only grows; assigned by the control plane, never by a clock.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_lower_case_and_plain() {
        for good in ["a", "0", "pop-1", "018f_x", &"x".repeat(64)] {
            assert!(PopId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a.b", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert!(PopId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_id_does_not_deserialize() {
        assert!(serde_json::from_str::<VideoId>("\"../etc\"").is_err());
        assert!(serde_json::from_str::<VideoId>("\"abc\"").is_ok());
    }
}
