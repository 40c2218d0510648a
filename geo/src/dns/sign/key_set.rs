//! A zone's keys as a set: what a step makes of them, and what a node does to have them.
//!
//! A new key is sealed under the one of its kind that signs, so from any key that a node has a chain of openings leads to
//! those that came after it. The set is proven with the key that vouches for all others: who passes it on can hold it back,
//! and neither add a key, take one away nor shorten a wait. Pure but for the cipher. Invariant: a node takes no set that is
//! not proven, does not know a key that the node has, takes a step back, or cannot be signed with.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tidegate_contract::zone_keys::{
    GONE_MAX, KeyKind, KeySet, KeySetError, KnownKey, PUBLIC_BYTES, ProvenSet, SealedKey,
    StandingKey, bytes,
};

use super::{
    key_file::KeyFileError,
    rollover::{Kind, Life, SchemeError, State, Times, scheme},
    seal::{Bound, Secret},
    step::Act,
};

/// A key that a node has.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) life: Life,
    pub(super) public: [u8; PUBLIC_BYTES],
    pub(super) secret: Secret,
}

/// One thing that is done to the files of a zone.
pub(super) enum FileStep {
    /// Write a key that is not there.
    Make(Life, PrivatePkcs8KeyDer<'static>),
    /// Write how far a key is.
    Times(Life),
    /// Take a key away, if it is there.
    Remove(Kind, u16),
}

/// Why a set is not taken, or none is made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetError {
    /// The node has no key of the zone to begin from.
    #[error("there is no key of the zone here: the folder of keys comes by hand once")]
    NoKeys,
    /// The node has a key that the set does not name.
    #[error("key {0} is here and the set does not know it: was a step taken by hand?")]
    Unknown(u16),
    /// The node has taken a step that the set has not.
    #[error("key {0} is further here than in the set: was a step taken by hand?")]
    Ahead(u16),
    /// A key that the node does not have and cannot open.
    #[error(
        "key {0} is not here and cannot be opened with those that are: copy the folder of keys"
    )]
    Closed(u16),
    /// Nobody who has the keys made it.
    #[error("the set is not proven by the key that it names")]
    Unproven,
    /// Another set of a revision that was taken.
    #[error("another set of revision {0} was taken before")]
    Forked(u64),
    /// It cannot be signed with.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// It has not the form.
    #[error(transparent)]
    Form(#[from] KeySetError),
    /// A file.
    #[error(transparent)]
    File(#[from] KeyFileError),
}

/// The set of a zone after a step; `new` is the key that [`Act::Publish`] publishes. `before` is the set that the node took
/// last: what it knows of sealed keys and of those that are gone is passed on.
pub(super) fn propose(
    zone: &str,
    revision: u64,
    held: &[Held],
    before: Option<&KeySet>,
    (act, new): (Act, Option<&Held>),
    now: SystemTime,
) -> Result<ProvenSet, SetError> {
    let mut lives: Vec<Life> = held.iter().map(|key| key.life).collect();
    act.take(&mut lives, now);
    lives.extend(new.map(|key| key.life));
    scheme(&lives)?;
    let known = |key: &Held| {
        let is_it = |known: &&KnownKey| is_same(known, key);
        let sealed = before.and_then(|set| set.known().find(is_it)?.sealed.clone());
        KnownKey {
            tag: key.life.tag,
            kind: key.life.kind.into(),
            public: STANDARD.encode(key.public),
            sealed,
        }
    };
    let mut keys = vec![];
    for life in &lives {
        let key = held.iter().chain(new).find(|key| key.life.tag == life.tag);
        let mut known = known(key.ok_or(SetError::NoKeys)?);
        if let Some(new) = new.filter(|new| new.life.tag == life.tag) {
            let signs =
                |key: &&Held| key.life.kind == life.kind && key.life.times.state() == State::Active;
            let under = held.iter().find(signs).ok_or(SetError::NoKeys)?;
            let bound = Bound {
                zone,
                tag: life.tag,
                kind: life.kind,
                public: &new.public,
                under: under.life.tag,
            };
            let bytes = STANDARD.encode(under.secret.seal(&new.secret, bound));
            known.sealed = Some(SealedKey { under: under.life.tag, bytes });
        }
        keys.push(standing(known, &life.times));
    }
    let mut gone: Vec<KnownKey> = vec![];
    let of_before = before.into_iter().flat_map(KeySet::known).cloned();
    for key in of_before.chain(held.iter().map(known)) {
        let is_it = |tag: u16| tag == key.tag;
        if !lives.iter().any(|life| is_it(life.tag)) && !gone.iter().any(|one| is_it(one.tag)) {
            gone.push(key);
        }
    }
    gone.drain(..gone.len().saturating_sub(GONE_MAX));
    let vouches = |life: &&Life| life.kind.signs_keys() && life.times.state() == State::Active;
    let proven_by = lives.iter().find(vouches).ok_or(SetError::NoKeys)?.tag;
    let set = KeySet { zone: zone.to_owned(), revision, proven_by, keys, gone };
    let text = serde_json::to_string(&set).map_err(KeySetError::from)?;
    let prover = held.iter().chain(new).find(|key| key.life.tag == proven_by);
    let proof = prover.ok_or(SetError::NoKeys)?.secret.prove(zone, &text);
    let proven = ProvenSet { text, proof: STANDARD.encode(proof) };
    proven.read()?;
    Ok(proven)
}

/// What is to be done so that the keys of a zone are those of a set, in an order that can be begun anew at any point.
pub(super) fn plan(
    held: &[Held],
    set: &KeySet,
    proven: &ProvenSet,
) -> Result<Vec<FileStep>, SetError> {
    if held.is_empty() {
        return Err(SetError::NoKeys);
    }
    let lives: Vec<Life> = set.keys.iter().map(life).collect();
    scheme(&lives)?;
    for key in held {
        let tag = key.life.tag;
        let is_it = |known: &&KnownKey| is_same(known, key);
        let known = set.known().find(is_it).ok_or(SetError::Unknown(tag))?;
        if let Some(life) = lives.iter().find(|life| life.tag == known.tag)
            && !is_towards(&key.life.times, &life.times)
        {
            return Err(SetError::Ahead(tag));
        }
    }
    let secrets = opened(held, set);
    let proof = bytes(&proven.proof).ok_or(SetError::Unproven)?;
    let prover = secrets.get(&set.proven_by).ok_or(SetError::Closed(set.proven_by))?;
    if !prover.has_proven(&set.zone, &proven.text, &proof) {
        return Err(SetError::Unproven);
    }
    let (mut make, mut times) = (vec![], vec![]);
    for (life, key) in lives.iter().zip(&set.keys) {
        match held.iter().find(|held| held.life.tag == life.tag) {
            Some(held) if is_towards(&life.times, &held.life.times) => {}
            Some(_) => times.push(*life),
            None => {
                let closed = || SetError::Closed(life.tag);
                let public = key.known.public_bytes().ok_or_else(closed)?;
                let secret = secrets.get(&life.tag).ok_or_else(closed)?;
                make.push((*life, secret.der(&public).ok_or_else(closed)?));
            }
        }
    }
    // One that signs no more before the one that does: between the two the zone is refused, not signed by two keys.
    make.sort_by_key(|(life, _)| life.times.state() == State::Active);
    times.sort_by_key(|life| life.times.state() != State::Retired);
    let (signing, others): (Vec<_>, Vec<_>) =
        make.into_iter().partition(|(life, _)| life.times.state() == State::Active);
    let written = |(life, der)| FileStep::Make(life, der);
    let removed = set.gone.iter().map(|key| FileStep::Remove(key.kind.into(), key.tag));
    let steps = others.into_iter().map(written).chain(times.into_iter().map(FileStep::Times));
    Ok(steps.chain(signing.into_iter().map(written)).chain(removed).collect())
}

/// The keys that a node has or can open, by tag.
fn opened(held: &[Held], set: &KeySet) -> HashMap<u16, Secret> {
    let mut secrets: HashMap<u16, Secret> =
        held.iter().map(|key| (key.life.tag, key.secret.clone())).collect();
    // Each round opens at least one, or is the last.
    loop {
        let before = secrets.len();
        for known in set.known() {
            if secrets.contains_key(&known.tag) {
                continue;
            }
            let opened = known.sealed.as_ref().and_then(|sealed| {
                let public = known.public_bytes()?;
                let bound = Bound {
                    zone: &set.zone,
                    tag: known.tag,
                    kind: known.kind.into(),
                    public: &public,
                    under: sealed.under,
                };
                secrets.get(&sealed.under)?.open(sealed.sealed_bytes()?, bound)
            });
            if let Some(secret) = opened {
                secrets.insert(known.tag, secret);
            }
        }
        if secrets.len() == before {
            return secrets;
        }
    }
}

fn is_same(known: &KnownKey, key: &Held) -> bool {
    let kind: Kind = known.kind.into();
    (known.tag, kind) == (key.life.tag, key.life.kind) && known.public_bytes() == Some(key.public)
}

/// Whether every step of `one` is one of `other`, taken at the same second.
fn is_towards(one: &Times, other: &Times) -> bool {
    let steps = |times: &Times| {
        [Some(times.published), times.ds_seen, times.active, times.retired]
            .map(|time| time.map(seconds))
    };
    steps(one).iter().zip(steps(other)).all(|(one, other)| one.is_none() || *one == other)
}

fn standing(known: KnownKey, times: &Times) -> StandingKey {
    StandingKey {
        known,
        published_unix_s: seconds(times.published),
        ds_seen_unix_s: times.ds_seen.map(seconds),
        active_unix_s: times.active.map(seconds),
        retired_unix_s: times.retired.map(seconds),
    }
}

fn life(key: &StandingKey) -> Life {
    // What was read has no time beyond what a clock shows.
    let at = |unix_s: u64| UNIX_EPOCH + Duration::from_secs(unix_s);
    let times = Times {
        published: at(key.published_unix_s),
        ds_seen: key.ds_seen_unix_s.map(at),
        active: key.active_unix_s.map(at),
        retired: key.retired_unix_s.map(at),
    };
    Life { tag: key.known.tag, kind: key.known.kind.into(), times }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl From<KeyKind> for Kind {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Csk => Self::Csk,
            KeyKind::Ksk => Self::Ksk,
            KeyKind::Zsk => Self::Zsk,
        }
    }
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Csk => Self::Csk,
            Kind::Ksk => Self::Ksk,
            Kind::Zsk => Self::Zsk,
        }
    }
}
