//! Hellos that a client should be refused for another reason than rustls names. Pure.
//!
//! Rustls looks for the signature algorithms before it looks at the versions, and says `handshake_failure` without
//! them. Clients that speak TLS 1.1 at most name none, so they would never learn that it is the version: RFC 8446 D and
//! RFC 5246 E.1 want `protocol_version`. One of TLS 1.3 that leaves out what it must say is told of the
//! `missing_extension` (RFC 8446 9.2). SSL 3.0 is refused whatever comes with it (RFC 8446 D.5). Invariant: only a hello
//! that is whole and understood is judged here; everything else is the library's.

/// The alert for a hello that lies at the beginning of these bytes, as it goes over the wire; `None` when the library
/// says the right thing, or sees more than we do.
pub(in crate::listener) fn alert(begun: &[u8]) -> Option<[u8; 7]> {
    let description = match judge(begun)? {
        Lack::Version => PROTOCOL_VERSION,
        Lack::Extension => MISSING_EXTENSION,
    };
    Some([ALERT, 3, 3, 0, 2, FATAL, description])
}

/// What a hello does not offer.
enum Lack {
    Version,
    Extension,
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
    let said = if hello.is_empty() { Said::default() } else { Said::read(&mut hello)? };
    if highest <= SSL3 {
        return Some(Lack::Version);
    }
    let Some(versions) = said.versions else {
        // With algorithms the library gets as far as the version.
        return (highest < TLS12 && !said.has_algorithms).then_some(Lack::Version);
    };
    let offers = |version| versions.chunks_exact(2).any(|offered| number(offered) == version);
    if offers(TLS13) {
        // With a key from before, the rest need not be there.
        let is_whole = said.has_groups == said.has_shares
            && (said.has_key || said.has_algorithms && said.has_groups);
        return (!is_whole).then_some(Lack::Extension);
    }
    (!offers(TLS12)).then_some(Lack::Version)
}

/// What stands in the extensions.
#[derive(Default)]
struct Said<'a> {
    versions: Option<&'a [u8]>,
    has_algorithms: bool,
    has_groups: bool,
    has_shares: bool,
    has_key: bool,
}

impl<'a> Said<'a> {
    fn read(hello: &mut &'a [u8]) -> Option<Self> {
        let mut said = Self::default();
        let mut extensions = with_length(hello, 2)?;
        while !extensions.is_empty() {
            let kind = number(take(&mut extensions, 2)?);
            let mut content = with_length(&mut extensions, 2)?;
            match kind {
                SUPPORTED_GROUPS => said.has_groups = true,
                SIGNATURE_ALGORITHMS => said.has_algorithms = true,
                PRE_SHARED_KEY => said.has_key = true,
                SUPPORTED_VERSIONS => said.versions = Some(with_length(&mut content, 1)?),
                KEY_SHARE => said.has_shares = true,
                _ => {}
            }
        }
        Some(said)
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

/// Bytes of a client's beginning that are looked at; one that leaves something out is old, or made by hand, and has
/// fewer.
pub(in crate::listener) const HELLO_BYTES: usize = 1024;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RANDOM_BYTES: usize = 32;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const SSL3: u16 = 0x0300;
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
    const GROUPS: (u16, &[u8]) = (SUPPORTED_GROUPS, &[0, 2, 0, 29]);
    const SHARES: (u16, &[u8]) = (KEY_SHARE, &[0, 0]);
    const KEY: (u16, &[u8]) = (PRE_SHARED_KEY, b"x");
    const V13: (u16, &[u8]) = (SUPPORTED_VERSIONS, &[4, 3, 4, 3, 3]);

    #[test]
    fn a_client_of_an_old_version_learns_that_it_is_the_version() {
        for (what, hello, is_told) in [
            ("SSL 2.0 with all of 1.3", hello(0x0002, &[V13, ALGORITHMS, GROUPS, SHARES]), true),
            ("SSL 3.0 with all of 1.3", hello(0x0300, &[V13, ALGORITHMS, GROUPS, SHARES]), true),
            ("SSL 3.0", hello(0x0300, &[]), true),
            ("TLS 1.0", hello(0x0301, &[(0, b"")]), true),
            ("TLS 1.1", hello(0x0302, &[]), true),
            ("TLS 1.1 as the library sees it", hello(0x0302, &[ALGORITHMS]), false),
            ("TLS 1.2", hello(0x0303, &[]), false),
            ("what is to come", hello(0x0305, &[]), false),
            ("1.2 by its extension", hello(0x0303, &[(SUPPORTED_VERSIONS, &[2, 3, 3])]), false),
            ("1.1 and grease", hello(0x0303, &[(43, &[4, 3, 2, 0x1a, 0x1a]), ALGORITHMS]), true),
            ("none", hello(0x0303, &[(SUPPORTED_VERSIONS, &[0])]), true),
            ("no TLS", b"GET / HTTP/1.1\r\n\r\n".to_vec(), false),
            ("nothing", vec![], false),
        ] {
            let told = alert(&hello).map(|alert| alert[6]);
            assert_eq!(told, is_told.then_some(PROTOCOL_VERSION), "{what}");
        }
    }

    #[test]
    fn a_client_of_tls13_learns_that_it_left_something_out() {
        for (what, extensions, is_told) in [
            ("all", vec![V13, ALGORITHMS, GROUPS, SHARES], false),
            ("no algorithms", vec![V13, GROUPS, SHARES], true),
            ("no shares", vec![V13, ALGORITHMS, GROUPS], true),
            ("no groups", vec![V13, ALGORITHMS, SHARES], true),
            ("neither groups nor shares", vec![V13, ALGORITHMS], true),
            ("nothing but a key", vec![V13, KEY], false),
            ("a key and groups", vec![V13, GROUPS, KEY], true),
            ("a key, groups and shares", vec![V13, GROUPS, SHARES, KEY], false),
        ] {
            let told = alert(&hello(0x0303, &extensions)).map(|alert| alert[6]);
            assert_eq!(told, is_told.then_some(MISSING_EXTENSION), "{what}");
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
