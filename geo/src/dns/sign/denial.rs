//! Compact denial of existence (RFC 9824): one NSEC record, at the name that was asked for, says what is not there.
//!
//! A name without records of the type gets the types that it has; one that does not exist gets the type NXNAME, so that
//! whoever reads it can tell the two apart although both are answered with NOERROR (or, to those who set the flag for
//! compact answers, with NXDOMAIN). Nothing of a neighbour is shown. Pure. Invariant: the record covers its own name alone.

use hickory_proto::{
    dnssec::rdata::{DNSSECRData, NSEC},
    rr::{Name, RData, RecordType},
};

/// What is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The name has these types, and not the one that was asked for.
    Type(Vec<RecordType>),
    /// There is no such name.
    Name,
}

/// The NSEC record that denies at a name; `None` when no name can follow it, which none of a zone's is.
#[must_use]
pub fn nsec(name: &Name, denied: &Denied) -> Option<RData> {
    let next = successor(name)?;
    let own = [RecordType::RRSIG, RecordType::NSEC];
    let nsec = match denied {
        Denied::Type(types) => {
            // Types that are asked for and never held (RFC 4034 4.1.2).
            let is_held = |of: &RecordType| !(128..=255).contains(&u16::from(*of));
            NSEC::new(next, types.iter().copied().filter(is_held).chain(own))
        }
        Denied::Name => NSEC::new(next, own.into_iter().chain([NXNAME])),
    };
    Some(RData::DNSSEC(DNSSECRData::NSEC(nsec)))
}

/// The name that follows immediately in canonical order: with a label of one zero byte before it. Where there is no room
/// for that, the first label is made longer by a zero byte, or counted up, which no name that exists lies before.
fn successor(name: &Name) -> Option<Name> {
    if let Ok(next) = name.prepend_label(&[0_u8][..]) {
        return Some(next);
    }
    let first = name.iter().next()?.to_ascii_lowercase();
    let rest = name.base_name();
    let mut longer = first.clone();
    longer.push(0);
    if let Ok(next) = rest.prepend_label(&longer[..]) {
        return Some(next);
    }
    let last = first.iter().rposition(|byte| *byte != 0xff)?;
    let mut counted = first[..=last].to_vec();
    // Upper case is lower case in this order, so no label ends in one: it would not be greater.
    counted[last] = match counted[last] + 1 {
        b'A' => b'[',
        byte => byte,
    };
    rest.prepend_label(&counted[..]).ok()
}

/// The type that says that there is no such name (RFC 9824 3.1).
pub const NXNAME: RecordType = RecordType::Unknown(128);

#[cfg(test)]
mod tests {
    use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable};
    use proptest::prelude::*;

    use super::*;

    fn denial(name: &str, denied: &Denied) -> NSEC {
        let name = Name::from_ascii(name).expect("a name");
        match nsec(&name, denied) {
            Some(RData::DNSSEC(DNSSECRData::NSEC(nsec))) => nsec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_without_the_type_shows_the_types_it_has() {
        use RecordType::{A, ANY, HTTPS, NSEC as Nsec, RRSIG};
        for (types, shown) in [
            (vec![], vec![RRSIG, Nsec]),
            (vec![HTTPS, A], vec![A, RRSIG, Nsec, HTTPS]),
            (vec![A, A, RRSIG], vec![A, RRSIG, Nsec]),
            (vec![ANY, NXNAME, A], vec![A, RRSIG, Nsec]),
        ] {
            let nsec = denial("www.example.", &Denied::Type(types));
            assert_eq!(nsec.next_domain_name().to_ascii(), "\\000.www.example.");
            assert_eq!(nsec.type_bit_maps().collect::<Vec<_>>(), shown);
        }
    }

    #[test]
    fn a_name_that_is_not_there_shows_nxname() {
        let nsec = denial("nope.example.", &Denied::Name);
        let types: Vec<_> = nsec.type_bit_maps().collect();
        assert_eq!(types, [RecordType::RRSIG, RecordType::NSEC, NXNAME]);
        // RFC 9824 3.1: window 0, 17 bytes, bits 46, 47 and 128.
        let bytes = nsec.to_bytes().expect("good");
        let bitmap = &bytes[bytes.len() - 19..];
        assert_eq!(&bitmap[..2], [0, 17]);
        assert_eq!((bitmap[2 + 5], bitmap[2 + 16]), (0b0000_0011, 0b1000_0000));
    }

    /// RFC 4034 6.1, by its text.
    fn follows(name: &Name, next: &Name) -> bool {
        let labels = |name: &Name| {
            let mut all: Vec<Vec<u8>> = name.iter().map(<[u8]>::to_ascii_lowercase).collect();
            all.reverse();
            all
        };
        labels(next) > labels(name)
    }

    #[test]
    fn a_name_that_is_as_long_as_can_be_is_followed_by_another() {
        let (long, end) = ([b'a'; 63], [b'c'; 61]);
        let mut odd = [b'a'; 63];
        odd[62] = b'@';
        for (first, last) in
            [(&[b'b'; 61][..], &long[..]), (&long, &end), (&[0xff; 63], &end), (&odd, &end)]
        {
            let name = Name::from_labels([first, &long, &long, last]).expect("a name");
            assert!(name.prepend_label("x").is_err(), "there is room");
            match successor(&name) {
                Some(next) => assert!(follows(&name, &next), "{name} {next}"),
                None => assert!(first.iter().all(|byte| *byte == 0xff), "{name}"),
            }
        }
    }

    proptest! {
        #[test]
        fn what_denies_is_read_as_it_was_written(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=63), 1..=4),
            types in prop::collection::vec(any::<u16>(), 0..20),
        ) {
            let Ok(name) = Name::from_labels(labels.iter().map(|label| &label[..])) else { return Ok(()) };
            let types = types.into_iter().map(RecordType::from).collect();
            let Some(RData::DNSSEC(DNSSECRData::NSEC(nsec))) = nsec(&name, &Denied::Type(types)) else {
                return Ok(());
            };
            prop_assert!(follows(&name, nsec.next_domain_name()));
            let bytes = nsec.to_bytes().expect("good");
            let mut decoder = BinDecoder::new(&bytes);
            let next = Name::read(&mut decoder).expect("good");
            prop_assert_eq!(&next, nsec.next_domain_name());
        }
    }
}
