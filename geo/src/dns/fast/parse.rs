//! The common query, read from a packet without a copy of it: one question, at most one OPT with what resolvers put there.
//!
//! Whatever is unusual is nobody's here and goes to the handler, which knows all of DNS. Invariant: what is read is what
//! the handler's parser reads of the same bytes; in doubt it is not read.

use crate::dns::subnet::Subnet;

/// The longest name on the wire, its last zero included (RFC 1035, 2.3.4).
pub const NAME_BYTES_MAX: usize = 255;

/// A query that can be answered from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Header and question, as they came.
    pub head: &'a [u8],
    /// The type that is asked for.
    pub record_type: u16,
    /// What came with EDNS; `None` without.
    pub edns: Option<Edns<'a>>,
}

/// What an OPT said (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns<'a> {
    /// The largest answer that fits, in bytes.
    pub payload_bytes: u16,
    /// Whether signatures are wanted (RFC 3225).
    pub dnssec_ok: bool,
    /// For whom is asked (RFC 7871), and the option's content: an answer has the same but for the scope.
    pub subnet: Option<(Subnet, &'a [u8])>,
    /// The content of a cookie option (RFC 7873): 8 bytes of the client, and 8 to 32 of a server.
    pub cookie: Option<&'a [u8]>,
}

/// A name in the form in which tables have it: on the wire, lower case.
#[derive(Debug, Clone)]
pub struct LowerName {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl<'a> Query<'a> {
    /// Reads a packet; its name goes into `name`. `None`: this is for the handler.
    #[must_use]
    pub fn read(packet: &'a [u8], name: &mut LowerName) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = packet.first_chunk()?;
        // A standard query that is whole. Recursion may be desired, checking disabled, AD set (RFC 6840, 5.7).
        if header[2] & !RECURSION_DESIRED != 0 || header[3] & !(AUTHENTIC | CHECKING_DISABLED) != 0
        {
            return None;
        }
        let is_alone = header[4..10] == [0, 1, 0, 0, 0, 0] && header[10] == 0 && header[11] <= 1;
        if !is_alone {
            return None;
        }
        let after_name = HEADER_BYTES + name.read(&packet[HEADER_BYTES..])?;
        let (question, rest) = packet[after_name..].split_first_chunk::<4>()?;
        if question[2..] != CLASS_IN {
            return None;
        }
        let edns = match (header[11], rest.is_empty()) {
            (0, true) => None,
            (1, false) => Some(Edns::read(rest)?),
            _ => return None,
        };
        let record_type = u16::from_be_bytes([question[0], question[1]]);
        Some(Self { head: &packet[..after_name + 4], record_type, edns })
    }
}

impl<'a> Edns<'a> {
    fn read(record: &'a [u8]) -> Option<Self> {
        let (fixed, mut options) = record.split_first_chunk::<11>()?;
        let [root, type_high, type_low, payload_high, payload_low, code, version, flags, zero, ..] =
            *fixed;
        // Of version 0; a flag but DO is something that we do not know.
        if (root, type_high, type_low, code, version) != (0, 0, TYPE_OPT, 0, 0) {
            return None;
        }
        if flags & !DNSSEC_OK != 0 || zero != 0 {
            return None;
        }
        if usize::from(u16::from_be_bytes([fixed[9], fixed[10]])) != options.len() {
            return None;
        }
        let mut edns = Self {
            payload_bytes: u16::from_be_bytes([payload_high, payload_low]),
            dnssec_ok: flags & DNSSEC_OK != 0,
            subnet: None,
            cookie: None,
        };
        while !options.is_empty() {
            let (fixed, rest) = options.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
            let (content, rest) = rest.split_at_checked(length)?;
            match [fixed[0], fixed[1]] {
                OPTION_SUBNET if edns.subnet.is_none() => {
                    edns.subnet = Some((Subnet::parse(content).ok()?, content));
                }
                OPTION_COOKIE if edns.cookie.is_none() && is_cookie(content) => {
                    edns.cookie = Some(content);
                }
                // One twice, or one that asks something: others are left alone (RFC 6891, 6.1.2).
                OPTION_SUBNET | OPTION_COOKIE | OPTION_NSID => return None,
                _ => {}
            }
            options = rest;
        }
        Some(edns)
    }
}

impl LowerName {
    /// One to read names into.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: [0; NAME_BYTES_MAX], length: 0 }
    }

    /// The name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Reads the name at the beginning of `bytes` and says how many it took there.
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let label = usize::from(*bytes.get(at)?);
            let after = at + 1 + label;
            // A pointer is larger than a label may be.
            if label > LABEL_BYTES_MAX || after > NAME_BYTES_MAX || after > bytes.len() {
                return None;
            }
            self.bytes[at..after].copy_from_slice(&bytes[at..after]);
            // The length of a label is below any letter.
            self.bytes[at..after].make_ascii_lowercase();
            at = after;
            if label == 0 {
                self.length = at;
                return Some(at);
            }
        }
    }
}

impl Default for LowerName {
    fn default() -> Self {
        Self::new()
    }
}

fn is_cookie(content: &[u8]) -> bool {
    content.len() == 8 || (16..=40).contains(&content.len())
}

/// The length of a header.
pub(super) const HEADER_BYTES: usize = 12;
/// In the third byte of a header.
pub(super) const RECURSION_DESIRED: u8 = 1;
/// In the fourth byte of a header.
pub(super) const CHECKING_DISABLED: u8 = 0x10;
const AUTHENTIC: u8 = 0x20;
const LABEL_BYTES_MAX: usize = 63;
const CLASS_IN: [u8; 2] = [0, 1];
pub(super) const TYPE_OPT: u8 = 41;
/// In the first byte of the flags.
pub(super) const DNSSEC_OK: u8 = 0x80;
const OPTION_NSID: [u8; 2] = [0, 3];
pub(super) const OPTION_SUBNET: [u8; 2] = [0, 8];
pub(super) const OPTION_COOKIE: [u8; 2] = [0, 10];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::request;

    const PLAIN: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x04TEST\x00\x00\x01\x00\x01";

    fn with_opt(opt: &[u8]) -> Vec<u8> {
        let mut packet = PLAIN.to_vec();
        packet[11] = 1;
        packet.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0");
        packet.extend_from_slice(&u16::try_from(opt.len()).expect("short").to_be_bytes());
        packet.extend_from_slice(opt);
        packet
    }

    fn read(packet: &[u8]) -> Option<Query<'_>> {
        Query::read(packet, &mut LowerName::new())
    }

    #[test]
    fn a_plain_query_is_read_and_its_name_is_in_lower_case() {
        let mut name = LowerName::new();
        let query = Query::read(PLAIN, &mut name).expect("plain");
        assert_eq!((query.head, query.record_type, query.edns), (PLAIN, 1, None));
        assert_eq!(name.as_bytes(), b"\x03www\x04test\x00");
    }

    #[test]
    fn options_are_read() {
        let packet = with_opt(b"\0\x08\0\x07\0\x01\x18\0\x0a\x01\x02\0\x0a\0\x08COOKIES!");
        let query = read(&packet).expect("common");
        let edns = query.edns.expect("there");
        assert_eq!((edns.payload_bytes, edns.dnssec_ok), (1232, false));
        let (subnet, content) = edns.subnet.expect("there");
        assert_eq!((subnet.address, subnet.source), ([10, 1, 2, 0].into(), 24));
        assert_eq!(content, b"\0\x01\x18\0\x0a\x01\x02");
        assert_eq!(edns.cookie, Some(&b"COOKIES!"[..]));
    }

    #[test]
    fn what_is_unusual_is_for_the_handler() {
        let changed = |at: usize, to: u8| {
            let mut packet = PLAIN.to_vec();
            packet[at] = to;
            packet
        };
        for (at, to, what) in [
            (2, 0x80, "an answer"),
            (2, 0x28, "an update"),
            (2, 0x02, "truncated"),
            (3, 0x80, "recursion available"),
            (5, 0, "no question"),
            (5, 2, "two questions"),
            (7, 1, "an answer in it"),
            (9, 1, "an authority in it"),
            (11, 1, "one record more than there is"),
            (12, 0xc0, "a pointer"),
            (12, 64, "a label of a kind that is not"),
            (25, 3, "another class"),
        ] {
            assert_eq!(read(&changed(at, to)), None, "{what}");
        }
        for end in 0..PLAIN.len() {
            assert_eq!(read(&PLAIN[..end]), None, "cut at {end}");
        }
        assert_eq!(read(&[PLAIN, b"\0"].concat()), None, "more than a message");
        for (opt, what) in [
            (&b"\0\x08\0\x07\0\x01\x17\0\x0a\x01\x01"[..], "a bit beyond the prefix"),
            (b"\0\x08\0\x06\0\x01\x18\0\x0a\x01", "fewer octets than the prefix has"),
            (b"\0\x08\0\x08\0\x01\x18\0\x0a\x01\x02\0", "more octets"),
            (b"\0\x08\0\x07\0\x01\x18\x18\x0a\x01\x02", "a scope in a query"),
            (b"\0\x08\0\x07\0\x03\x18\0\x0a\x01\x02", "no family"),
            (b"\0\x08\0\x09\0\x01\x21\0\x0a\x01\x02\x03\0", "longer than an address"),
            (b"\0\x0a\0\x07COOKIES", "a short cookie"),
            (b"\0\x03\0\0", "who wants the node's name"),
            (b"\0\x0c\0\x04\0", "padding that is not there"),
            (b"\0\x0a\0\x09COOKIES!", "an option longer than the record"),
            (b"\0\x08\0\x04\0\x01\0\0\0\x08\0\x04\0\x01\0\0", "one twice"),
        ] {
            assert_eq!(read(&with_opt(opt)), None, "{what}");
        }
        let mut version = with_opt(b"");
        version[PLAIN.len() + 6] = 1;
        assert_eq!(read(&version), None, "EDNS of another version");
    }

    #[test]
    fn a_name_is_as_long_as_names_may_be_and_not_longer() {
        let name = |last: usize| {
            let mut packet = PLAIN[..12].to_vec();
            for length in [63, 63, 63, last] {
                packet.push(u8::try_from(length).expect("short"));
                packet.extend(std::iter::repeat_n(b'x', length));
            }
            packet.extend_from_slice(b"\0\0\x01\0\x01");
            packet
        };
        for (last, is_name) in [(60, true), (61, true), (62, false)] {
            let packet = name(last);
            assert_eq!(read(&packet).is_some(), is_name, "{last}");
            assert_eq!(request::read(&packet).is_ok(), is_name, "the handler: {last}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(packet in prop::collection::vec(any::<u8>(), 0..80), head in any::<bool>()) {
            let packet = if head { [PLAIN, &packet].concat() } else { packet };
            if let Some(query) = read(&packet) {
                prop_assert!(packet.starts_with(query.head));
            }
        }
    }
}
