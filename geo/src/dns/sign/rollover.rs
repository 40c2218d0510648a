//! When a key may take the next step of its life, so that no validator ever holds a signature without its key.
//!
//! A validator keeps keys, signatures and DS records for as long as their TTL says, so every step waits until whoever
//! holds something older holds what this step needs (RFC 6781 4.1, RFC 7583): the successor is published and waited for
//! until nobody holds keys without it; one that the parent vouches for also waits until its DS, beside the old one's, is
//! seen everywhere; then it signs; the old one stays published until no signature of its own is held any more. Pure:
//! times in, verdict out. Invariant: at every moment of a roll-over both what is fresh and what is cached validates.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// What a key signs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Keys and data: the only key of its zone.
    Csk,
    /// The keys of the zone; the parent vouches for it.
    Ksk,
    /// The data of the zone.
    Zsk,
}

/// Where in its life a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Known to validators, does not sign data yet.
    Published,
    /// Signs.
    Active,
    /// Signs data no more, but signatures of it are still held somewhere.
    Retired,
}

/// When a key took its steps; a step that has no time was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Since when it is among the zone's keys.
    #[serde(with = "humantime_serde")]
    pub published: SystemTime,
    /// Since when the parent has its DS, as the operator says.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub ds_seen: Option<SystemTime>,
    /// Since when it signs.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub active: Option<SystemTime>,
    /// Since when another signs in its place.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub retired: Option<SystemTime>,
}

/// How long others may hold what they got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The TTL of the zone's keys.
    pub dnskey_ttl: Duration,
    /// The TTL of the DS records at the parent.
    pub ds_ttl: Duration,
    /// The longest TTL of signed data.
    pub ttl_max: Duration,
    /// What a change of the files takes until the last node of ours has it, and more.
    pub margin: Duration,
}

/// One key of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its tag, unique in the zone.
    pub tag: u16,
    /// What it signs.
    pub kind: Kind,
    /// Its steps.
    pub times: Times,
}

/// What is to be done next in a roll-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Make a successor and publish it.
    Publish,
    /// Wait until the parent has the DS of this key, beside that of the old one.
    WaitForDs(u16),
    /// Wait until then; what the wait is for.
    Wait(SystemTime, &'static str),
    /// `new` signs from now on, `old` no more.
    Activate {
        /// The successor.
        new: u16,
        /// Whom it succeeds.
        old: u16,
    },
    /// Nothing of this key is held by anybody: take it away.
    Remove(u16),
}

/// Why keys cannot be those of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// A zone has one key for everything, or two kinds.
    #[error("a csk stands beside a ksk or zsk")]
    Mixed,
    /// Nothing signs, or two do.
    #[error("{1} active keys of kind {0}, and one is needed")]
    Active(Kind, usize),
    /// A second successor, or a second one to be removed.
    #[error("more than one {0} is {1}")]
    Many(Kind, State),
    /// Two keys share a tag.
    #[error("two keys have the tag {0}")]
    Tag(u16),
    /// Its steps are out of order.
    #[error("the key {0} was retired, but was never active")]
    Order(u16),
}

impl Kind {
    /// Whether it signs the zone's keys, and the parent vouches for it.
    #[must_use]
    pub fn signs_keys(self) -> bool {
        self != Self::Zsk
    }

    /// Whether it signs the zone's data.
    #[must_use]
    pub fn signs_data(self) -> bool {
        self != Self::Ksk
    }
}

impl Times {
    /// A key that is published now.
    #[must_use]
    pub fn published(now: SystemTime) -> Self {
        Self { published: now, ds_seen: None, active: None, retired: None }
    }

    /// Where in its life the key is.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.active, self.retired) {
            (_, Some(_)) => State::Retired,
            (Some(_), None) => State::Active,
            (None, None) => State::Published,
        }
    }
}

impl Holding {
    /// What comes next for the keys of a kind, all of one zone, and of a good [`scheme`].
    #[must_use]
    pub fn next(&self, kind: Kind, keys: &[Life], now: SystemTime) -> Next {
        let of_state = |state| {
            let is_one = move |key: &&Life| key.kind == kind && key.times.state() == state;
            keys.iter().find(is_one)
        };
        if let Some(old) = of_state(State::Retired) {
            let since = old.times.retired.unwrap_or(now);
            let free = since + self.held_after_retirement(kind) + self.margin;
            return if now < free {
                Next::Wait(free, "until nobody holds a signature of the old key")
            } else {
                Next::Remove(old.tag)
            };
        }
        let (Some(old), Some(new)) = (of_state(State::Active), of_state(State::Published)) else {
            return Next::Publish;
        };
        let known = new.times.published + self.dnskey_ttl + self.margin;
        let vouched = match new.times.ds_seen {
            Some(seen) if kind.signs_keys() => seen + self.ds_ttl + self.margin,
            None if kind.signs_keys() => return Next::WaitForDs(new.tag),
            _ => known,
        };
        if now < known {
            Next::Wait(known, "until nobody holds the zone's keys without the new one")
        } else if now < vouched {
            Next::Wait(vouched, "until nobody holds the parent's DS records without the new one")
        } else {
            Next::Activate { new: new.tag, old: old.tag }
        }
    }

    fn held_after_retirement(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Ksk => self.dnskey_ttl,
            Kind::Zsk => self.ttl_max,
            Kind::Csk => self.dnskey_ttl.max(self.ttl_max),
        }
    }
}

/// Whether keys are those of a zone that can be signed.
///
/// # Errors
/// [`SchemeError`]
pub fn scheme(keys: &[Life]) -> Result<(), SchemeError> {
    let count = |kind, state| {
        let is_one = |key: &&Life| key.kind == kind && key.times.state() == state;
        keys.iter().filter(is_one).count()
    };
    let mut tags: Vec<u16> = keys.iter().map(|key| key.tag).collect();
    tags.sort_unstable();
    if let Some(pair) = tags.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(SchemeError::Tag(pair[0]));
    }
    if let Some(key) =
        keys.iter().find(|key| key.times.retired.is_some() && key.times.active.is_none())
    {
        return Err(SchemeError::Order(key.tag));
    }
    let has_csk = keys.iter().any(|key| key.kind == Kind::Csk);
    if has_csk && keys.iter().any(|key| key.kind != Kind::Csk) {
        return Err(SchemeError::Mixed);
    }
    let kinds: &[Kind] = if has_csk { &[Kind::Csk] } else { &[Kind::Ksk, Kind::Zsk] };
    for kind in kinds {
        match count(*kind, State::Active) {
            1 => {}
            other => return Err(SchemeError::Active(*kind, other)),
        }
        for state in [State::Published, State::Retired] {
            if count(*kind, state) > 1 {
                return Err(SchemeError::Many(*kind, state));
            }
        }
    }
    Ok(())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csk => "csk",
            Self::Ksk => "ksk",
            Self::Zsk => "zsk",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLDING: Holding = Holding {
        dnskey_ttl: Duration::from_secs(100),
        ds_ttl: Duration::from_secs(1000),
        ttl_max: Duration::from_secs(300),
        margin: Duration::from_secs(10),
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A key by its times: published, DS seen, active, retired.
    fn key(tag: u16, kind: Kind, times: [Option<u64>; 4]) -> Life {
        let [published, ds_seen, active, retired] = times.map(|time| time.map(at));
        let published = published.expect("every key has been published");
        Life { tag, kind, times: Times { published, ds_seen, active, retired } }
    }

    #[test]
    fn every_step_waits_for_what_others_hold() {
        use Kind::{Csk, Ksk, Zsk};
        let old = |kind| key(1, kind, [Some(0), Some(0), Some(0), None]);
        let gone = |kind, at| key(1, kind, [Some(0), Some(0), Some(0), Some(at)]);
        let new = |kind, ds_seen| key(2, kind, [Some(5000), ds_seen, None, None]);
        let signs = |kind| key(2, kind, [Some(5000), Some(5000), Some(7000), None]);
        let keys = "until nobody holds the zone's keys without the new one";
        let ds = "until nobody holds the parent's DS records without the new one";
        let signatures = "until nobody holds a signature of the old key";
        let activate = Next::Activate { new: 2, old: 1 };
        for (keys, now, expected) in [
            (vec![old(Zsk)], 9999, Next::Publish),
            (vec![old(Zsk), new(Zsk, None)], 5109, Next::Wait(at(5110), keys)),
            (vec![old(Zsk), new(Zsk, None)], 5110, activate),
            (vec![old(Ksk), new(Ksk, None)], 9999, Next::WaitForDs(2)),
            (vec![old(Ksk), new(Ksk, Some(5000))], 5109, Next::Wait(at(5110), keys)),
            (vec![old(Ksk), new(Ksk, Some(5000))], 6009, Next::Wait(at(6010), ds)),
            (vec![old(Csk), new(Csk, Some(5500))], 6509, Next::Wait(at(6510), ds)),
            (vec![old(Csk), new(Csk, Some(5500))], 6510, activate),
            (vec![gone(Zsk, 7000), signs(Zsk)], 7309, Next::Wait(at(7310), signatures)),
            (vec![gone(Zsk, 7000), signs(Zsk)], 7310, Next::Remove(1)),
            (vec![gone(Ksk, 7000), signs(Ksk)], 7109, Next::Wait(at(7110), signatures)),
            (vec![gone(Ksk, 7000), signs(Ksk)], 7110, Next::Remove(1)),
            (vec![gone(Csk, 7000), signs(Csk)], 7309, Next::Wait(at(7310), signatures)),
            (vec![gone(Csk, 7000), signs(Csk)], 7310, Next::Remove(1)),
        ] {
            assert_eq!(HOLDING.next(keys[0].kind, &keys, at(now)), expected, "{keys:?} at {now}");
        }
    }

    #[test]
    fn a_zone_has_one_scheme_and_one_key_that_signs() {
        use Kind::{Csk, Ksk, Zsk};
        let active = |tag, kind| key(tag, kind, [Some(0), None, Some(0), None]);
        let published = |tag, kind| key(tag, kind, [Some(0), None, None, None]);
        for (keys, expected) in [
            (vec![active(1, Csk)], Ok(())),
            (vec![active(1, Ksk), active(2, Zsk), published(3, Zsk)], Ok(())),
            (vec![active(1, Ksk), active(1, Zsk)], Err(SchemeError::Tag(1))),
            (vec![active(1, Csk), active(2, Zsk)], Err(SchemeError::Mixed)),
            (vec![active(1, Ksk)], Err(SchemeError::Active(Zsk, 0))),
            (vec![published(1, Csk)], Err(SchemeError::Active(Csk, 0))),
            (vec![active(1, Csk), active(2, Csk)], Err(SchemeError::Active(Csk, 2))),
            (
                vec![active(1, Csk), published(2, Csk), published(3, Csk)],
                Err(SchemeError::Many(Csk, State::Published)),
            ),
            (
                vec![active(1, Csk), key(2, Csk, [Some(0), None, None, Some(1)])],
                Err(SchemeError::Order(2)),
            ),
        ] {
            assert_eq!(scheme(&keys), expected, "{keys:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whoever follows every step at once never leaves a validator with something it cannot check: what it holds of
        /// keys, DS records and signatures is as old as their TTLs allow.
        #[test]
        fn a_validator_can_check_at_every_moment(
            kind in prop_oneof![Just(Kind::Csk), Just(Kind::Zsk)],
            dnskey_ttl in 0u64..30, ds_ttl in 0u64..30, ttl_max in 0u64..30, ds_seen in 0u64..40,
        ) {
            let seconds = Duration::from_secs;
            let holding = Holding {
                dnskey_ttl: seconds(dnskey_ttl), ds_ttl: seconds(ds_ttl), ttl_max: seconds(ttl_max), margin: seconds(1),
            };
            let mut keys = vec![key(1, kind, [Some(0), Some(0), Some(0), None])];
            // At each second: the published tags, the tag that signs, the tags that the parent vouches for.
            let mut history: Vec<(Vec<u16>, u16, Vec<u16>)> = vec![];
            for second in 0..200u64 {
                let now = at(1000 + second);
                match holding.next(kind, &keys, now) {
                    Next::Publish if keys.len() == 1 && keys[0].tag == 1 => {
                        keys.push(Life { tag: 2, kind, times: Times::published(now) });
                    }
                    Next::WaitForDs(tag) if second >= ds_seen => {
                        let new = keys.iter_mut().find(|key| key.tag == tag).expect("it is there");
                        new.times.ds_seen = Some(now);
                    }
                    Next::Activate { .. } => {
                        keys[0].times.retired = Some(now);
                        keys[1].times.active = Some(now);
                    }
                    Next::Remove(tag) => keys.retain(|key| key.tag != tag),
                    _ => {}
                }
                prop_assert_eq!(scheme_of_kind(&keys), Ok(()));
                let signing = keys.iter().find(|key| key.times.state() == State::Active);
                let vouched = keys.iter().filter(|key| key.times.ds_seen.is_some());
                history.push((
                    keys.iter().map(|key| key.tag).collect(),
                    signing.expect("somebody signs").tag,
                    vouched.map(|key| key.tag).collect(),
                ));
            }
            prop_assert_eq!(keys.len(), 1);
            for now in 0..200usize {
                let held = |ttl: u64| now.saturating_sub(ttl as usize)..=now;
                for keys_at in held(dnskey_ttl) {
                    let (published, _, _) = &history[keys_at];
                    for data_at in held(ttl_max) {
                        prop_assert!(published.contains(&history[data_at].1), "{data_at} by keys of {keys_at}");
                    }
                    if kind.signs_keys() {
                        for ds_at in held(ds_ttl) {
                            let vouched = &history[ds_at].2;
                            prop_assert!(vouched.iter().any(|tag| published.contains(tag)), "{ds_at} {keys_at}");
                        }
                    }
                }
            }
        }
    }

    /// A zone of ZSKs alone is no scheme; the simulation looks at one kind.
    fn scheme_of_kind(keys: &[Life]) -> Result<(), SchemeError> {
        let ksk = key(9, Kind::Ksk, [Some(0), None, Some(0), None]);
        let with_ksk: Vec<Life> = keys.iter().copied().chain([ksk]).collect();
        scheme(if keys[0].kind == Kind::Zsk { &with_ksk } else { keys })
    }
}
