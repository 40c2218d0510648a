//! The set that a zone's keys were made from last, beside them: `cdn.example.keyset`.
//!
//! A set is noted before the first file of a key is touched and again when the last one is, so that what a crash broke off
//! is done to its end before anything is signed.

use std::{fs::File, io};

use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};
use tidegate_contract::zone_keys::{KEY_SET_BYTES_MAX, KeySet, ProvenSet};

use super::key_file::{Folder, KeyFileError, read_bounded};

/// What is noted of a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The set that the keys are of; absent: none was taken yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) taken: Option<ProvenSet>,
    /// The set that is being taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) taking: Option<ProvenSet>,
}

impl Note {
    /// The set that was taken, read.
    pub(super) fn set(&self) -> Option<KeySet> {
        self.taken.as_ref().and_then(|set| set.read().ok())
    }

    /// Its revision; 0: none was taken.
    pub(super) fn revision(&self) -> u64 {
        self.set().map_or(0, |set| set.revision)
    }
}

impl Folder {
    /// What is noted of a zone; nothing where there is no file.
    pub(super) fn note(&self, zone: &Name) -> Result<Note, KeyFileError> {
        let path = self.of_zone(zone, ENDING)?;
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Note::default()),
            opened => opened,
        };
        let failed = |error| KeyFileError::File(path.clone(), error);
        let bytes = read_bounded(file.map_err(failed)?, NOTE_BYTES_MAX).map_err(failed)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| KeyFileError::Syntax(path, error.to_string()))
    }

    /// Notes it, for good before it returns.
    pub(super) fn write_note(&self, zone: &Name, note: &Note) -> Result<(), KeyFileError> {
        let path = self.of_zone(zone, ENDING)?;
        let text = serde_json::to_vec(note)
            .map_err(|error| KeyFileError::Syntax(path.clone(), error.to_string()))?;
        self.replace(&path, &text)
    }

    /// The zones of which something is noted.
    pub(super) fn noted(&self) -> Result<Vec<Name>, KeyFileError> {
        let zone = |path: &std::path::PathBuf| {
            let mut zone = Name::from_ascii(path.file_stem()?.to_str()?).ok()?;
            zone.set_fqdn(true);
            Some(zone.to_lowercase())
        };
        Ok(self.all(ENDING)?.iter().filter_map(zone).collect())
    }
}

const ENDING: &str = "keyset";
/// Two sets, each at worst twice as long as text within JSON.
const NOTE_BYTES_MAX: u64 = 5 * KEY_SET_BYTES_MAX as u64;
