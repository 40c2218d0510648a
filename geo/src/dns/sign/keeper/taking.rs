//! Makes the files of a zone those of a set.
//!
//! The set is noted first and again at the end; what is done between the two can be begun anew at any point.

use hickory_proto::rr::Name;
use tidegate_contract::zone_keys::{KeySet, KeySetError, ProvenSet};

use super::super::{
    key_file::{Folder, Key},
    key_set::{FileStep, Held, SetError, plan},
    seal::Secret,
    set_file::Note,
};

/// Makes the keys of a zone those of a set; whether anything was to be done.
pub(super) fn take_one(folder: &Folder, zone: &str, proven: &ProvenSet) -> Result<bool, SetError> {
    let set = proven.read()?;
    let apex = apex(zone, &set)?;
    let note = folder.note(&apex)?;
    if set.revision < note.revision() || note.taken.as_ref() == Some(proven) {
        return Ok(false);
    }
    if set.revision == note.revision() {
        return Err(SetError::Forked(set.revision));
    }
    apply(folder, &apex, note, proven, &set)?;
    Ok(true)
}

/// Finishes what a crash broke off.
pub(super) fn finish(folder: &Folder, apex: &Name) -> Result<(), SetError> {
    let note = folder.note(apex)?;
    let Some(proven) = note.taking.clone() else { return Ok(()) };
    apply(folder, apex, note, &proven, &proven.read()?)
}

fn apply(
    folder: &Folder,
    apex: &Name,
    note: Note,
    proven: &ProvenSet,
    set: &KeySet,
) -> Result<(), SetError> {
    let keys = folder.read()?;
    let keys: Vec<Key> = keys.into_iter().filter(|key| key.zone == *apex).collect();
    let steps = plan(&held(folder, &keys)?, set, proven)?;
    folder.write_note(apex, &Note { taking: Some(proven.clone()), ..note })?;
    for step in steps {
        match step {
            FileStep::Make(life, der) => folder.make(apex, &life, &der)?,
            FileStep::Times(life) => folder.write_times(apex, &life)?,
            FileStep::Remove(kind, tag) => folder.remove(apex, kind, tag)?,
        }
    }
    folder.write_note(apex, &Note { taken: Some(proven.clone()), taking: None })?;
    Ok(())
}

/// The apex, when what is told of a zone is of that zone.
fn apex(zone: &str, set: &KeySet) -> Result<Name, SetError> {
    if zone != set.zone {
        return Err(SetError::Unproven);
    }
    let bad = |_| {
        let zone = zone.chars().take(64).collect();
        SetError::Form(KeySetError::Zone(zone))
    };
    Name::from_ascii(zone).map_err(bad)
}

pub(super) fn held(folder: &Folder, keys: &[Key]) -> Result<Vec<Held>, SetError> {
    let held = |key: &Key| {
        let of_key = Secret::of(&folder.secret(key)?);
        let (secret, public) = of_key.ok_or(SetError::Closed(key.life.tag))?;
        Ok(Held { life: key.life, public, secret })
    };
    keys.iter().map(held).collect()
}
