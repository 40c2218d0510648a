//! The static table (RFC 7541 A): names and values that a line may name by number, from 1.
//!
//! Invariant: a number of [`place`] is an entry of the table with that name.

use http::HeaderName;

use super::{Name, Pseudo};

/// An entry, counted from 1: its name, the name's length, its value.
pub(super) fn entry(index: usize) -> Option<(&'static Name, usize, &'static str)> {
    let (name, value) = TABLE.get(index.checked_sub(1)?)?;
    let length = match name {
        Name::Field(name) => name.as_str().len(),
        Name::Pseudo(Pseudo::Authority) => ":authority".len(),
        Name::Pseudo(Pseudo::Path) => ":path".len(),
        Name::Pseudo(_) | Name::Invalid => ":method".len(),
    };
    Some((name, length, value))
}

/// The number of an entry with the name of a response's field.
pub(super) fn place(name: &str) -> Option<u8> {
    Some(match name {
        "accept-ranges" => 18,
        "access-control-allow-origin" => 20,
        "age" => 21,
        "allow" => 22,
        "cache-control" => 24,
        "content-disposition" => 25,
        "content-encoding" => 26,
        "content-language" => 27,
        "content-location" => 29,
        "content-range" => 30,
        "content-type" => 31,
        "cookie" => 32,
        "date" => 33,
        "etag" => 34,
        "expires" => 36,
        "last-modified" => 44,
        "link" => 45,
        "location" => 46,
        "refresh" => 52,
        "retry-after" => 53,
        "server" => 54,
        "set-cookie" => 55,
        "strict-transport-security" => 56,
        "transfer-encoding" => 57,
        "user-agent" => 58,
        "vary" => 59,
        "via" => 60,
        "www-authenticate" => 61,
        _ => return None,
    })
}

/// The number of a status with its value.
pub(super) fn status_place(status: u16) -> Option<u8> {
    Some(match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => return None,
    })
}

const fn field(name: &'static str) -> Name {
    Name::Field(HeaderName::from_static(name))
}

const AUTHORITY: Name = Name::Pseudo(Pseudo::Authority);
const PATH: Name = Name::Pseudo(Pseudo::Path);
const METHOD: Name = Name::Pseudo(Pseudo::Method);
const SCHEME: Name = Name::Pseudo(Pseudo::Scheme);
const STATUS: Name = Name::Pseudo(Pseudo::Status);

/// Entries of the table; the dynamic one begins behind them.
pub(super) const ENTRIES: usize = 61;
/// The first entry with the name `:status`.
pub(super) const STATUS_NAME: u64 = 8;
/// The entry with the name `content-length`.
pub(super) const CONTENT_LENGTH: u64 = 28;

#[rustfmt::skip]
static TABLE: [(Name, &str); ENTRIES] = [
    (AUTHORITY, ""),
    (METHOD, "GET"),
    (METHOD, "POST"),
    (PATH, "/"),
    (PATH, "/index.html"),
    (SCHEME, "http"),
    (SCHEME, "https"),
    (STATUS, "200"),
    (STATUS, "204"),
    (STATUS, "206"),
    (STATUS, "304"),
    (STATUS, "400"),
    (STATUS, "404"),
    (STATUS, "500"),
    (field("accept-charset"), ""),
    (field("accept-encoding"), "gzip, deflate"),
    (field("accept-language"), ""),
    (field("accept-ranges"), ""),
    (field("accept"), ""),
    (field("access-control-allow-origin"), ""),
    (field("age"), ""),
    (field("allow"), ""),
    (field("authorization"), ""),
    (field("cache-control"), ""),
    (field("content-disposition"), ""),
    (field("content-encoding"), ""),
    (field("content-language"), ""),
    (field("content-length"), ""),
    (field("content-location"), ""),
    (field("content-range"), ""),
    (field("content-type"), ""),
    (field("cookie"), ""),
    (field("date"), ""),
    (field("etag"), ""),
    (field("expect"), ""),
    (field("expires"), ""),
    (field("from"), ""),
    (field("host"), ""),
    (field("if-match"), ""),
    (field("if-modified-since"), ""),
    (field("if-none-match"), ""),
    (field("if-range"), ""),
    (field("if-unmodified-since"), ""),
    (field("last-modified"), ""),
    (field("link"), ""),
    (field("location"), ""),
    (field("max-forwards"), ""),
    (field("proxy-authenticate"), ""),
    (field("proxy-authorization"), ""),
    (field("range"), ""),
    (field("referer"), ""),
    (field("refresh"), ""),
    (field("retry-after"), ""),
    (field("server"), ""),
    (field("set-cookie"), ""),
    (field("strict-transport-security"), ""),
    (field("transfer-encoding"), ""),
    (field("user-agent"), ""),
    (field("vary"), ""),
    (field("via"), ""),
    (field("www-authenticate"), ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_to_entries_of_that_name() {
        let mut found = 0;
        for (index, (name, _)) in TABLE.iter().enumerate() {
            let Name::Field(name) = name else { continue };
            if let Some(place) = place(name.as_str()) {
                assert_eq!(usize::from(place), index + 1, "{name}");
                found += 1;
            }
        }
        assert_eq!(found, 28, "every arm of the match");
        assert_eq!(place("x-unheard-of"), None);
        let length = TABLE[CONTENT_LENGTH as usize - 1].0.clone();
        assert_eq!(length, Name::Field(http::header::CONTENT_LENGTH));
    }

    #[test]
    fn entries_are_where_the_rfc_has_them() {
        for (index, name, value) in [
            (1, ":authority", ""),
            (2, ":method", "GET"),
            (7, ":scheme", "https"),
            (14, ":status", "500"),
            (16, "accept-encoding", "gzip, deflate"),
            (38, "host", ""),
            (61, "www-authenticate", ""),
        ] {
            let (found, length, found_value) = entry(index).unwrap();
            assert_eq!((found_value, length), (value, name.len()), "{name}");
            if let Name::Field(found) = found {
                assert_eq!(found, name);
            }
        }
        assert!(entry(0).is_none() && entry(62).is_none());
        for status in 100..600 {
            let Some(place) = status_place(status) else { continue };
            let (name, _, value) = entry(place.into()).unwrap();
            assert_eq!((name, value), (&STATUS, status.to_string().as_str()));
        }
    }
}
