//! A path that every server reads alike.
//!
//! Rules about paths ("this needs a token", "this token opens that") are only worth something when the server behind
//! sees the same path. Invariant: a path with anything that one server resolves and another does not (dot segments,
//! encoded slashes, doubly encoded bytes, backslashes) is not plain, and whoever asks about it gets the strict answer.

use std::borrow::Cow;

/// The path decoded once and with runs of slashes as one; `None` when it is not plain.
#[must_use]
pub fn plain(path: &str) -> Option<Cow<'_, str>> {
    let is_odd = |b: u8| matches!(b, b'%' | b'\\' | b';') || !b.is_ascii_graphic();
    if !path.starts_with('/') {
        return None;
    }
    if !path.bytes().any(is_odd) && !path.contains("//") && !path.contains("/.") {
        return Some(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let segments = || decoded.split('/').filter(|segment| !segment.is_empty());
    // `..;x` is a dot segment for servers that know path parameters.
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if decoded.contains(['\\', '%']) || segments().any(is_dots) {
        return None;
    }
    let mut plain = String::with_capacity(decoded.len());
    for segment in segments() {
        plain.push('/');
        plain.push_str(segment);
    }
    if plain.is_empty() || decoded.ends_with('/') {
        plain.push('/');
    }
    Some(Cow::Owned(plain))
}

/// Percent-decodes a text once. `None` for a broken escape, an escaped slash, a control byte, or what is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = (digit()? * 16 + digit()?) as u8;
            if value == b'/' {
                return None;
            }
            value
        } else {
            byte
        };
        if byte.is_ascii_control() {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_are_what_every_server_reads() {
        for (path, expected) in [
            ("/", Some("/")),
            ("/v/a.m3u8", Some("/v/a.m3u8")),
            ("/v/a%20b", Some("/v/a b")),
            ("/%76/a", Some("/v/a")),
            ("//v///a", Some("/v/a")),
            ("//", Some("/")),
            ("/v/", Some("/v/")),
            ("/v/a;b", Some("/v/a;b")),
            ("/v/...", Some("/v/...")),
            ("/.well-known/x", Some("/.well-known/x")),
            ("/v/../a", None),
            ("/v/%2e%2E/a", None),
            ("/v/.%2e", None),
            ("/v/..;x/a", None),
            ("/v/..%2fa", None),
            ("/v/a%2Fb", None),
            ("/v\\a", None),
            ("/v/%5c", None),
            ("/%252e%252e/a", None),
            ("/%2", None),
            ("/%00", None),
            ("/%ff", None),
            ("v", None),
            ("", None),
        ] {
            assert_eq!(plain(path).as_deref(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_stays_as_it_is(path in "[/a.%25;2eF\\\\]{0,24}") {
            if let Some(once) = plain(&path) {
                prop_assert!(!once.contains("//"));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
                let twice = plain(&once);
                prop_assert_eq!(twice.as_deref(), Some(&*once));
            }
        }
    }
}
