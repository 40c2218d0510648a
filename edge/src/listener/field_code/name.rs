//! The names that a field section of a message may use.
//!
//! Invariant: a [`Name::Field`] is a token in small letters.

use http::HeaderName;

/// The name of a field line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A pseudo-header.
    Pseudo(Pseudo),
    /// A field.
    Field(HeaderName),
    /// No name that a message may contain: empty, with capitals, or with bytes that no name has.
    Invalid,
}

/// The pseudo-headers of RFC 9113 8.3 and RFC 9114 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pseudo {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:status`, which no request has.
    Status,
    /// A name that begins with a colon and is none of these.
    Unknown,
}

/// The name that stands in a section as these bytes.
pub(in crate::listener) fn name_of(name: &[u8]) -> Name {
    match name {
        [b':', rest @ ..] => Name::Pseudo(match rest {
            b"method" => Pseudo::Method,
            b"scheme" => Pseudo::Scheme,
            b"authority" => Pseudo::Authority,
            b"path" => Pseudo::Path,
            b"status" => Pseudo::Status,
            _ => Pseudo::Unknown,
        }),
        // `HeaderName` would make them small.
        _ if name.iter().any(u8::is_ascii_uppercase) => Name::Invalid,
        _ => HeaderName::from_bytes(name).map_or(Name::Invalid, Name::Field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_message_has_are_told_apart() {
        for (name, expected) in [
            (&b"X-Up"[..], Name::Invalid),
            (b"", Name::Invalid),
            (b"a b", Name::Invalid),
            (b"a\n", Name::Invalid),
            (b":foo", Name::Pseudo(Pseudo::Unknown)),
            (b":", Name::Pseudo(Pseudo::Unknown)),
            (b":path", Name::Pseudo(Pseudo::Path)),
            (b"x-up", Name::Field(HeaderName::from_static("x-up"))),
        ] {
            assert_eq!(name_of(name), expected, "{name:?}");
        }
    }
}
