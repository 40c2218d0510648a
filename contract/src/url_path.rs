//! The one spelling of a path, so that equal resources share a cache key and a purge finds them.
//!
//! Percent-encoded octets that need no encoding are decoded, the rest is written in upper case, and dot segments are
//! taken out (RFC 3986 6.2.2). What decoders disagree about stays as it is: `%2F`, `%5C`, `%00`, `\`, empty segments, and
//! every path with a `%` that has no two digits; see [`is_ambiguous`]. Invariant: the normal form of a normal form is itself.

use std::borrow::Cow;

/// The normal form of a path, which begins with `/` and has no query.
#[must_use]
pub fn normal(path: &str) -> Cow<'_, str> {
    let is_normal = !path.contains('%') && !path.contains("/.");
    if is_normal || !path.starts_with('/') {
        return Cow::Borrowed(path);
    }
    let Some(decoded) = decode_unreserved(path) else { return Cow::Borrowed(path) };
    match without_dot_segments(&decoded) {
        Some(short) => Cow::Owned(short),
        None => decoded,
    }
}

/// The normal form of a path with its query; the query stays as it is.
#[must_use]
pub fn normal_with_query(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else { return normal(target) };
    match normal(path) {
        Cow::Borrowed(_) => Cow::Borrowed(target),
        Cow::Owned(path) => Cow::Owned(format!("{path}?{query}")),
    }
}

/// Whether a decoder could find a dot segment or an end of text in a normal path that the normal form leaves alone:
/// `/a/..%2Fb`, `/a/..\b`, `/a%00`, `/a/../%`. Where a path decides who may have something, such a path is refused.
#[must_use]
pub fn is_ambiguous(path: &str) -> bool {
    let mut text = path.to_ascii_uppercase().replace("%2E", ".");
    for separator in ["%2F", "%5C", "\\"] {
        text = text.replace(separator, "/");
    }
    text.contains("%00") || text.split('/').any(is_dots)
}

/// Decodes what needs no encoding and writes other digits in upper case; `None` when an octet is malformed, because a
/// decoder that passes over it may find another octet behind it.
fn decode_unreserved(path: &str) -> Option<Cow<'_, str>> {
    let Some(first) = path.find('%') else { return Some(Cow::Borrowed(path)) };
    let mut out = String::with_capacity(path.len());
    out.push_str(&path[..first]);
    let mut rest = &path[first..];
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let octet = octet(rest.as_bytes())?;
        if is_unreserved(octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&rest[..3].to_ascii_uppercase());
        }
        rest = &rest[3..];
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// RFC 3986 5.2.4; `None` when there is no dot segment.
fn without_dot_segments(path: &str) -> Option<String> {
    if !path.split('/').any(is_dots) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            ".." => {
                kept.pop();
            }
            "." => {}
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push(""); // a dot segment at the end leaves its slash
        }
    }
    Some(format!("/{}", kept.join("/")))
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

/// The octet that `%` and two digits at the beginning stand for.
fn octet(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_resources_have_one_spelling() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b.m4s", "/a/b.m4s"),
            ("/%7Euser/%61", "/~user/a"),
            ("/a%2fb", "/a%2Fb"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a//b/../c", "/a//c"),
            ("/.hidden/..b/...", "/.hidden/..b/..."),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("*", "*"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
        assert_eq!(normal_with_query("/a/../b?x=/../%7e"), "/b?x=/../%7e");
        assert_eq!(normal_with_query("/a?%7e"), "/a?%7e");
    }

    #[test]
    fn what_decoders_disagree_about_stays_and_can_be_told() {
        for path in ["/a/..%2Fb", "/a/..%5Cb", "/a/..\\b", "/a%00", "/..%2F", "/../%", "/%2e./%x"] {
            assert_eq!(normal(path), path);
            assert!(is_ambiguous(path), "{path}");
        }
        for path in ["/a%", "/a%2", "/a%zz", "/a%25252e", "/a//b"] {
            assert_eq!(normal(path), path);
            assert!(!is_ambiguous(path), "{path}");
        }
        assert!(!is_ambiguous("/a%2Fb.m4s"), "an encoded slash alone hides nothing");
    }

    #[test]
    fn no_octet_is_decoded_twice() {
        assert_eq!(normal("/%252e%252e/a"), "/%252e%252e/a");
        assert_eq!(normal("/%25%32%65"), "/%252e");
        assert_eq!(normal("/%%32e"), "/%%32e");
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_as_it_is(path in "/[a-c./%25eEfF\\\\]{0,24}") {
            let once = normal(&path).into_owned();
            prop_assert_eq!(normal(&once), once.as_str());
            prop_assert!(once.starts_with('/'));
            prop_assert!(is_ambiguous(&once) || !once.split('/').any(is_dots));
        }

        #[test]
        fn any_text_has_a_normal_form(path in "\\PC{0,24}") {
            let once = normal(&path).into_owned();
            prop_assert_eq!(normal(&once), once.as_str());
        }
    }
}
