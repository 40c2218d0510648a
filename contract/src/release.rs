//! A release: all resources of a control plane at one version, named by one signed hash.
//!
//! The root of a Merkle tree over the sorted resources says what a release holds. A release key signs version, root,
//! times and the oldest build that understands it; the authority that nodes pin signs the release key. So whoever
//! passes a release on, changed or not, can at most withhold it. Versions only grow: what was signed once and is not
//! above what a node has had is never put to use again.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{id::Generation, resource::ResourceKey};

/// How far a node's clock may be behind or ahead before it refuses a release as expired.
pub const CLOCK_SKEW_MAX_MS: u64 = 5 * 60 * 1000;
/// The largest release as it travels, in bytes of all its items.
pub const RELEASE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// What is signed of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its number; only grows.
    pub version: Generation,
    /// The root of the tree over its resources.
    #[serde(with = "hex_hash")]
    pub root: Hash,
    /// When it was made.
    pub created_unix_ms: u64,
    /// From when on no node takes it. A node that runs it then goes on and says so.
    pub expires_unix_ms: u64,
    /// The oldest build that understands it.
    pub build_min: Build,
}

/// A release key, as the authority signs it. Numbers only grow; a node refuses keys with lower ones than it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatement {
    /// Its number.
    pub number: u64,
    /// Ed25519.
    pub public_key: [u8; 32],
}

/// A build of the programs: `major.minor.patch`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Build(u32, u32, u32);

/// Not a build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a build is major.minor.patch, not {0:?}")]
pub struct BuildError(String);

/// Why a release is refused whatever it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// It, or a later one, was here before.
    #[error("version {offered} is not above {floor}, which this node has had")]
    Replayed {
        /// The highest that the node has had.
        floor: Generation,
        /// This one.
        offered: Generation,
    },
    /// Its time is over.
    #[error("version {0} has expired")]
    Expired(Generation),
    /// It needs a newer build.
    #[error("version {0} needs build {1} or newer, this is {2}")]
    Build(Generation, Build, Build),
}

/// Why a difference cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It is a difference from something else than what is here.
    #[error("the difference is from another release")]
    From,
    /// One resource is named twice.
    #[error("{0} is named twice")]
    Twice(ResourceKey),
    /// It takes away what is not there.
    #[error("{0} is taken away and not there")]
    NotThere(ResourceKey),
    /// What results is not what was signed.
    #[error("what results has another root than was signed")]
    Root,
}

impl Header {
    /// The bytes that the release key signs.
    #[must_use]
    pub fn to_sign(&self) -> Vec<u8> {
        let mut bytes = b"tidegate release 1\0".to_vec();
        bytes.extend(self.version.0.to_be_bytes());
        bytes.extend(self.root);
        bytes.extend(self.created_unix_ms.to_be_bytes());
        bytes.extend(self.expires_unix_ms.to_be_bytes());
        let Build(major, minor, patch) = self.build_min;
        [major, minor, patch].iter().for_each(|part| bytes.extend(part.to_be_bytes()));
        bytes
    }

    /// Whether a node takes a release: `floor` is the highest version that it has had.
    ///
    /// # Errors
    /// [`AdmitError`]
    pub fn admit(&self, floor: Generation, own: Build, now_unix_ms: u64) -> Result<(), AdmitError> {
        let offered = self.version;
        if offered <= floor {
            return Err(AdmitError::Replayed { floor, offered });
        }
        if self.is_expired(now_unix_ms.saturating_sub(CLOCK_SKEW_MAX_MS)) {
            return Err(AdmitError::Expired(offered));
        }
        if own < self.build_min {
            return Err(AdmitError::Build(offered, self.build_min, own));
        }
        Ok(())
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now_unix_ms: u64) -> bool {
        self.expires_unix_ms <= now_unix_ms
    }
}

impl KeyStatement {
    /// The bytes that the authority signs. They are no certificate: those begin with another byte.
    #[must_use]
    pub fn to_sign(&self) -> Vec<u8> {
        let mut bytes = b"tidegate release key 1\0".to_vec();
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.public_key);
        bytes
    }
}

impl FromStr for Build {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        let bad = || BuildError(text.chars().take(32).collect());
        let part = |text: Option<&str>| -> Result<u32, BuildError> {
            let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            text.and_then(|text| text.parse().ok()).ok_or_else(bad)
        };
        let mut parts = text.split('.');
        let build = Self(part(parts.next())?, part(parts.next())?, part(parts.next())?);
        if parts.next().is_some() { Err(bad()) } else { Ok(build) }
    }
}

impl TryFrom<String> for Build {
    type Error = BuildError;

    fn try_from(text: String) -> Result<Self, BuildError> {
        text.parse()
    }
}

impl From<Build> for String {
    fn from(build: Build) -> Self {
        build.to_string()
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The hash of a spec's bytes.
#[must_use]
pub fn hash_of(spec: &[u8]) -> Hash {
    *blake3::hash(spec).as_bytes()
}

/// The root of the tree over resources in the order of their keys. A leaf can never be taken for a node, and a name
/// never for the end of a kind: both carry what they are.
#[must_use]
pub fn root_of<'a>(leaves: impl IntoIterator<Item = (&'a ResourceKey, &'a Hash)>) -> Hash {
    let mut level: Vec<Hash> = leaves.into_iter().map(|(key, hash)| leaf(key, hash)).collect();
    if level.is_empty() {
        return *blake3::hash(&[EMPTY]).as_bytes();
    }
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => {
                    let mut hasher = blake3::Hasher::new();
                    hasher.update(&[NODE]).update(left).update(right);
                    *hasher.finalize().as_bytes()
                }
                // The last of an odd number moves up as it is.
                alone => alone[0],
            })
            .collect();
    }
    level[0]
}

/// What to put and what to take away to come from one set of resources to another.
#[must_use]
pub fn difference<'a, T: PartialEq>(
    from: &'a BTreeMap<ResourceKey, T>,
    to: &'a BTreeMap<ResourceKey, T>,
) -> (Vec<&'a ResourceKey>, Vec<&'a ResourceKey>) {
    let is_new = |(key, value): &(&ResourceKey, &T)| from.get(*key) != Some(*value);
    let put = to.iter().filter(is_new).map(|(key, _)| key).collect();
    let del = from.keys().filter(|key| !to.contains_key(*key)).collect();
    (put, del)
}

/// The resources that result from a difference. Whether they are what was signed is for the caller to compare.
///
/// # Errors
/// [`DeltaError::Twice`] and [`DeltaError::NotThere`]
pub fn apply<T: Clone>(
    from: &BTreeMap<ResourceKey, T>,
    put: Vec<(ResourceKey, T)>,
    del: &[ResourceKey],
) -> Result<BTreeMap<ResourceKey, T>, DeltaError> {
    let mut to = from.clone();
    for key in del {
        if to.remove(key).is_none() {
            return Err(DeltaError::NotThere(key.clone()));
        }
    }
    let mut named = std::collections::BTreeSet::new();
    for (key, value) in put {
        if !named.insert(key.clone()) || del.contains(&key) {
            return Err(DeltaError::Twice(key));
        }
        to.insert(key, value);
    }
    Ok(to)
}

fn leaf(key: &ResourceKey, hash: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[LEAF]);
    for text in [key.kind.as_str(), key.name.as_str()] {
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
    }
    *hasher.update(hash).finalize().as_bytes()
}

mod hex_hash {
    //! A hash as people read it.
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&blake3::Hash::from_bytes(*hash).to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(from)?;
        blake3::Hash::from_hex(text).map(|hash| *hash.as_bytes()).map_err(D::Error::custom)
    }
}

const LEAF: u8 = 0;
const NODE: u8 = 1;
const EMPTY: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resources(pairs: &[(u8, u8)]) -> BTreeMap<ResourceKey, Hash> {
        let one = |(name, value): &(u8, u8)| {
            let key = ResourceKey::parse(&format!("origin/o{name}")).expect("good");
            (key, hash_of(&[*value]))
        };
        pairs.iter().map(one).collect()
    }

    fn header() -> Header {
        Header {
            version: Generation(7),
            root: [1; 32],
            created_unix_ms: 1_000_000,
            expires_unix_ms: 2_000_000,
            build_min: Build(1, 2, 3),
        }
    }

    #[test]
    fn every_field_is_signed() {
        let signed = header().to_sign();
        for other in [
            Header { version: Generation(8), ..header() },
            Header { root: [2; 32], ..header() },
            Header { created_unix_ms: 0, ..header() },
            Header { expires_unix_ms: 0, ..header() },
            Header { build_min: Build(1, 2, 4), ..header() },
        ] {
            assert_ne!(other.to_sign(), signed);
        }
        let text = serde_json::to_string(&header()).expect("plain");
        assert_eq!(serde_json::from_str::<Header>(&text).expect("what was written"), header());
    }

    #[test]
    fn what_was_here_has_expired_or_needs_a_newer_build_is_refused() {
        let now = 1_500_000;
        let (floor, own) = (Generation(6), Build(1, 3, 0));
        assert_eq!(header().admit(floor, own, now), Ok(()));
        let replayed = header().admit(Generation(7), own, now);
        assert!(matches!(replayed, Err(AdmitError::Replayed { .. })));
        assert_eq!(header().admit(floor, own, 2_000_000), Ok(()), "clocks differ a little");
        let late = 2_000_000 + CLOCK_SKEW_MAX_MS;
        assert_eq!(header().admit(floor, own, late), Err(AdmitError::Expired(Generation(7))));
        assert!(matches!(header().admit(floor, Build(1, 2, 2), now), Err(AdmitError::Build(..))));
    }

    #[test]
    fn a_build_is_three_numbers() {
        assert_eq!("0.12.3".parse(), Ok(Build(0, 12, 3)));
        assert!(Build(0, 12, 3) > Build(0, 9, 30));
        for bad in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1..2", "+1.2.3", "1.2.99999999999"] {
            assert!(bad.parse::<Build>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_difference_that_does_not_fit_is_refused() {
        let from = resources(&[(1, 1), (2, 2)]);
        let key = |text| ResourceKey::parse(text).expect("good");
        let twice = vec![(key("origin/o3"), [0; 32]), (key("origin/o3"), [1; 32])];
        assert!(matches!(apply(&from, twice, &[]), Err(DeltaError::Twice(_))));
        let gone = apply(&from, Vec::new(), &[key("origin/o9")]);
        assert!(matches!(gone, Err(DeltaError::NotThere(_))));
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_any_set_to_any_other_and_roots_tell_them_apart(
            from in proptest::collection::vec((0u8..12, 0u8..4), 0..12),
            to in proptest::collection::vec((0u8..12, 0u8..4), 0..12),
        ) {
            let (from, to) = (resources(&from), resources(&to));
            let (put, del) = difference(&from, &to);
            let put = put.into_iter().map(|key| (key.clone(), to[key])).collect();
            let del: Vec<_> = del.into_iter().cloned().collect();
            let result = apply(&from, put, &del).expect("it fits");
            prop_assert_eq!(root_of(&result), root_of(&to));
            prop_assert_eq!(root_of(&from) == root_of(&to), from == to);
        }
    }
}
