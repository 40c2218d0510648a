//! Hosts and targets that every reader reads alike (RFC 9110 4.2 and 7.2, RFC 3986 3.2 and 3.3). Pure.
//!
//! Stricter than the grammar where readers are known to differ: no user information, no percent-encoding in a host, no
//! backslash in a path. Invariant: what passes is ASCII without blanks and control characters.

use http::{Method, uri::PathAndQuery};

use super::refusal::Refusal;

/// Checks a host with an optional port.
///
/// # Errors
/// [`Refusal::Malformed`] with the rule that it breaks.
pub(super) fn check(authority: &[u8]) -> Result<(), Refusal> {
    if authority.is_empty() {
        return Err(Refusal::Malformed("empty host"));
    }
    if authority.len() > AUTHORITY_BYTES_MAX {
        return Err(Refusal::Malformed("host too long"));
    }
    let rest = if authority[0] == b'[' {
        let Some(end) = authority.iter().position(|byte| *byte == b']') else {
            return Err(Refusal::Malformed("host is no authority"));
        };
        let address = std::str::from_utf8(&authority[1..end]).unwrap_or_default();
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(Refusal::Malformed("host is no authority"));
        }
        &authority[end + 1..]
    } else {
        let end = authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len());
        let name = &authority[..end];
        if name.contains(&b'@') {
            return Err(Refusal::Malformed("user information in the host"));
        }
        if name.is_empty() || !name.iter().all(|byte| is_host(*byte)) {
            return Err(Refusal::Malformed("host is no authority"));
        }
        &authority[end..]
    };
    check_port(rest)
}

/// Whether two names of a host are the same; `Host` and the target's authority must be.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether a target may be asked for: an absolute path with an optional query, or `*` for OPTIONS.
///
/// # Errors
/// [`Refusal::Malformed`] with the rule that it breaks.
pub(super) fn check_target(method: &Method, target: &[u8]) -> Result<(), Refusal> {
    if target == b"*" {
        return if method == Method::OPTIONS {
            Ok(())
        } else {
            Err(Refusal::Malformed("* is a target of OPTIONS alone"))
        };
    }
    if target.first() != Some(&b'/') {
        return Err(Refusal::Malformed("the target is not an absolute path"));
    }
    let mut is_path = true;
    for byte in target {
        match byte {
            b'?' => is_path = false,
            b'#' => return Err(Refusal::Malformed("fragment in the target")),
            b'\\' | b'"' | b'<' | b'>' if is_path => {
                return Err(Refusal::Malformed("character that no path may have"));
            }
            0..=b' ' | 0x7f..=0xff => {
                return Err(Refusal::Malformed("blank, control or non-ASCII in the target"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A checked target as the type that the app sees.
///
/// # Errors
/// As [`check_target`]; also for characters that the `http` crate does not take.
pub(super) fn target(method: &Method, text: bytes::Bytes) -> Result<PathAndQuery, Refusal> {
    check_target(method, &text)?;
    PathAndQuery::from_maybe_shared(text)
        .map_err(|_| Refusal::Malformed("character that no target may have"))
}

/// Letters, digits and the marks that are seen in names; everything else is percent-encoding, delimiters, or an attack.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn check_port(rest: &[u8]) -> Result<(), Refusal> {
    let Some((colon, port)) = rest.split_first() else { return Ok(()) };
    let is_number = !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(port).unwrap_or_default().parse::<u16>();
    if *colon != b':' || !is_number || number.is_err() {
        return Err(Refusal::Malformed("port is no number"));
    }
    Ok(())
}

/// A name has at most 255 bytes (RFC 1035 2.3.4), a port 5, an address less.
const AUTHORITY_BYTES_MAX: usize = 262;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for good in [
            "a",
            "a.test",
            "A-b_c.test:80",
            "1.2.3.4:65535",
            "[::1]",
            "[2001:db8::1]:443",
            "a.test:0080",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:99999",
            "a:+80",
            "a:80:80",
            "u@a",
            "u:p@a",
            "a b",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "a%20",
            "[::1",
            "[::1]x",
            "[::g]",
            "::1",
            "[]",
            "a\\b",
            "a\tb",
            "ä",
            "a:8\u{b2}",
            "[1.2.3.4]",
            "a;b",
            "a=b",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check("a".repeat(300).as_bytes()).is_err());
    }

    #[test]
    fn targets_are_paths_or_the_star_of_options() {
        let get = |text: &str| check_target(&Method::GET, text.as_bytes());
        for good in
            ["/", "//", "/a/../b", "/%2e", "/a?b=c?d", "/a?<\">\\", "/:@!$&'()*+,;=~|{}^`[]", "/?"]
        {
            assert_eq!(get(good), Ok(()), "{good}");
        }
        for bad in [
            "", "a", "*", "?a", "/a#b", "/a?b#c", "/ä", "/a\\b", "/<", "/a\x7f", "/a b", "/a\tb",
            "/a?b c", "\\a",
        ] {
            assert!(get(bad).is_err(), "{bad}");
        }
        assert_eq!(check_target(&Method::OPTIONS, b"*"), Ok(()));
        assert!(check_target(&Method::OPTIONS, b"**").is_err());
    }
}
