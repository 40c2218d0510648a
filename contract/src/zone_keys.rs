//! The keys of a signed zone, as geo nodes tell them to one another through the control plane.
//!
//! A set of keys is one text with a proof, so that what one node made is what another one checks, byte for byte, whatever
//! stands between them. Private keys travel only sealed under keys of the zone that every node has: the control plane keeps
//! and passes on what it can neither open nor change. The arithmetic stands in the geo node; here is the form. Invariant: a
//! set that was read has at most so many keys, each once, an active one of each kind, and times that a clock can show.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// The longest text of a set, in bytes.
pub const KEY_SET_BYTES_MAX: usize = 16 * 1024;
/// The most keys of a zone: of two kinds one that comes, one that signs, one that goes.
pub const KEYS_MAX: usize = 6;
/// The most keys that are gone and still named, the newest: a node that was away for longer than their lives cannot follow.
pub const GONE_MAX: usize = 12;
/// The most zones with a set.
pub const KEY_SETS_MAX: usize = 500;
/// Bytes of a public key of P-256: two coordinates.
pub const PUBLIC_BYTES: usize = 64;
/// Bytes of a private key that is sealed: the number, and what proves that nobody changed it.
pub const SEALED_BYTES: usize = 32 + 16;
/// Bytes of a proof.
pub const PROOF_BYTES: usize = 32;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Keys and data.
    Csk,
    /// Keys.
    Ksk,
    /// Data.
    Zsk,
}

/// A set as it travels and as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenSet {
    /// The JSON of a [`KeySet`], at most [`KEY_SET_BYTES_MAX`].
    pub text: String,
    /// That a node made the text: [`PROOF_BYTES`] in Base64, under the key that the set names for it.
    pub proof: String,
}

/// The keys of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    /// The apex of the zone, in lower case, with a dot at its end.
    pub zone: String,
    /// Grows with every step.
    pub revision: u64,
    /// The tag of the key that the proof is made with, one of `keys`.
    pub proven_by: u16,
    /// The keys of the zone.
    pub keys: Vec<StandingKey>,
    /// Keys that the zone had and has no more, the newest last.
    #[serde(default)]
    pub gone: Vec<KnownKey>,
}

/// What a key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownKey {
    /// Its tag, unique in the set.
    pub tag: u16,
    /// What it signs.
    pub kind: KeyKind,
    /// The public key: [`PUBLIC_BYTES`] in Base64.
    pub public: String,
    /// The private key, sealed; absent where every node has it as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedKey>,
}

/// A key of the zone and how far it is. Times are seconds since 1970; a step that has no time was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingKey {
    /// What it is.
    #[serde(flatten)]
    pub known: KnownKey,
    /// Since when it is among the zone's keys.
    pub published_unix_s: u64,
    /// Since when the parent has its DS record, as an operator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ds_seen_unix_s: Option<u64>,
    /// Since when it signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_unix_s: Option<u64>,
    /// Since when another one signs in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_unix_s: Option<u64>,
}

/// A private key that only those can open who have another key of the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// The tag of that key: the one that signed when this one was made.
    pub under: u16,
    /// [`SEALED_BYTES`] in Base64.
    pub bytes: String,
}

/// What a node says when it is asked for the next step of a roll-over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyProposal {
    /// Which kind of key it is about.
    pub kind: KeyKind,
    /// The step, in a word: `publish`, `ds`, `activate`, `remove`; `wait` or `ds` where it is not due.
    pub step: String,
    /// The same for people.
    pub text: String,
    /// From when on it is due (RFC 3339); absent: now, or nobody knows yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What comes after it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The DS records that the parent is to have after it.
    #[serde(default)]
    pub ds: Vec<String>,
    /// The keys after it; absent: it is not due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ProvenSet>,
}

/// Why a text is no set of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Too long.
    #[error("a set of keys has at most {KEY_SET_BYTES_MAX} bytes, not {0}")]
    Size(usize),
    /// Not the JSON of it.
    #[error("cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// No name of a zone.
    #[error(
        "{0:?} is no zone: letters in lower case, digits, hyphens and underscores, a dot at the end"
    )]
    Zone(String),
    /// Not as many keys as a zone has.
    #[error(
        "a zone has 1 to {KEYS_MAX} keys and at most {GONE_MAX} that are gone, not {0} and {1}"
    )]
    Count(usize, usize),
    /// Revisions begin at 1.
    #[error("revision 0")]
    Revision,
    /// Two keys share a tag.
    #[error("two keys have the tag {0}")]
    Tag(u16),
    /// Bytes of a key that are none, or not so many.
    #[error("key {0}: {1} bytes in Base64 are needed as {2}")]
    Bytes(u16, usize, &'static str),
    /// A time that no clock shows, or steps out of order.
    #[error("key {0}: its times make no sense")]
    Times(u16),
    /// Not one key of a kind that signs.
    #[error("{1} active keys of kind {0}, and one is needed")]
    Active(KeyKind, usize),
    /// The key of the proof is none of the set.
    #[error("key {0} proves the set and is not in it")]
    Prover(u16),
    /// No kind of key.
    #[error("{0:?} is no kind of key: csk, ksk or zsk")]
    Kind(String),
}

impl ProvenSet {
    /// Reads and checks what somebody else sent; whether it is proven is to be checked by who has the keys.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn read(&self) -> Result<KeySet, KeySetError> {
        if self.text.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::Size(self.text.len()));
        }
        let set: KeySet = serde_json::from_str(&self.text)?;
        set.check()?;
        bytes::<PROOF_BYTES>(&self.proof).ok_or(KeySetError::Bytes(
            set.proven_by,
            PROOF_BYTES,
            "proof",
        ))?;
        Ok(set)
    }
}

impl KeySet {
    /// Checks the form.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn check(&self) -> Result<(), KeySetError> {
        zone_name(&self.zone)?;
        if self.revision == 0 {
            return Err(KeySetError::Revision);
        }
        if self.keys.is_empty() || self.keys.len() > KEYS_MAX || self.gone.len() > GONE_MAX {
            return Err(KeySetError::Count(self.keys.len(), self.gone.len()));
        }
        let mut tags: Vec<u16> = self.known().map(|key| key.tag).collect();
        tags.sort_unstable();
        if let Some(pair) = tags.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(KeySetError::Tag(pair[0]));
        }
        for key in self.known() {
            key.check()?;
        }
        for key in &self.keys {
            key.check()?;
            let kind = key.known.kind;
            let is_active = |other: &&StandingKey| other.known.kind == kind && other.is_active();
            let active = self.keys.iter().filter(is_active).count();
            if active != 1 {
                return Err(KeySetError::Active(kind, active));
            }
        }
        if !self.keys.iter().any(|key| key.known.tag == self.proven_by) {
            return Err(KeySetError::Prover(self.proven_by));
        }
        Ok(())
    }

    /// Every key that it names, those that are gone first.
    pub fn known(&self) -> impl Iterator<Item = &KnownKey> {
        self.gone.iter().chain(self.keys.iter().map(|key| &key.known))
    }
}

impl StandingKey {
    /// Whether it signs.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active_unix_s.is_some() && self.retired_unix_s.is_none()
    }

    fn check(&self) -> Result<(), KeySetError> {
        let times = [self.ds_seen_unix_s, self.active_unix_s, self.retired_unix_s];
        let mut times = times.into_iter().flatten().chain([self.published_unix_s]);
        let is_ordered = self.retired_unix_s.is_none() || self.active_unix_s.is_some();
        if times.any(|time| time > TIME_MAX_UNIX_S) || !is_ordered {
            return Err(KeySetError::Times(self.known.tag));
        }
        Ok(())
    }
}

impl KnownKey {
    /// The bytes of the public key.
    #[must_use]
    pub fn public_bytes(&self) -> Option<[u8; PUBLIC_BYTES]> {
        bytes(&self.public)
    }

    fn check(&self) -> Result<(), KeySetError> {
        let wrong = |length, what| KeySetError::Bytes(self.tag, length, what);
        self.public_bytes().ok_or_else(|| wrong(PUBLIC_BYTES, "public key"))?;
        if let Some(sealed) = &self.sealed {
            sealed.sealed_bytes().ok_or_else(|| wrong(SEALED_BYTES, "sealed key"))?;
        }
        Ok(())
    }
}

impl SealedKey {
    /// The sealed bytes.
    #[must_use]
    pub fn sealed_bytes(&self) -> Option<[u8; SEALED_BYTES]> {
        bytes(&self.bytes)
    }
}

impl FromStr for KeyKind {
    type Err = KeySetError;

    fn from_str(text: &str) -> Result<Self, KeySetError> {
        match text {
            "csk" => Ok(Self::Csk),
            "ksk" => Ok(Self::Ksk),
            "zsk" => Ok(Self::Zsk),
            other => Err(KeySetError::Kind(other.chars().take(16).collect())),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csk => "csk",
            Self::Ksk => "ksk",
            Self::Zsk => "zsk",
        })
    }
}

/// Whether a text is the name of a signed zone, as [`KeySet::zone`] has it: it is also that of files and records.
///
/// # Errors
/// [`KeySetError::Zone`]
pub fn zone_name(zone: &str) -> Result<(), KeySetError> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_plain);
    let is_zone = zone.len() <= ZONE_BYTES_MAX
        && zone.strip_suffix('.').is_some_and(|name| name.split('.').all(is_label));
    if is_zone { Ok(()) } else { Err(KeySetError::Zone(zone.chars().take(64).collect())) }
}

/// Bytes out of Base64 that are exactly so many.
#[must_use]
pub fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Decoding takes room by the length of the text.
    if text.len() > N.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// RFC 1035 2.3.4, as text.
const ZONE_BYTES_MAX: usize = 254;
/// The end of the year 9999: what is later has no form in RFC 3339.
const TIME_MAX_UNIX_S: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(tag: u16, kind: KeyKind, active: Option<u64>) -> StandingKey {
        let public = STANDARD.encode([tag as u8; PUBLIC_BYTES]);
        let sealed = SealedKey { under: 1, bytes: STANDARD.encode([2; SEALED_BYTES]) };
        StandingKey {
            known: KnownKey { tag, kind, public, sealed: Some(sealed) },
            published_unix_s: 5,
            ds_seen_unix_s: None,
            active_unix_s: active,
            retired_unix_s: None,
        }
    }

    fn set() -> KeySet {
        let keys = vec![key(7, KeyKind::Csk, Some(6)), key(8, KeyKind::Csk, None)];
        let gone = vec![key(6, KeyKind::Csk, None).known];
        KeySet { zone: "cdn.example.".into(), revision: 3, proven_by: 7, keys, gone }
    }

    fn proven(set: &KeySet) -> ProvenSet {
        let text = serde_json::to_string(set).expect("plain data");
        ProvenSet { text, proof: STANDARD.encode([0; PROOF_BYTES]) }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(proven(&set()).read().expect("good"), set());
        // What a newer node says beside it is left out.
        let newer = proven(&set()).text.replacen('{', "{\"more\":[1],", 1);
        let newer = ProvenSet { text: newer, ..proven(&set()) };
        assert_eq!(newer.read().expect("good"), set());
    }

    #[test]
    fn what_is_no_set_is_refused_with_the_reason() {
        type Change = fn(&mut KeySet);
        let changes: [(Change, &str); 13] = [
            (|set| set.zone = "CDN.example.".into(), "is no zone"),
            (|set| set.zone = "../x.".into(), "is no zone"),
            (|set| set.zone = ".".into(), "is no zone"),
            (|set| set.revision = 0, "revision 0"),
            (|set| set.keys.clear(), "not 0 and 1"),
            (|set| set.gone = vec![set.gone[0].clone(); GONE_MAX + 1], "not 2 and 13"),
            (|set| set.gone[0].tag = 7, "two keys have the tag 7"),
            (|set| set.keys[0].known.public.push('A'), "64 bytes"),
            (
                |set| set.gone[0].sealed = Some(SealedKey { under: 1, bytes: "AA==".into() }),
                "48 bytes",
            ),
            (|set| set.keys[1].published_unix_s = u64::MAX, "key 8: its times"),
            (|set| set.keys[1].retired_unix_s = Some(1), "key 8: its times"),
            (|set| set.keys[0].retired_unix_s = Some(9), "0 active keys of kind csk"),
            (|set| set.proven_by = 6, "key 6 proves"),
        ];
        for (change, reason) in changes {
            let mut set = set();
            change(&mut set);
            let error = proven(&set).read().expect_err(reason).to_string();
            assert!(error.contains(reason), "{reason}: {error}");
        }
        let long = ProvenSet { text: " ".repeat(KEY_SET_BYTES_MAX + 1), proof: String::new() };
        assert!(matches!(long.read(), Err(KeySetError::Size(_))));
        let bare = ProvenSet { proof: "AA==".into(), ..proven(&set()) };
        assert!(matches!(bare.read(), Err(KeySetError::Bytes(7, PROOF_BYTES, _))));
    }

    #[test]
    fn the_largest_set_fits() {
        let long = format!("{}.", vec!["a".repeat(49); 5].join("."));
        let tags = 60_000u16..;
        let mut keys: Vec<_> =
            tags.map(|tag| key(tag, KeyKind::Csk, None)).take(KEYS_MAX + GONE_MAX).collect();
        for key in &mut keys {
            key.published_unix_s = TIME_MAX_UNIX_S;
            key.ds_seen_unix_s = Some(TIME_MAX_UNIX_S);
        }
        keys[KEYS_MAX - 1].active_unix_s = Some(TIME_MAX_UNIX_S);
        let gone = keys.split_off(KEYS_MAX).into_iter().map(|key| key.known).collect();
        let largest = KeySet { zone: long, revision: u64::MAX, proven_by: 60_000, keys, gone };
        assert_eq!(proven(&largest).read().expect("it fits"), largest);
    }

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for kind in [KeyKind::Csk, KeyKind::Ksk, KeyKind::Zsk] {
            assert_eq!(kind.to_string().parse::<KeyKind>().expect("a kind"), kind);
            assert_eq!(serde_json::to_string(&kind).expect("a word"), format!("\"{kind}\""));
        }
        assert!("CSK".parse::<KeyKind>().is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_makes_a_reader_panic(
            place in any::<prop::sample::Index>(), byte in 0u8..128, garbage in ".{0,200}",
        ) {
            let mut text = proven(&set()).text.into_bytes();
            let place = place.index(text.len());
            text[place] = byte;
            let text = String::from_utf8(text).expect("ASCII");
            let _ = ProvenSet { text, ..proven(&set()) }.read();
            let _ = ProvenSet { text: garbage, ..proven(&set()) }.read();
        }
    }
}
