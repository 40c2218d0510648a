//! The static table (RFC 9204 A): names and values that a field line may name by number.
//!
//! Invariant: an index of [`places`] is an entry of the table with that name.

use http::HeaderName;

use super::{Name, Pseudo};

/// An entry of the table.
pub(super) fn entry(index: u64) -> Option<(&'static Name, &'static str)> {
    let (name, value) = TABLE.get(usize::try_from(index).ok()?)?;
    Some((name, value))
}

/// Where a field's name stands in the table; empty when it does not.
pub(super) fn places(name: &str) -> &'static [u8] {
    match name {
        "accept" => &[29, 30],
        "accept-encoding" => &[31],
        "accept-language" => &[72],
        "accept-ranges" => &[32],
        "access-control-allow-credentials" => &[73, 74],
        "access-control-allow-headers" => &[33, 34, 75],
        "access-control-allow-methods" => &[76, 77, 78],
        "access-control-allow-origin" => &[35],
        "access-control-expose-headers" => &[79],
        "access-control-request-headers" => &[80],
        "access-control-request-method" => &[81, 82],
        "age" => &[2],
        "alt-svc" => &[83],
        "authorization" => &[84],
        "cache-control" => &[36, 37, 38, 39, 40, 41],
        "content-disposition" => &[3],
        "content-encoding" => &[42, 43],
        "content-length" => &[4],
        "content-security-policy" => &[85],
        "content-type" => &[44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54],
        "cookie" => &[5],
        "date" => &[6],
        "early-data" => &[86],
        "etag" => &[7],
        "expect-ct" => &[87],
        "forwarded" => &[88],
        "if-modified-since" => &[8],
        "if-none-match" => &[9],
        "if-range" => &[89],
        "last-modified" => &[10],
        "link" => &[11],
        "location" => &[12],
        "origin" => &[90],
        "purpose" => &[91],
        "range" => &[55],
        "referer" => &[13],
        "server" => &[92],
        "set-cookie" => &[14],
        "strict-transport-security" => &[56, 57, 58],
        "timing-allow-origin" => &[93],
        "upgrade-insecure-requests" => &[94],
        "user-agent" => &[95],
        "vary" => &[59, 60],
        "x-content-type-options" => &[61],
        "x-forwarded-for" => &[96],
        "x-frame-options" => &[97, 98],
        "x-xss-protection" => &[62],
        _ => &[],
    }
}

/// Where a status stands in the table with its value.
pub(super) fn status_place(status: u16) -> Option<u8> {
    Some(match status {
        103 => 24,
        200 => 25,
        304 => 26,
        404 => 27,
        503 => 28,
        100 => 63,
        204 => 64,
        206 => 65,
        302 => 66,
        400 => 67,
        403 => 68,
        421 => 69,
        425 => 70,
        500 => 71,
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

/// An entry with the name `:status`, for statuses that have none of their own.
pub(super) const STATUS_NAME: u64 = 24;
/// The entry `content-length: 0`.
pub(super) const CONTENT_LENGTH: u64 = 4;

#[rustfmt::skip]
static TABLE: [(Name, &str); 99] = [
    (AUTHORITY, ""),
    (PATH, "/"),
    (field("age"), "0"),
    (field("content-disposition"), ""),
    (field("content-length"), "0"),
    (field("cookie"), ""),
    (field("date"), ""),
    (field("etag"), ""),
    (field("if-modified-since"), ""),
    (field("if-none-match"), ""),
    (field("last-modified"), ""),
    (field("link"), ""),
    (field("location"), ""),
    (field("referer"), ""),
    (field("set-cookie"), ""),
    (METHOD, "CONNECT"),
    (METHOD, "DELETE"),
    (METHOD, "GET"),
    (METHOD, "HEAD"),
    (METHOD, "OPTIONS"),
    (METHOD, "POST"),
    (METHOD, "PUT"),
    (SCHEME, "http"),
    (SCHEME, "https"),
    (STATUS, "103"),
    (STATUS, "200"),
    (STATUS, "304"),
    (STATUS, "404"),
    (STATUS, "503"),
    (field("accept"), "*/*"),
    (field("accept"), "application/dns-message"),
    (field("accept-encoding"), "gzip, deflate, br"),
    (field("accept-ranges"), "bytes"),
    (field("access-control-allow-headers"), "cache-control"),
    (field("access-control-allow-headers"), "content-type"),
    (field("access-control-allow-origin"), "*"),
    (field("cache-control"), "max-age=0"),
    (field("cache-control"), "max-age=2592000"),
    (field("cache-control"), "max-age=604800"),
    (field("cache-control"), "no-cache"),
    (field("cache-control"), "no-store"),
    (field("cache-control"), "public, max-age=31536000"),
    (field("content-encoding"), "br"),
    (field("content-encoding"), "gzip"),
    (field("content-type"), "application/dns-message"),
    (field("content-type"), "application/javascript"),
    (field("content-type"), "application/json"),
    (field("content-type"), "application/x-www-form-urlencoded"),
    (field("content-type"), "image/gif"),
    (field("content-type"), "image/jpeg"),
    (field("content-type"), "image/png"),
    (field("content-type"), "text/css"),
    (field("content-type"), "text/html; charset=utf-8"),
    (field("content-type"), "text/plain"),
    (field("content-type"), "text/plain;charset=utf-8"),
    (field("range"), "bytes=0-"),
    (field("strict-transport-security"), "max-age=31536000"),
    (field("strict-transport-security"), "max-age=31536000; includesubdomains"),
    (field("strict-transport-security"), "max-age=31536000; includesubdomains; preload"),
    (field("vary"), "accept-encoding"),
    (field("vary"), "origin"),
    (field("x-content-type-options"), "nosniff"),
    (field("x-xss-protection"), "1; mode=block"),
    (STATUS, "100"),
    (STATUS, "204"),
    (STATUS, "206"),
    (STATUS, "302"),
    (STATUS, "400"),
    (STATUS, "403"),
    (STATUS, "421"),
    (STATUS, "425"),
    (STATUS, "500"),
    (field("accept-language"), ""),
    (field("access-control-allow-credentials"), "FALSE"),
    (field("access-control-allow-credentials"), "TRUE"),
    (field("access-control-allow-headers"), "*"),
    (field("access-control-allow-methods"), "get"),
    (field("access-control-allow-methods"), "get, post, options"),
    (field("access-control-allow-methods"), "options"),
    (field("access-control-expose-headers"), "content-length"),
    (field("access-control-request-headers"), "content-type"),
    (field("access-control-request-method"), "get"),
    (field("access-control-request-method"), "post"),
    (field("alt-svc"), "clear"),
    (field("authorization"), ""),
    (field("content-security-policy"), "script-src 'none'; object-src 'none'; base-uri 'none'"),
    (field("early-data"), "1"),
    (field("expect-ct"), ""),
    (field("forwarded"), ""),
    (field("if-range"), ""),
    (field("origin"), ""),
    (field("purpose"), "prefetch"),
    (field("server"), ""),
    (field("timing-allow-origin"), "*"),
    (field("upgrade-insecure-requests"), "1"),
    (field("user-agent"), ""),
    (field("x-forwarded-for"), ""),
    (field("x-frame-options"), "deny"),
    (field("x-frame-options"), "sameorigin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_to_entries_of_that_name_and_every_field_has_its_place() {
        for (index, (name, _)) in TABLE.iter().enumerate() {
            let Name::Field(name) = name else { continue };
            assert!(places(name.as_str()).contains(&(index as u8)), "{name}");
        }
        for name in ["age", "access-control-allow-headers", "x-frame-options", "server"] {
            for place in places(name) {
                assert_eq!(TABLE[*place as usize].0, Name::Field(HeaderName::from_static(name)));
            }
        }
        assert!(places("x-unheard-of").is_empty());
    }

    #[test]
    fn entries_are_where_the_rfc_has_them() {
        for (index, name, value) in [
            (0, ":authority", ""),
            (1, ":path", "/"),
            (17, ":method", "GET"),
            (23, ":scheme", "https"),
            (25, ":status", "200"),
            (29, "accept", "*/*"),
            (52, "content-type", "text/html; charset=utf-8"),
            (71, ":status", "500"),
            (98, "x-frame-options", "sameorigin"),
        ] {
            let (found, found_value) = entry(index).unwrap();
            assert_eq!(found_value, value);
            if let Name::Field(found) = found {
                assert_eq!(found, name);
            }
        }
        assert!(entry(99).is_none());
    }

    #[test]
    fn statuses_are_where_the_rfc_has_them() {
        for status in 100..600 {
            if let Some(place) = status_place(status) {
                let (name, value) = entry(place.into()).unwrap();
                assert_eq!(
                    (name, value),
                    (&Name::Pseudo(Pseudo::Status), status.to_string().as_str())
                );
            }
        }
    }
}
