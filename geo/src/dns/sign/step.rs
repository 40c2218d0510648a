//! The next step of a roll-over, decided alike for whoever takes it: the command line at a node's folder, and a node that
//! is asked by the control plane.
//!
//! Pure. Invariant: a step is named only when it is due, so whoever takes what is named here never takes it too early.

use std::time::SystemTime;

use super::rollover::{Holding, Kind, Life, Next, SchemeError, scheme};

/// A step that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Make a successor and publish it.
    Publish,
    /// Note that the parent has the DS record of this key.
    Vouch(u16),
    /// `new` signs from now on, `old` no more.
    Activate {
        /// The successor.
        new: u16,
        /// Whom it succeeds.
        old: u16,
    },
    /// Take this key away.
    Remove(u16),
}

/// Why no step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// The keys do not fit together.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// The zone has no key of this kind.
    #[error("there is no {0}")]
    NoKind(Kind),
    /// The zone has two kinds, and none was named.
    #[error("there are a ksk and a zsk: name one with --kind")]
    WhichKind,
    /// No key waits for its DS record.
    #[error("{0}: there is no new key whose DS is waited for")]
    NotAwaited(Kind),
    /// What is waited for.
    #[error("{0}: not yet")]
    NotYet(Kind, Next),
}

/// The step that is due for the keys of a zone, and of which kind; with `ds_seen` it is that the parent has the DS record of
/// the new key.
///
/// # Errors
/// [`NotNow`]
pub fn step(
    holding: &Holding,
    keys: &[Life],
    kind: Option<Kind>,
    ds_seen: bool,
    now: SystemTime,
) -> Result<(Kind, Act), NotNow> {
    scheme(keys)?;
    let kind = match (kind, &kinds(keys)[..]) {
        (Some(kind), there) if there.contains(&kind) => kind,
        (None, [only]) => *only,
        (Some(kind), _) => return Err(NotNow::NoKind(kind)),
        (None, _) => return Err(NotNow::WhichKind),
    };
    let act = match (holding.next(kind, keys, now), ds_seen) {
        (Next::WaitForDs(tag), true) => Act::Vouch(tag),
        (_, true) => return Err(NotNow::NotAwaited(kind)),
        (next @ (Next::Wait(..) | Next::WaitForDs(_)), false) => {
            return Err(NotNow::NotYet(kind, next));
        }
        (Next::Publish, false) => Act::Publish,
        (Next::Activate { new, old }, false) => Act::Activate { new, old },
        (Next::Remove(tag), false) => Act::Remove(tag),
    };
    Ok((kind, act))
}

impl Act {
    /// Writes the step into the times of the keys; the new key of [`Act::Publish`] is added by who makes it, and that of
    /// [`Act::Remove`] is taken out.
    pub fn take(self, keys: &mut Vec<Life>, now: SystemTime) {
        if let Self::Remove(tag) = self {
            keys.retain(|key| key.tag != tag);
        }
        for Life { tag, times, .. } in keys {
            match self {
                Self::Vouch(new) if new == *tag => times.ds_seen = Some(now),
                Self::Activate { new, .. } if new == *tag => times.active = Some(now),
                Self::Activate { old, .. } if old == *tag => times.retired = Some(now),
                _ => {}
            }
        }
    }
}

/// The kinds of keys that there are.
#[must_use]
pub fn kinds(keys: &[Life]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = keys.iter().map(|key| key.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{super::rollover::Times, *};

    #[test]
    fn the_steps_of_a_roll_over_follow_one_another_and_none_is_taken_twice() {
        let holding = Holding {
            dnskey_ttl: Duration::from_secs(10),
            ds_ttl: Duration::from_secs(20),
            ttl_max: Duration::from_secs(30),
            margin: Duration::ZERO,
        };
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let key = |tag, active| Life {
            tag,
            kind: Kind::Csk,
            times: Times { active, ..Times::published(at(0)) },
        };
        let mut keys = vec![key(1, Some(at(0)))];
        let step = |keys: &[Life], ds_seen, now| step(&holding, keys, None, ds_seen, at(now));
        assert_eq!(step(&keys, true, 1), Err(NotNow::NotAwaited(Kind::Csk)));
        assert_eq!(step(&keys, false, 1), Ok((Kind::Csk, Act::Publish)));
        keys.push(key(2, None));
        let waits = Err(NotNow::NotYet(Kind::Csk, Next::WaitForDs(2)));
        assert_eq!(step(&keys, false, 99), waits);
        assert_eq!(step(&keys, true, 1), Ok((Kind::Csk, Act::Vouch(2))));
        Act::Vouch(2).take(&mut keys, at(1));
        assert!(matches!(step(&keys, false, 20), Err(NotNow::NotYet(_, Next::Wait(..)))));
        assert_eq!(step(&keys, true, 21), Err(NotNow::NotAwaited(Kind::Csk)));
        let activate = Act::Activate { new: 2, old: 1 };
        assert_eq!(step(&keys, false, 21), Ok((Kind::Csk, activate)));
        activate.take(&mut keys, at(21));
        assert!(step(&keys, false, 50).is_err());
        assert_eq!(step(&keys, false, 51), Ok((Kind::Csk, Act::Remove(1))));
        Act::Remove(1).take(&mut keys, at(51));
        assert_eq!(keys.iter().map(|key| key.tag).collect::<Vec<_>>(), [2]);
        assert_eq!(step(&keys, false, 51), Ok((Kind::Csk, Act::Publish)));
    }

    #[test]
    fn of_two_kinds_one_is_named() {
        let active = Some(UNIX_EPOCH);
        let key =
            |tag, kind| Life { tag, kind, times: Times { active, ..Times::published(UNIX_EPOCH) } };
        let holding = Holding {
            dnskey_ttl: Duration::ZERO,
            ds_ttl: Duration::ZERO,
            ttl_max: Duration::ZERO,
            margin: Duration::ZERO,
        };
        let keys = [key(1, Kind::Ksk), key(2, Kind::Zsk)];
        let step = |keys: &[Life], kind| step(&holding, keys, kind, false, UNIX_EPOCH);
        assert_eq!(step(&keys, None), Err(NotNow::WhichKind));
        assert_eq!(step(&keys, Some(Kind::Csk)), Err(NotNow::NoKind(Kind::Csk)));
        assert_eq!(step(&keys, Some(Kind::Zsk)), Ok((Kind::Zsk, Act::Publish)));
        assert!(matches!(step(&keys[..1], None), Err(NotNow::Scheme(_))));
    }
}
