//! A set of records in canonical form, and its signature (RFC 4034 3.1.8.1 and 6).
//!
//! A name that a wildcard gave is signed as if it stood in the zone: the key is at hand, so nobody needs to be shown that
//! nothing closer exists (RFC 9824). Invariant: the same records in another order or letter case are the same bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::{
    ProtoError,
    dnssec::{
        SigningKey, TBS,
        rdata::{RRSIG, sig::SigInput},
    },
    rr::{DNSClass, Name, RData, RecordType, SerialNumber},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use super::key_file::Key;

/// A set in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canonical {
    /// Owner in lower case, type, class.
    head: Vec<u8>,
    /// The data of the records, sorted, none twice.
    data: Vec<Vec<u8>>,
    record_type: RecordType,
    labels: u8,
    ttl: u32,
}

/// How long a signature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) inception: SystemTime,
    pub(super) expiration: SystemTime,
}

impl Canonical {
    /// Writes records of one owner and type in canonical form.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(super) fn new(
        owner: &Name,
        record_type: RecordType,
        ttl: u32,
        records: &[RData],
    ) -> Result<Self, ProtoError> {
        let name = owner.to_lowercase();
        let mut head = Vec::with_capacity(name.len() + 4);
        let mut encoder = BinEncoder::new(&mut head);
        encoder.set_name_encoding(NameEncoding::UncompressedLowercase);
        name.emit(&mut encoder)?;
        record_type.emit(&mut encoder)?;
        DNSClass::IN.emit(&mut encoder)?;
        let mut data = Vec::with_capacity(records.len());
        for record in records {
            let mut bytes = Vec::with_capacity(16);
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_canonical_form(true);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            record.emit(&mut encoder)?;
            data.push(bytes);
        }
        data.sort();
        data.dedup();
        Ok(Self { head, data, record_type, labels: name.num_labels(), ttl })
    }

    /// Hands all that makes the set what it is to a hasher, piece by piece, each with its length.
    pub(super) fn feed(&self, mut write: impl FnMut(&[u8])) {
        write(&self.ttl.to_be_bytes());
        for piece in [&self.head].into_iter().chain(&self.data) {
            write(&(piece.len() as u64).to_be_bytes());
            write(piece);
        }
    }

    /// Signs the set.
    ///
    /// # Errors
    /// When it cannot be written or signed.
    pub(super) fn sign(
        &self,
        apex: &Name,
        key: &Key,
        validity: Validity,
    ) -> Result<RRSIG, ProtoError> {
        let input = SigInput {
            type_covered: self.record_type,
            algorithm: key.signing.algorithm(),
            num_labels: self.labels,
            original_ttl: self.ttl,
            sig_expiration: serial(validity.expiration),
            sig_inception: serial(validity.inception),
            key_tag: key.life.tag,
            signer_name: apex.clone(),
        };
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_canonical_form(true);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        input.emit(&mut encoder)?;
        for data in &self.data {
            let length = u16::try_from(data.len()).map_err(|_| "a record of more than 64 KiB")?;
            encoder.emit_vec(&self.head)?;
            encoder.emit_u32(self.ttl)?;
            encoder.emit_u16(length)?;
            encoder.emit_vec(data)?;
        }
        let signature = key.signing.sign(&TBS::from(&bytes[..]));
        let signature = signature.map_err(|error| ProtoError::from(error.to_string()))?;
        Ok(RRSIG::from_sig(input, signature))
    }
}

impl Validity {
    /// Of a signature that is made now. It begins a while ago, for validators whose clock is slow, and ends up to
    /// [`JITTER_MAX`] early, as `salt` has it, so that what was signed together is not signed anew together.
    pub(super) fn from(now: SystemTime, lifetime: Duration, salt: u64) -> Self {
        let jitter = lifetime.min(JITTER_MAX).as_secs().max(1);
        let early = Duration::from_secs(salt % jitter);
        Self { inception: now - BACKDATED, expiration: now + lifetime - early }
    }
}

/// Seconds since 1970 modulo 2^32, as RFC 4034 3.1.5 has it.
fn serial(time: SystemTime) -> SerialNumber {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    SerialNumber::from(seconds as u32)
}

/// How far back a signature begins.
const BACKDATED: Duration = Duration::from_secs(3600);
/// How much earlier than its lifetime a signature may end.
const JITTER_MAX: Duration = Duration::from_secs(12 * 3600);

#[cfg(test)]
mod tests {
    use hickory_proto::{
        dnssec::{
            Verifier,
            rdata::{DNSKEY, DNSSECRData},
        },
        rr::{
            Record,
            rdata::{A, CNAME, MX, TXT},
        },
    };

    use super::{
        super::{
            key_file::Folder,
            rollover::{Kind, Times},
        },
        *,
    };

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn canonical(owner: &str, data: &[RData]) -> Canonical {
        let record_type = data[0].record_type();
        Canonical::new(&name(owner), record_type, 20, data).expect("good")
    }

    fn a(last: u8) -> RData {
        RData::A(A::new(192, 0, 2, last))
    }

    #[test]
    fn order_case_and_doubles_make_no_difference() {
        let one = canonical("www.example.", &[a(2), a(1)]);
        assert_eq!(one, canonical("WWW.Example.", &[a(1), a(2), a(2)]));
        assert_ne!(one, canonical("www.example.", &[a(1)]));
        let mail = |text: &str, other: &str| {
            let mx = |host: &str| RData::MX(MX::new(10, name(host)));
            canonical("example.", &[mx(text), mx(other)])
        };
        assert_eq!(mail("B.example.", "a.example."), mail("A.EXAMPLE.", "b.example."));
        let alias = |target: &str| canonical("w.example.", &[RData::CNAME(CNAME(name(target)))]);
        assert_eq!(alias("Www.Example."), alias("www.example."));
    }

    #[test]
    fn what_is_fed_tells_sets_apart() {
        let fed = |set: &Canonical| {
            let mut bytes = vec![];
            set.feed(|piece| bytes.extend_from_slice(piece));
            bytes
        };
        let text = |words: &[&str]| {
            let all = words.iter().map(|word| RData::TXT(TXT::new(vec![(*word).to_owned()])));
            fed(&canonical("t.example.", &all.collect::<Vec<_>>()))
        };
        assert_ne!(text(&["ab", "c"]), text(&["a", "bc"]));
        let sets = [canonical("a.example.", &[a(1)]), canonical("b.example.", &[a(1)])];
        assert_ne!(fed(&sets[0]), fed(&sets[1]));
    }

    #[test]
    fn a_signature_verifies_until_the_set_is_another() {
        let place = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let (apex, owner) = (name("example."), name("www.example."));
        let folder = Folder::new(place.path());
        let key = folder.generate(&apex, Kind::Csk, Times::published(now), &[]).expect("made");
        let validity = Validity::from(now, Duration::from_secs(7 * 86_400), 5);
        let data = [a(9), a(10)];
        let rrsig = canonical("WWW.example.", &data).sig_of(&apex, &key, validity);
        let dnskey: &DNSKEY = &key.dnskey;
        let verifies = |data: &[RData]| {
            let record = |data: &RData| Record::from_rdata(owner.clone(), 20, data.clone());
            let records: Vec<Record> = data.iter().map(record).collect();
            dnskey.verify_rrsig(&owner, DNSClass::IN, &rrsig, records.iter()).is_ok()
        };
        assert!(verifies(&data));
        assert!(!verifies(&data[..1]));
        let input = rrsig.input();
        assert_eq!((input.num_labels, input.original_ttl, input.key_tag), (2, 20, key.life.tag));
        let shown = RData::DNSSEC(DNSSECRData::RRSIG(rrsig.clone())).to_string();
        assert!(shown.contains("A") && shown.contains("example."), "{shown}");
    }

    impl Canonical {
        fn sig_of(&self, apex: &Name, key: &Key, validity: Validity) -> RRSIG {
            self.sign(apex, key, validity).expect("signed")
        }
    }

    #[test]
    fn a_signature_begins_an_hour_ago_and_ends_up_to_half_a_day_early() {
        let (now, week) = (SystemTime::now(), Duration::from_secs(7 * 86_400));
        for (salt, early) in [(0, 0), (43_199, 43_199), (43_200, 0), (u64::MAX, u64::MAX % 43_200)]
        {
            let validity = Validity::from(now, week, salt);
            assert_eq!(validity.inception, now - Duration::from_secs(3600));
            assert_eq!(validity.expiration, now + week - Duration::from_secs(early));
        }
    }
}
