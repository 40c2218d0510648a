//! Hellos that a client should be refused for another reason than rustls names. Pure.
//!
//! Rustls looks for the signature algorithms before it looks at the versions, and says `handshake_failure` without
//! them. Clients that speak TLS 1.1 at most name none, so they would never learn that it is the version: RFC 8446 D and
//! RFC 5246 E.1 want `protocol_version`. One of TLS 1.3 that names none is told of the `missing_extension` (RFC 8446
//! 4.2.3). Invariant: only a hello that is whole and understood is judged here; everything else is the library's.

/// The alert for a hello that lies at the beginning of these bytes, as it goes over the wire; `None` when the library
/// says the right thing, or sees more than we do.
pub(in crate::listener) fn alert(begun: &[u8]) -> Option<[u8; 7]> {
    let description = match judge(begun)? {
        Lack::Version => PROTOCOL_VERSION,
        Lack::SignatureAlgorithms => MISSING_EXTENSION,
    };
    Some([ALERT, 3, 3, 0, 2, FATAL, description])
}

/// What a hello does not offer.
enum Lack {
    Version,
    SignatureAlgorithms,
}

fn judge(begun: &[u8]) -> Option<Lack> {
    let mut rest = begun;
    let [HANDSHAKE, 3, _] = *take(&mut rest, 3)? else { return None };
    let mut rest = with_length(&mut rest, 2)?;
    let [CLIENT_HELLO] = *take(&mut rest, 1)? else { return None };
    let mut hello = with_length(&mut rest, 3)?;
    let highest = number(take(&mut hello, 2)?);
    take(&mut hello, RANDOM_BYTES)?;
    for length_bytes in [1, 2, 1] {
        // The session, the cipher suites, the ways of compression.
        with_length(&mut hello, length_bytes)?;
    }
    let mut versions = None;
    if !hello.is_empty() {
        let mut extensions = with_length(&mut hello, 2)?;
        while !extensions.is_empty() {
            let kind = number(take(&mut extensions, 2)?);
            let mut content = with_length(&mut extensions, 2)?;
            match kind {
                // With a key from before, a hello need not name any (RFC 8446 9.2).
                SIGNATURE_ALGORITHMS | PRE_SHARED_KEY => return None,
                SUPPORTED_VERSIONS => versions = Some(with_length(&mut content, 1)?),
                _ => {}
            }
        }
    }
    let Some(versions) = versions else { return (highest < TLS12).then_some(Lack::Version) };
    let offers = |version| versions.chunks_exact(2).any(|offered| number(offered) == version);
    match (offers(TLS13), offers(TLS12)) {
        (true, _) => Some(Lack::SignatureAlgorithms),
        (false, true) => None,
        (false, false) => Some(Lack::Version),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// What follows a length of so many bytes.
fn with_length<'a>(rest: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = take(rest, length_bytes)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    take(rest, length)
}

fn number(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte))
}

/// Bytes of a client's beginning that are looked at; one without signature algorithms is old, or made by hand, and has
/// fewer.
pub(in crate::listener) const HELLO_BYTES: usize = 1024;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RANDOM_BYTES: usize = 32;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
const ALERT: u8 = 21;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;
const MISSING_EXTENSION: u8 = 109;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(highest: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&highest.to_be_bytes()[..], &[7; RANDOM_BYTES]].concat();
        body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
        if !extensions.is_empty() {
            let mut all = Vec::new();
            for (kind, content) in extensions {
                all.extend(kind.to_be_bytes());
                all.extend((content.len() as u16).to_be_bytes());
                all.extend_from_slice(content);
            }
            body.extend((all.len() as u16).to_be_bytes());
            body.extend(all);
        }
        let length = (body.len() as u32).to_be_bytes();
        let message = [&[CLIENT_HELLO][..], &length[1..], &body].concat();
        let length = (message.len() as u16).to_be_bytes();
        [&[HANDSHAKE, 3, 1][..], &length, &message].concat()
    }

    const ALGORITHMS: (u16, &[u8]) = (SIGNATURE_ALGORITHMS, &[0, 2, 4, 3]);

    #[test]
    fn a_client_learns_what_it_lacks() {
        for (what, hello, expected) in [
            ("SSL 3.0", hello(0x0300, &[]), Some(PROTOCOL_VERSION)),
            ("TLS 1.0", hello(0x0301, &[(0, b"")]), Some(PROTOCOL_VERSION)),
            ("TLS 1.1", hello(0x0302, &[]), Some(PROTOCOL_VERSION)),
            ("TLS 1.2", hello(0x0303, &[]), None),
            ("TLS 1.1 as the library sees it", hello(0x0302, &[ALGORITHMS]), None),
            (
                "TLS 1.3",
                hello(0x0303, &[(SUPPORTED_VERSIONS, &[4, 3, 4, 3, 3])]),
                Some(MISSING_EXTENSION),
            ),
            (
                "TLS 1.3 with a key",
                hello(0x0303, &[(43, &[2, 3, 4]), (PRE_SHARED_KEY, b"x")]),
                None,
            ),
            ("TLS 1.3, all of it", hello(0x0303, &[(43, &[2, 3, 4]), ALGORITHMS]), None),
            ("1.2 by its extension", hello(0x0303, &[(43, &[2, 3, 3])]), None),
            (
                "1.1 by its extension",
                hello(0x0303, &[(43, &[4, 3, 2, 0x1a, 0x1a])]),
                Some(PROTOCOL_VERSION),
            ),
            ("of DTLS", hello(0xfefd, &[]), None),
            ("no TLS", b"GET / HTTP/1.1\r\n\r\n".to_vec(), None),
            ("nothing", vec![], None),
        ] {
            assert_eq!(alert(&hello).map(|alert| alert[6]), expected, "{what}");
        }
    }

    #[test]
    fn what_is_not_whole_is_not_judged() {
        let whole = hello(0x0301, &[(0, b"abc")]);
        for length in 0..whole.len() {
            assert_eq!(alert(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..90),
        ) {
            let mut text = hello(0x0302, &[(SUPPORTED_VERSIONS, &[2, 3, 2]), (0, b"abc")]);
            let at = at.index(text.len());
            text[at] = byte;
            let _ = alert(&text);
            let _ = alert(&noise);
        }
    }
}
