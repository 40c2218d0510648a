//! The zones of one source (a folder, the control plane), each as it was when it was good last.
//!
//! Pure: texts in, zones and complaints out. Invariant: a text that is wrong leaves its zone as it was.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use hickory_proto::rr::Name;
use serde::Serialize;
use tidegate_contract::{
    resource::Kind,
    zone::{self, Zone},
};

use crate::zone::error::{Reason, Refused};

/// What a source says of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// What the zone is called.
    pub(super) name: String,
    pub(super) text: Text,
}

/// The text of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// As it was when it was told last.
    Same,
    /// This.
    Is(String),
    /// It cannot be had.
    Unread(String),
}

/// What is held of a source.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Of the text that was told last, good or not; or why there was none.
    digest: Result<[u8; 32], String>,
    zone: Option<Arc<Zone>>,
    error: Option<Refused>,
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
    /// Takes all that the source says, by where it came from. What is gone takes its zone with it. Gives back what is
    /// newly wrong.
    pub(super) fn take(&mut self, told: BTreeMap<String, Told>) -> Vec<Refused> {
        let mut complaints = Vec::new();
        self.entries.retain(|source, _| told.contains_key(source));
        for (source, Told { name, text }) in told {
            let digest = match &text {
                Text::Same => continue,
                Text::Is(text) => Ok(fingerprint(text)),
                Text::Unread(error) => Err(error.clone()),
            };
            if self.entries.get(&source).is_some_and(|entry| entry.digest == digest) {
                continue;
            }
            let zone = self.entries.remove(&source).and_then(|entry| entry.zone);
            let entry = match self.read(&source, &name, &text) {
                Ok(zone) => Entry { digest, zone: Some(Arc::new(zone)), error: None },
                Err(error) => {
                    complaints.push(error.clone());
                    Entry { digest, zone, error: Some(error) }
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

    /// Reads a zone that stands beside the others.
    fn read(&self, source: &str, name: &str, text: &Text) -> Result<Zone, Refused> {
        let refused = |reason: Reason| Refused { source: source.to_owned(), reason };
        // As many as a control plane has.
        let zones_max = Kind::DnsZone.count_max();
        if self.entries.len() >= zones_max {
            return Err(refused(Reason::TooMany(zones_max)));
        }
        let zone = match text {
            Text::Is(text) => zone::read(name, text).map_err(|error| refused(error.into()))?,
            Text::Unread(error) => return Err(refused(Reason::Unread(error.clone()))),
            Text::Same => return Err(refused(Reason::Unread("nothing was told".to_owned()))),
        };
        let has = |entry: &Entry| {
            entry.zone.as_ref().is_some_and(|other| other.origin() == zone.origin())
        };
        match self.entries.iter().find(|(_, entry)| has(entry)) {
            Some((other, _)) => Err(refused(Reason::Taken(other.clone()))),
            None => Ok(zone),
        }
    }
}

fn fingerprint(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}
