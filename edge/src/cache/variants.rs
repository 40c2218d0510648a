//! The variants of one resource: by which request headers it varies, and which variants are stored.
//!
//! Stands under the key of the resource; every variant is an object under a key of its own. Invariant: only variants
//! of the newest `Vary` are listed, and never more than [`VARIANTS_MAX`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::variance::Vary;

/// The most variants of one resource; the oldest goes first. A resource with more differs for every client.
pub const VARIANTS_MAX: usize = 64;

/// A record of variants.
#[derive(Debug)]
pub struct Variants {
    /// By which headers the resource varies.
    pub vary: Vary,
    /// The hashes of the stored variants, oldest first.
    pub list: Vec<[u8; 16]>,
    is_on_disk: AtomicBool,
}

/// What becomes of a record when a variant is stored.
pub struct Change {
    /// The new record; absent when the old one says the same.
    pub record: Option<Arc<Variants>>,
    /// Variants that are not listed any more.
    pub gone: Vec<[u8; 16]>,
}

impl Variants {
    /// A record as it was read.
    #[must_use]
    pub fn new(vary: Vary, mut list: Vec<[u8; 16]>) -> Self {
        let surplus = list.len().saturating_sub(VARIANTS_MAX);
        list.drain(..surplus);
        Self { vary, list, is_on_disk: AtomicBool::new(false) }
    }

    /// Whether a variant is stored.
    #[must_use]
    pub fn has(&self, variant: &[u8; 16]) -> bool {
        self.list.contains(variant)
    }

    /// What it takes of the memory tier, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        (self.list.len() * 16 + self.vary.names().len() * 64 + RECORD_OVERHEAD_BYTES) as u64
    }

    /// Notes that the disk tier was given it; true when that is new.
    pub(super) fn set_on_disk(&self) -> bool {
        !self.is_on_disk.swap(true, Ordering::Relaxed)
    }

    /// The record after a variant was stored: the newest response says how the resource varies.
    #[must_use]
    pub fn with(old: Option<&Self>, vary: &Vary, variant: [u8; 16]) -> Change {
        let (mut list, mut gone) = match old {
            Some(old) if old.vary == *vary && old.has(&variant) => {
                return Change { record: None, gone: Vec::new() };
            }
            Some(old) if old.vary == *vary => (old.list.clone(), Vec::new()),
            Some(old) => (Vec::new(), old.list.clone()),
            None => (Vec::new(), Vec::new()),
        };
        list.push(variant);
        let surplus = list.len().saturating_sub(VARIANTS_MAX);
        gone.extend(list.drain(..surplus));
        // Two families may have a variant in common.
        gone.retain(|old| !list.contains(old));
        Change { record: Some(Arc::new(Self::new(vary.clone(), list))), gone }
    }
}

const RECORD_OVERHEAD_BYTES: usize = 256;

#[cfg(test)]
pub(in crate::cache) mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, header};

    use super::*;
    use crate::cache::variance::Varies;

    /// Varies by these request headers.
    pub(in crate::cache) fn vary(names: &[HeaderName]) -> Vary {
        let value = |name: &HeaderName| HeaderValue::from_str(name.as_str()).unwrap();
        let names = names.iter().map(|name| (header::VARY, value(name)));
        match Varies::of(&names.collect::<HeaderMap>()) {
            Varies::By(vary) => vary,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_vary_counts_and_the_oldest_variant_goes() {
        let by_language = vary(&[header::ACCEPT_LANGUAGE]);
        let mut record: Option<Arc<Variants>> = None;
        let mut gone = Vec::new();
        for n in 0..=VARIANTS_MAX {
            let change = Variants::with(record.as_deref(), &by_language, [n as u8; 16]);
            gone.extend(change.gone);
            record = change.record.or(record);
        }
        assert_eq!(gone, [[0; 16]]);
        let record = record.unwrap();
        assert_eq!(record.list.len(), VARIANTS_MAX);
        assert!(Variants::with(Some(&record), &by_language, [5; 16]).record.is_none());

        let by_encoding = vary(&[header::ACCEPT_ENCODING]);
        let change = Variants::with(Some(&record), &by_encoding, [5; 16]);
        assert_eq!(change.record.unwrap().list, [[5; 16]]);
        assert_eq!(change.gone.len(), VARIANTS_MAX - 1, "its own key is not among them");
    }
}
