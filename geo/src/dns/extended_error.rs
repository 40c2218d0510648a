//! Why an answer is an error, for those who look for the fault (RFC 8914). It is said with EDNS alone, and changes no code.
//!
//! What a node knows while nothing new is heard is not said to be stale (3): that is the word of caches for what is past its
//! TTL, which an answer of ours never is, and whoever passes it on would be taken to have served it from there. Invariant: the
//! text is one of ours, and says nothing of who asked or of what.

/// Why an answer is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendedError {
    /// The name is in no zone that is served here.
    NotAuthoritative,
    /// What is asked is not done here: transfers, all that there is, another class.
    NotSupported,
    /// No question can be about the type (RFC 9824 3.5).
    InvalidQueryType,
    /// No PoP serves.
    NoPop,
    /// The answer cannot be signed.
    Unsignable,
    /// More is to be signed than can be at one time.
    Busy,
}

impl ExtendedError {
    /// INFO-CODE.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::NoPop | Self::Unsignable | Self::Busy => OTHER,
            Self::NotAuthoritative => 20,
            Self::NotSupported => 21,
            Self::InvalidQueryType => 30,
        }
    }

    /// EXTRA-TEXT; empty where the code says it all.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NotAuthoritative | Self::NotSupported | Self::InvalidQueryType => "",
            Self::NoPop => "no PoP serves",
            Self::Unsignable => "the answer cannot be signed",
            Self::Busy => "too many signatures are being made",
        }
    }

    /// The data of the option.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.code().to_be_bytes(), self.text().as_bytes()].concat()
    }
}

/// What no code says; a text goes with it.
const OTHER: u16 = 0;
