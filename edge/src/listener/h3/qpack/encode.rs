//! From names and values to field lines.
//!
//! Invariant: no line refers to a dynamic table, so the bytes mean the same on every connection.

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    integer::{put, put_text},
    static_table::{self, CONTENT_LENGTH, STATUS_NAME},
};

/// Writes a response's `:status`.
pub fn put_status(out: &mut impl BufMut, status: StatusCode) {
    match static_table::status_place(status.as_u16()) {
        Some(place) => put(out, INDEXED_STATIC, 6, place.into()),
        None => {
            put(out, NAMED_STATIC, 4, STATUS_NAME);
            put_text(out, 0, 7, status.as_str().as_bytes(), false);
        }
    }
}

/// Writes a field; with `is_small` in the shortest form, which takes longer.
pub fn put_field(out: &mut impl BufMut, name: &HeaderName, value: &HeaderValue, is_small: bool) {
    let places = static_table::places(name.as_str());
    let has_value = |place: &&u8| {
        let entry = static_table::entry(u64::from(**place));
        entry.is_some_and(|(_, known)| known.as_bytes() == value.as_bytes())
    };
    let secret = if value.is_sensitive() { NEVER_INDEXED } else { 0 };
    match (places.first(), places.iter().find(has_value)) {
        (_, Some(&place)) => return put(out, INDEXED_STATIC, 6, place.into()),
        (Some(&first), None) => put(out, NAMED_STATIC | secret << 1, 4, first.into()),
        (None, None) => {
            put_text(out, LITERAL | secret, 3, name.as_str().as_bytes(), is_small);
        }
    }
    put_text(out, 0, 7, value.as_bytes(), is_small);
}

/// Writes `content-length`.
pub fn put_content_length(out: &mut impl BufMut, length: u64) {
    if length == 0 {
        return put(out, INDEXED_STATIC, 6, CONTENT_LENGTH);
    }
    put(out, NAMED_STATIC, 4, CONTENT_LENGTH);
    // Twenty digits hold every u64.
    let (mut digits, mut rest, mut begin) = ([0; 20], length, 20);
    while rest > 0 {
        begin -= 1;
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    put_text(out, 0, 7, &digits[begin..], false);
}

/// Writes all fields of a map.
pub fn encode_fields(fields: &HeaderMap, is_small: bool, out: &mut impl BufMut) {
    for (name, value) in fields {
        put_field(out, name, value, is_small);
    }
}

const INDEXED_STATIC: u8 = 0b1100_0000;
const NAMED_STATIC: u8 = 0b0101_0000;
const LITERAL: u8 = 0b0010_0000;
/// Tells whoever forwards the line not to compress it (RFC 9204 7.1.3); one bit higher with a named line.
const NEVER_INDEXED: u8 = 0b0001_0000;

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, AGE, AUTHORIZATION, CONTENT_TYPE};

    use super::*;

    #[test]
    fn fields_take_the_shortest_line_there_is() {
        let custom = HeaderName::from_static("x-a");
        for (name, value, is_small, expected) in [
            (&AGE, "0", false, &b"\xc2"[..]),
            (&AGE, "17", false, b"\x52\x0217"),
            (&ACCEPT, "*/*", false, b"\xdd"),
            (&CONTENT_TYPE, "text/plain", false, b"\xf5"),
            (&custom, "b", false, b"\x23x-a\x01b"),
            (&custom, "aaaaaaaa", true, b"\x2b\xf2\xb1\x87\x85\x18\xc6\x31\x8c\x63"),
        ] {
            let mut out = Vec::new();
            put_field(&mut out, name, &HeaderValue::from_static(value), is_small);
            if !is_small {
                assert_eq!(out, expected, "{name} {value}");
            } else {
                assert!(out.len() < 2 + 3 + value.len(), "{out:02x?}");
            }
        }
        let mut secret = HeaderValue::from_static("x");
        secret.set_sensitive(true);
        let mut out = Vec::new();
        put_field(&mut out, &AUTHORIZATION, &secret, false);
        assert_eq!(out[0] & 0b0010_0000, 0b0010_0000, "never indexed");
    }

    #[test]
    fn statuses_and_lengths_are_written_whole() {
        let written = |status: u16| {
            let mut out = Vec::new();
            put_status(&mut out, StatusCode::from_u16(status).unwrap());
            out
        };
        assert_eq!(written(200), [0xd9]);
        assert_eq!(written(304), [0xda]);
        assert_eq!(written(416), b"\x5f\x09\x03416");
        for (length, expected) in
            [(0, &b"\xc4"[..]), (7, b"\x54\x017"), (u64::MAX, b"\x54\x1418446744073709551615")]
        {
            let mut out = Vec::new();
            put_content_length(&mut out, length);
            assert_eq!(out, expected);
        }
    }
}
