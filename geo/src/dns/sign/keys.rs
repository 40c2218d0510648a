//! The keys of every signed zone, and what they say about themselves: DNSKEY, CDS, CDNSKEY.
//!
//! Invariant: what is here can sign; a zone whose keys cannot is refused as a whole, with the reason.

use std::{collections::HashMap, sync::Arc};

use hickory_proto::{
    dnssec::{
        Algorithm, DigestType, PublicKey,
        rdata::{CDNSKEY, CDS, DNSKEY, DNSSECRData, DS},
    },
    rr::{Name, RData, RecordType},
};

use super::{
    key_file::{Folder, Key, KeyFileError},
    rollover::{Life, SchemeError, State, scheme},
};

/// The keys of all signed zones, by apex.
#[derive(Debug, Default)]
pub struct Keys(HashMap<Name, Arc<ZoneKeys>>);

/// The keys of one zone, of a good scheme.
#[derive(Debug)]
pub struct ZoneKeys {
    apex: Name,
    keys: Vec<Key>,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file of a key.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The keys of a zone do not fit together.
    #[error("the keys of {0}: {1}")]
    Scheme(Name, SchemeError),
    /// A zone that is signed would be signed no more.
    #[error(
        "the keys of {0} are gone; validators would refuse the zone unsigned (a restart takes it as meant)"
    )]
    Gone(Name),
    /// A key could not be written as a record.
    #[error("the keys of {0} cannot be published: {1}")]
    Record(Name, String),
}

impl Keys {
    /// Reads the keys of a folder.
    ///
    /// # Errors
    /// [`KeysError`]
    pub fn read(folder: &Folder) -> Result<Self, KeysError> {
        Self::new(folder.read()?)
    }

    /// Sorts keys by zone.
    ///
    /// # Errors
    /// [`KeysError`]
    pub fn new(keys: Vec<Key>) -> Result<Self, KeysError> {
        let mut by_zone: HashMap<Name, Vec<Key>> = HashMap::new();
        for key in keys {
            by_zone.entry(key.zone.clone()).or_default().push(key);
        }
        let zones = by_zone.into_iter().map(|(name, keys)| {
            let zone = ZoneKeys::new(name.clone(), keys)?;
            Ok((name, Arc::new(zone)))
        });
        zones.collect::<Result<_, KeysError>>().map(Self)
    }

    /// Whether others may take their place: a zone that is signed stays so. What became of files by mistake would take the
    /// zone away from all who validate.
    ///
    /// # Errors
    /// [`KeysError::Gone`]
    pub fn may_become(&self, newer: Self) -> Result<Self, KeysError> {
        match self.0.keys().find(|zone| !newer.0.contains_key(zone)) {
            Some(zone) => Err(KeysError::Gone(zone.clone())),
            None => Ok(newer),
        }
    }

    /// The keys of a zone; `None` when it is not signed.
    #[must_use]
    pub fn zone(&self, apex: &Name) -> Option<&Arc<ZoneKeys>> {
        self.0.get(apex)
    }

    /// Whether no zone is signed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All zones.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<ZoneKeys>> {
        self.0.values()
    }
}

impl ZoneKeys {
    fn new(apex: Name, keys: Vec<Key>) -> Result<Self, KeysError> {
        let lives: Vec<Life> = keys.iter().map(|key| key.life).collect();
        scheme(&lives).map_err(|error| KeysError::Scheme(apex.clone(), error))?;
        let zone = Self { apex, keys };
        // What can fail in making records fails now and not with the first query.
        for record_type in OF_KEYS {
            zone.data(record_type).map_err(|error| KeysError::Record(zone.apex.clone(), error))?;
        }
        Ok(zone)
    }

    /// The apex of the zone, in lower case.
    #[must_use]
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Which keys sign records of a type. What speaks about keys is signed by every key that the parent vouches for or
    /// may vouch for: a validator finds its way from any DS record of a roll-over.
    pub fn signers(&self, record_type: RecordType) -> impl Iterator<Item = &Key> {
        let is_of_keys = OF_KEYS.contains(&record_type);
        self.keys.iter().filter(move |key| {
            if is_of_keys {
                key.life.kind.signs_keys()
            } else {
                key.life.kind.signs_data() && key.life.times.state() == State::Active
            }
        })
    }

    /// What the records at the apex that speak about keys say: DNSKEY, CDS, CDNSKEY; nothing of another type.
    ///
    /// # Errors
    /// What could not be written.
    pub fn data(&self, record_type: RecordType) -> Result<Vec<RData>, String> {
        let is_wanted = |key: &&Key| {
            // The parent is to vouch for the one that signs and for its successor, not for a retired one.
            record_type == RecordType::DNSKEY
                || key.life.kind.signs_keys() && key.life.times.state() != State::Retired
        };
        let keys = self.keys.iter().filter(is_wanted);
        let data = keys.filter_map(|key| match record_type {
            RecordType::DNSKEY => Some(Ok(DNSSECRData::DNSKEY(key.dnskey.clone()))),
            RecordType::CDNSKEY => Some(Ok(DNSSECRData::CDNSKEY(cdnskey(&key.dnskey)))),
            RecordType::CDS => Some(key.ds().map(|ds| {
                let digest = ds.digest().to_vec();
                let algorithm = Some(ds.algorithm());
                DNSSECRData::CDS(CDS::new(ds.key_tag(), algorithm, ds.digest_type(), digest))
            })),
            _ => None,
        });
        data.map(|data| data.map(RData::DNSSEC)).collect()
    }
}

impl Key {
    /// What the parent publishes to vouch for this key: by SHA-256, as RFC 8624 has it.
    ///
    /// # Errors
    /// What could not be written.
    pub fn ds(&self) -> Result<DS, String> {
        let digest = self.dnskey.to_digest(&self.zone, DigestType::SHA256);
        let digest = digest.map_err(|error| error.to_string())?.as_ref().to_vec();
        let (tag, algorithm) = (self.life.tag, Algorithm::ECDSAP256SHA256);
        Ok(DS::new(tag, algorithm, DigestType::SHA256, digest))
    }
}

fn cdnskey(key: &DNSKEY) -> CDNSKEY {
    let public = key.public_key();
    let algorithm = Some(public.algorithm());
    CDNSKEY::with_flags(key.flags(), algorithm, public.public_bytes().to_vec())
}

/// The types that speak about keys.
pub const OF_KEYS: [RecordType; 3] = [RecordType::DNSKEY, RecordType::CDS, RecordType::CDNSKEY];

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{
        super::rollover::{Kind, Times},
        *,
    };

    fn keys(wanted: &[(Kind, State)]) -> Result<Keys, KeysError> {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let zone = Name::from_ascii("Cdn.Example.").expect("a name");
        let mut taken = vec![];
        for (kind, state) in wanted {
            let now = SystemTime::UNIX_EPOCH;
            let active = (*state != State::Published).then_some(now);
            let retired = (*state == State::Retired).then_some(now);
            let times = Times { active, retired, ..Times::published(now) };
            taken.push(folder.generate(&zone, *kind, times, &taken).expect("made").life.tag);
        }
        Keys::read(&folder)
    }

    fn counts(keys: &Keys) -> [usize; 5] {
        let zone = keys.zones().next().expect("one");
        let count = |record_type| zone.data(record_type).expect("good").len();
        let of_keys = OF_KEYS.map(count);
        let signers = [RecordType::DNSKEY, RecordType::A].map(|of| zone.signers(of).count());
        [of_keys[0], of_keys[1], of_keys[2], signers[0], signers[1]]
    }

    #[test]
    fn each_stage_of_a_roll_over_publishes_and_signs_what_it_must() {
        use Kind::{Csk, Ksk, Zsk};
        use State::{Active, Published, Retired};
        // DNSKEY, CDS, CDNSKEY; who signs the keys, who signs data.
        for (stage, expected) in [
            (vec![(Csk, Active)], [1, 1, 1, 1, 1]),
            (vec![(Csk, Active), (Csk, Published)], [2, 2, 2, 2, 1]),
            (vec![(Csk, Retired), (Csk, Active)], [2, 1, 1, 2, 1]),
            (vec![(Ksk, Active), (Zsk, Active)], [2, 1, 1, 1, 1]),
            (vec![(Ksk, Active), (Zsk, Active), (Zsk, Published)], [3, 1, 1, 1, 1]),
            (vec![(Ksk, Active), (Zsk, Retired), (Zsk, Active)], [3, 1, 1, 1, 1]),
            (vec![(Ksk, Active), (Ksk, Published), (Zsk, Active)], [3, 2, 2, 2, 1]),
        ] {
            assert_eq!(counts(&keys(&stage).expect("good")), expected, "{stage:?}");
        }
    }

    #[test]
    fn keys_that_cannot_sign_are_refused_with_the_zone() {
        let error = keys(&[(Kind::Ksk, State::Active)]).expect_err("no zsk").to_string();
        assert_eq!(error, "the keys of cdn.example.: 0 active keys of kind zsk, and one is needed");
    }

    #[test]
    fn a_signed_zone_stays_signed() {
        let one = || keys(&[(Kind::Csk, State::Active)]).expect("good");
        assert!(one().may_become(one()).is_ok() && Keys::default().may_become(one()).is_ok());
        let error = one().may_become(Keys::default()).expect_err("gone");
        assert!(matches!(error, KeysError::Gone(zone) if zone.to_ascii() == "cdn.example."));
    }

    #[test]
    fn a_zone_is_found_in_any_case() {
        let keys = keys(&[(Kind::Csk, State::Active)]).expect("good");
        let name = |text| Name::from_ascii(text).expect("a name");
        assert!(keys.zone(&name("CDN.example.")).is_some());
        assert!(keys.zone(&name("www.cdn.example.")).is_none());
        let ds = keys.zones().next().expect("one").keys()[0].ds().expect("good");
        assert_eq!(ds.digest().len(), 32);
    }
}
