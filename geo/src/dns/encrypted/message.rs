//! What a transport has to know of a message's bytes: whether it is fit to carry, its padding, how long it may be kept.
//!
//! Pure; reads any bytes. Invariant: padding changes nothing but the option that it adds, at the end of the message.

/// The fields of a message that a transport looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outline {
    /// The message's ID.
    pub(super) id: u16,
    /// The shortest TTL of the answer, or of the authority section where there is no answer.
    pub(super) ttl: Option<u32>,
    /// Where the data of the OPT record begin and end.
    options: Option<(usize, usize)>,
    /// Whether nothing follows.
    is_whole: bool,
}

impl Outline {
    /// Reads a message; `None` when it breaks off or is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut at = HEADER_BYTES;
        let [questions, answers, authorities, additionals] =
            [4, 6, 8, 10].map(|of| u16_at(bytes, of));
        for _ in 0..questions? {
            at = skip_name(bytes, at)? + 4;
        }
        let (mut ttl, mut options) = (None, None);
        for (section, count) in [answers?, authorities?, additionals?].into_iter().enumerate() {
            if section == 1 && ttl.is_some() {
                // The answer has one; what comes now does not count.
                (at, _) = skip_records(bytes, at, count, |_, _, _| {})?;
                continue;
            }
            (at, _) = skip_records(bytes, at, count, |kind, seconds, data| {
                if kind == OPT {
                    options.get_or_insert(data);
                } else if section < 2 {
                    ttl = Some(ttl.map_or(seconds, |shortest: u32| shortest.min(seconds)));
                }
            })?;
        }
        Some(Self { id: u16_at(bytes, 0)?, ttl, options, is_whole: at == bytes.len() })
    }

    /// Whether an option stands in the OPT record.
    pub(super) fn has_option(&self, bytes: &[u8], code: u16) -> bool {
        let Some((mut at, end)) = self.options else { return false };
        while let (Some(found), Some(length)) = (u16_at(bytes, at), u16_at(bytes, at + 2)) {
            if at + 4 > end {
                break;
            }
            if found == code {
                return true;
            }
            at += 4 + usize::from(length);
        }
        false
    }
}

/// Pads an answer to a multiple of [`BLOCK`] bytes (RFC 7830, RFC 8467 4.1), if it has an OPT record and that is the last.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    let Some(outline) = Outline::read(bytes) else { return };
    let Some((start, end)) = outline.options.filter(|(_, end)| *end == bytes.len()) else { return };
    if !outline.is_whole || outline.has_option(bytes, PADDING) {
        return;
    }
    let whole = (bytes.len() + OPTION_HEAD).next_multiple_of(BLOCK).min(usize::from(u16::MAX));
    let Some(zeros) = whole.checked_sub(bytes.len() + OPTION_HEAD) else { return };
    let Ok(length) = u16::try_from(end - start + OPTION_HEAD + zeros) else { return };
    bytes[start - 2..start].copy_from_slice(&length.to_be_bytes());
    bytes.extend(PADDING.to_be_bytes());
    bytes.extend((zeros as u16).to_be_bytes());
    bytes.resize(whole, 0);
}

/// Passes records, telling of each its type, TTL and where its data are.
fn skip_records(
    bytes: &[u8],
    mut at: usize,
    count: u16,
    mut told: impl FnMut(u16, u32, (usize, usize)),
) -> Option<(usize, u16)> {
    for _ in 0..count {
        at = skip_name(bytes, at)?;
        let (kind, high, low) =
            (u16_at(bytes, at)?, u16_at(bytes, at + 4)?, u16_at(bytes, at + 6)?);
        let start = at + 10;
        let end = start + usize::from(u16_at(bytes, at + 8)?);
        if end > bytes.len() {
            return None;
        }
        told(kind, u32::from(high) << 16 | u32::from(low), (start, end));
        at = end;
    }
    Some((at, count))
}

/// Where what follows a name begins.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// RFC 8467 4.1: what answers are padded to multiples of.
const BLOCK: usize = 468;
const HEADER_BYTES: usize = 12;
const OPTION_HEAD: usize = 4;
const OPT: u16 = 41;
/// RFC 7830.
const PADDING: u16 = 12;
/// RFC 7828: must not be seen over QUIC (RFC 9250 5.5.2).
pub(super) const KEEPALIVE: u16 = 11;

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Edns, Message, MessageType, OpCode, Query},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{A, TXT, opt::EdnsOption},
        },
    };
    use proptest::prelude::*;

    use super::*;

    fn message(
        ttls: &[u32],
        authority: Option<u32>,
        has_edns: bool,
        options: &[(u16, usize)],
    ) -> Vec<u8> {
        let name = Name::from_ascii("www.example.").unwrap();
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name.clone(), RecordType::A));
        for (n, ttl) in ttls.iter().enumerate() {
            let data = RData::A(A::new(192, 0, 2, n as u8));
            message.answers.push(Record::from_rdata(name.clone(), *ttl, data));
        }
        if let Some(ttl) = authority {
            let data = RData::TXT(TXT::new(vec!["x".to_owned()]));
            message.authorities.push(Record::from_rdata(name.clone(), ttl, data));
        }
        if has_edns {
            let mut edns = Edns::new();
            for (code, length) in options {
                edns.options_mut().insert(EdnsOption::Unknown(*code, vec![1; *length]));
            }
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    #[test]
    fn ttls_and_options_are_read() {
        let read =
            |ttls: &[u32], authority| Outline::read(&message(ttls, authority, true, &[])).unwrap();
        assert_eq!(read(&[20, 5, 30], Some(1)).ttl, Some(5));
        assert_eq!(read(&[], Some(60)).ttl, Some(60));
        assert_eq!((read(&[], None).ttl, read(&[], None).id), (None, 7));
        let bytes = message(&[], None, true, &[(65_001, 3), (KEEPALIVE, 2)]);
        let outline = Outline::read(&bytes).unwrap();
        assert!(outline.has_option(&bytes, KEEPALIVE) && outline.has_option(&bytes, 65_001));
        assert!(!outline.has_option(&bytes, PADDING));
        assert!(
            !Outline::read(&message(&[], None, false, &[])).unwrap().has_option(&bytes, KEEPALIVE)
        );
    }

    #[test]
    fn answers_with_edns_are_padded_to_blocks_once() {
        for (count, expected) in [(1, 468), (20, 468), (26, 936)] {
            let plain = message(&vec![20; count], None, true, &[(65_001, 7)]);
            let mut padded = plain.clone();
            pad(&mut padded);
            assert_eq!(padded.len(), expected, "{} bytes", plain.len());
            let read = Message::from_vec(&padded).unwrap();
            assert_eq!(read.answers.len(), count);
            assert_eq!(read.edns.unwrap().options().as_ref().len(), 2);
            let once = padded.clone();
            pad(&mut padded);
            assert_eq!(padded, once);
        }
        let mut without = message(&[20], None, false, &[]);
        let plain = without.clone();
        pad(&mut without);
        assert_eq!(without, plain);
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Outline::read(&bytes).map(|outline| outline.has_option(&bytes, KEEPALIVE));
            pad(&mut bytes);
        }

        #[test]
        fn broken_messages_are_borne(
            cut in 0usize..200, change in 0usize..200, to in any::<u8>(), count in 0usize..8,
        ) {
            let mut bytes = message(&vec![9; count], Some(3), true, &[(8, 4)]);
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Some(byte) = bytes.get_mut(change) {
                *byte = to;
            }
            let _ = Outline::read(&bytes).map(|outline| outline.has_option(&bytes, KEEPALIVE));
            let before = bytes.clone();
            pad(&mut bytes);
            prop_assert!(bytes.len() == before.len() || bytes.len().is_multiple_of(BLOCK));
        }
    }
}
