//! The zones of one source (a folder, the control plane), each as it was when it was good last.
//!
//! Pure: texts in, zones and complaints out. Invariant: a text that is wrong leaves its zone as it was.

use std::{collections::BTreeMap, sync::Arc};

use hickory_proto::rr::Name;
use serde::Serialize;

use crate::zone::{
    error::{Reason, ZoneError},
    master_file,
    tree::Zone,
};

/// The most zones of a source.
pub const ZONES_MAX: usize = 1000;

/// What is held of a source.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The text that was read last, good or not.
    text: Result<String, String>,
    zone: Option<Arc<Zone>>,
    error: Option<ZoneError>,
}

/// How it stands with one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Where it came from.
    pub source: String,
    /// The zone that serves; absent: it was never good.
    pub zone: Option<String>,
    /// The serial number of that zone.
    pub serial: Option<u32>,
    /// How many records it has.
    pub records: usize,
    /// Why the newest text is refused; absent: it serves.
    pub error: Option<String>,
}

impl Holding {
    /// Takes all texts of the source, by the name of where they come from; a name ends as `folder/NAME.zone` does, or is
    /// that of the zone. Those that are gone take their zones with them. Gives back what is newly wrong.
    pub(super) fn take(
        &mut self,
        texts: BTreeMap<String, Result<String, String>>,
    ) -> Vec<ZoneError> {
        let mut complaints = Vec::new();
        self.entries.retain(|source, _| texts.contains_key(source));
        for (source, text) in texts {
            if self.entries.get(&source).is_some_and(|entry| entry.text == text) {
                continue;
            }
            let before = self.entries.remove(&source).and_then(|entry| entry.zone);
            let refused = |reason: Reason| ZoneError {
                source: source.clone(),
                line: None,
                reason: reason.into(),
            };
            let read = match &text {
                _ if self.entries.len() >= ZONES_MAX => {
                    Err(refused(Reason::TooMuch { what: "zones", max: ZONES_MAX }))
                }
                Ok(text) => master_file::read(&source, name_of(&source), text),
                Err(error) => Err(refused(Reason::Read(error.clone()))),
            };
            let entry = match read {
                Ok(zone) => Entry { text, zone: Some(Arc::new(zone)), error: None },
                Err(error) => {
                    complaints.push(error.clone());
                    Entry { text, zone: before, error: Some(error) }
                }
            };
            self.entries.insert(source, entry);
        }
        complaints
    }

    /// The zones that serve.
    pub(super) fn zones(&self) -> impl Iterator<Item = &Arc<Zone>> {
        self.entries.values().filter_map(|entry| entry.zone.as_ref())
    }

    /// How it stands with every text.
    pub(super) fn standing(&self) -> impl Iterator<Item = Standing> + '_ {
        self.entries.iter().map(|(source, entry)| {
            let zone = entry.zone.as_deref();
            Standing {
                source: source.clone(),
                zone: zone.map(|zone| Name::to_string(zone.origin())),
                serial: zone.map(|zone| zone.authority().serial),
                records: zone.map_or(0, Zone::records),
                error: entry.error.as_ref().map(ToString::to_string),
            }
        })
    }
}

/// The name of the zone that a file is named after.
fn name_of(source: &str) -> &str {
    let file = source.rsplit_once('/').map_or(source, |(_, file)| file);
    file.strip_suffix(FILE_END).unwrap_or(file)
}

/// How the files of zones end.
pub(super) const FILE_END: &str = ".zone";
