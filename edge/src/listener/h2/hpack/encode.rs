//! From names and values to field lines.
//!
//! Invariant: no line refers to the dynamic table or changes it, so the bytes mean the same on every connection.

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    integer::{put, put_text},
    static_table::{self, CONTENT_LENGTH, STATUS_NAME},
};

/// Stands in front of the first section of a connection: the table has no bytes. A client that allows less than before
/// must be told so (RFC 7541 4.2), and less than nothing it cannot allow.
pub const FIRST: u8 = 0b0010_0000;

/// Writes a response's `:status`.
pub fn put_status(out: &mut impl BufMut, status: StatusCode) {
    match static_table::status_place(status.as_u16()) {
        Some(place) => put(out, INDEXED, 7, place.into()),
        None => {
            put(out, LITERAL, 4, STATUS_NAME);
            put_text(out, 0, 7, status.as_str().as_bytes(), false);
        }
    }
}

/// Writes a field; with `is_small` in the shortest form, which takes longer.
pub fn put_field(out: &mut impl BufMut, name: &HeaderName, value: &HeaderValue, is_small: bool) {
    let form = if value.is_sensitive() { NEVER_INDEXED } else { LITERAL };
    match static_table::place(name.as_str()) {
        Some(place) => put(out, form, 4, place.into()),
        None => {
            out.put_u8(form);
            put_text(out, 0, 7, name.as_str().as_bytes(), is_small);
        }
    }
    put_text(out, 0, 7, value.as_bytes(), is_small);
}

/// Writes `content-length`.
pub fn put_content_length(out: &mut impl BufMut, length: u64) {
    put(out, LITERAL, 4, CONTENT_LENGTH);
    // Twenty digits hold every u64.
    let (mut digits, mut rest, mut begin) = ([b'0'; 20], length, 19);
    loop {
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
        begin -= 1;
    }
    put_text(out, 0, 7, &digits[begin..], false);
}

/// Writes all fields of a map.
pub fn encode_fields(fields: &HeaderMap, is_small: bool, out: &mut impl BufMut) {
    for (name, value) in fields {
        put_field(out, name, value, is_small);
    }
}

const INDEXED: u8 = 0b1000_0000;
const LITERAL: u8 = 0;
/// Tells whoever forwards the line not to compress it (RFC 7541 7.1.3).
const NEVER_INDEXED: u8 = 0b0001_0000;

#[cfg(test)]
mod tests {
    use http::header::{AGE, CONTENT_TYPE, SET_COOKIE};
    use proptest::prelude::*;

    use super::*;
    use crate::listener::h2::hpack::{Decoder, Name, Value};

    #[test]
    fn fields_take_a_name_of_the_table_where_there_is_one() {
        let custom = HeaderName::from_static("x-a");
        for (name, value, is_small, expected) in [
            (&AGE, "17", false, &b"\x0f\x06\x0217"[..]),
            (&CONTENT_TYPE, "a/b", false, b"\x0f\x10\x03a/b"),
            (&custom, "b", false, b"\x00\x03x-a\x01b"),
            (&custom, "aaaaaaaa", true, b"\x00\x03x-a\x85\x18\xc6\x31\x8c\x63"),
        ] {
            let mut out = Vec::new();
            put_field(&mut out, name, &HeaderValue::from_static(value), is_small);
            assert_eq!(out, expected, "{name} {value}");
        }
        let mut secret = HeaderValue::from_static("x");
        secret.set_sensitive(true);
        let mut out = Vec::new();
        put_field(&mut out, &SET_COOKIE, &secret, false);
        assert_eq!(out[0], 0b0001_1111, "never indexed");
    }

    #[test]
    fn statuses_and_lengths_are_written_whole() {
        let written = |status: u16| {
            let mut out = Vec::new();
            put_status(&mut out, StatusCode::from_u16(status).unwrap());
            out
        };
        assert_eq!(written(200), [0x88]);
        assert_eq!(written(416), b"\x08\x03416");
        for (length, expected) in [
            (0, &b"\x0f\x0d\x010"[..]),
            (7, b"\x0f\x0d\x017"),
            (4096, b"\x0f\x0d\x044096"),
            (u64::MAX, b"\x0f\x0d\x1418446744073709551615"),
        ] {
            let mut out = Vec::new();
            put_content_length(&mut out, length);
            assert_eq!(out, expected);
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            fields in prop::collection::vec(("[a-z][a-z0-9-]{0,20}", "([!-~]([ -~]{0,40}[!-~])?)?"), 0..20),
            is_small: bool,
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in &fields {
                map.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            let mut section = vec![FIRST];
            encode_fields(&map, is_small, &mut section);
            let mut back = HeaderMap::new();
            Decoder::default().decode(&section, |name, value, _| {
                let (Name::Field(name), Value::Field(value)) = (name, value) else { panic!() };
                back.append(name, value);
            }).unwrap();
            prop_assert_eq!(back, map);
        }
    }
}
