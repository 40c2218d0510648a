//! A request's header section.
//!
//! Every line but the first two is a literal without indexing: nothing has to be remembered of a connection, and what was
//! asked last is not kept at the server. Invariant: what is sensitive is marked so that no proxy on the way indexes it.

use http::{HeaderMap, HeaderValue};

use tidegate_contract::field_code::integer::{put, put_text};

use super::statics;

/// Appends the section of a GET.
pub(in super::super) fn encode(
    out: &mut Vec<u8>,
    is_tls: bool,
    authority: &str,
    target: &str,
    headers: &HeaderMap,
) {
    out.extend_from_slice(&[GET, if is_tls { HTTPS } else { HTTP }]);
    line(out, LITERAL, AUTHORITY, authority.as_bytes());
    line(out, LITERAL, PATH, target.as_bytes());
    for (name, value) in headers {
        let kind = if HeaderValue::is_sensitive(value) { NEVER_INDEXED } else { LITERAL };
        let name = name.as_str();
        match statics::place_of(name) {
            Some(place) => line(out, kind, place, value.as_bytes()),
            None => {
                out.push(kind);
                put_text(out, 0, 7, name.as_bytes(), false);
                put_text(out, 0, 7, value.as_bytes(), false);
            }
        }
    }
}

fn line(out: &mut Vec<u8>, kind: u8, name: usize, value: &[u8]) {
    put(out, kind, 4, name as u64);
    put_text(out, 0, 7, value, false);
}

/// Entries of the static table, with the value and by the name alone.
const GET: u8 = 0x80 | 2;
const HTTP: u8 = 0x80 | 6;
const HTTPS: u8 = 0x80 | 7;
const AUTHORITY: usize = 1;
const PATH: usize = 4;
const LITERAL: u8 = 0;
const NEVER_INDEXED: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::{super::Decoder, *};

    #[test]
    fn a_request_reads_back() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static("rig"));
        headers.insert("cmcd-request", HeaderValue::from_static("bl=1000"));
        let mut secret = HeaderValue::from_static("B secret");
        secret.set_sensitive(true);
        headers.insert("authorization", secret);
        let mut out = Vec::new();
        let target = "/v/".to_owned() + &"x".repeat(300);
        encode(&mut out, true, "a.example:8443", &target, &headers);
        let mut lines = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut decoder = Decoder::default();
        decoder.decode(&out, &mut |name, value| lines.push((text(name), text(value)))).unwrap();
        let expected = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.example:8443"),
            (":path", &target),
            ("user-agent", "rig"),
            ("cmcd-request", "bl=1000"),
            ("authorization", "B secret"),
        ];
        assert_eq!(lines.len(), expected.len());
        for line in expected {
            assert!(lines.contains(&(line.0.to_owned(), line.1.to_owned())), "{line:?}: {lines:?}");
        }
        // Never indexed, by the name at place 23.
        assert!(out.windows(2).any(|two| two == [0x1f, 23 - 15]));
    }
}
