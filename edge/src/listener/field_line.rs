//! The names and values that a field line of HTTP/2 and HTTP/3 may have.
//!
//! Invariant: a [`Name::Field`] is a token in small letters, and a [`Value::Field`] neither begins nor ends with a blank.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

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

/// The value of a field line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a pseudo-header, as it came.
    Pseudo(Bytes),
    /// Of a field.
    Field(HeaderValue),
    /// None that a message may contain.
    Malformed,
}

impl Value {
    /// The value that stands behind a name as these bytes.
    pub(in crate::listener) fn of(name: &Name, value: Bytes) -> Self {
        match name {
            Name::Pseudo(Pseudo::Unknown) | Name::Invalid => Self::Malformed,
            Name::Pseudo(_) => Self::Pseudo(value),
            Name::Field(_) => {
                let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
                // RFC 9113 8.2.1, RFC 9114 4.2.
                if is_blank(value.first()) || is_blank(value.last()) {
                    return Self::Malformed;
                }
                HeaderValue::from_maybe_shared(value).map_or(Self::Malformed, Self::Field)
            }
        }
    }
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
        _ => HeaderName::from_bytes(name)
            .ok()
            .filter(|name| !is_framing_in_disguise(name.as_str()))
            .map_or(Name::Invalid, Name::Field),
    }
}

/// The header that programs take this one for when they get headers as variables: `Content_Length` becomes
/// `HTTP_CONTENT_LENGTH`, as `Content-Length` does. `None` for the many names that are what they look like.
pub(crate) fn as_variable(name: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.bytes().all(is_plain) {
        return None;
    }
    Some(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect())
}

/// Whether such a program would take this header for one that says where a message ends.
pub(in crate::listener) fn is_framing_in_disguise(name: &str) -> bool {
    as_variable(name).is_some_and(|name| matches!(&*name, "content-length" | "transfer-encoding"))
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
            (b"content_length", Name::Invalid),
            (b"transfer.encoding", Name::Invalid),
            (b"x_up", Name::Field(HeaderName::from_static("x_up"))),
            (b"x-up", Name::Field(HeaderName::from_static("x-up"))),
        ] {
            assert_eq!(name_of(name), expected, "{name:?}");
        }
    }
}
