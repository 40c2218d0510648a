//! The writer's end of a fill, and what becomes of it when it ends.
//!
//! Invariant: a fill that ends in any other way than by `finish` fails its readers before it leaves the table.

use std::sync::Arc;

use super::{Key, Store, warm::is_worth_disk};
use crate::cache::{
    body::Body,
    in_flight::{FillError, InFlight, Writer},
    memory_tier::{Door, Slot},
    object::{self, Head, Object},
    purge::Verdict,
    variants::Variants,
};

/// The writer's end of a fill that will be stored.
pub struct Fill {
    pub(super) store: Store,
    pub(super) primary: Key,
    /// Taken by `finish`; present otherwise.
    pub(super) writer: Option<Writer>,
    pub(super) shared: Arc<InFlight>,
}

impl Fill {
    /// The fill's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// A reader of this very fill.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::of_fill(self.shared.clone())
    }

    /// The response's head.
    #[must_use]
    pub fn head(&self) -> &Arc<Head> {
        &self.shared.head
    }

    /// How many readers there are now.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.shared.readers()
    }

    /// Returns as soon as there is no reader: at once when there was none. Others may still come.
    pub async fn deserted(&self) {
        self.shared.deserted().await;
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`FillError`]; the fill has failed for every reader.
    pub fn write(&mut self, data: &[u8]) -> Result<(), FillError> {
        match &mut self.writer {
            Some(writer) => writer.write(data),
            None => Err(FillError::NoRoom),
        }
    }

    /// Ends the fill and stores what it brought, unless it was hard-purged or forgotten meanwhile. Gives back its
    /// length.
    ///
    /// # Errors
    /// [`FillError`]; the fill has failed for every reader.
    pub fn finish(mut self) -> Result<u64, FillError> {
        let Some(writer) = self.writer.take() else { return Err(FillError::NoRoom) };
        let (store, head) = (&self.store, self.shared.head.clone());
        let is_unwanted = self.shared.is_forgotten() || store.verdict(&head) == Verdict::Hard;
        if is_unwanted {
            return writer.finish(|room| room).map(|pieces| pieces.bytes());
        }
        let bytes = writer.bytes();
        let weight = object::weight(&head, bytes);
        let mut door = store.shared.memory.door();
        let mut has_room = false;
        let pieces = writer.finish(|room| match door.reserve(weight, bytes) {
            Some(taken) => {
                has_room = true;
                taken
            }
            None => room,
        })?;
        let object = Arc::new(Object::new(head, pieces, self.shared.id, self.primary));
        self.keep(&mut door, object, has_room);
        Ok(bytes)
    }

    fn keep(&self, door: &mut Door<'_>, object: Arc<Object>, has_room: bool) {
        let (store, primary) = (&self.store, self.primary);
        let old = store.shared.memory.peek(&primary);
        let key = match &self.shared.variance {
            None => {
                if let Some(Slot::Variants(variants)) = old {
                    store.remove_variants(door, &primary, &variants.list);
                }
                primary
            }
            Some((vary, variant)) => {
                let old = match &old {
                    Some(Slot::Variants(variants)) => Some(variants.as_ref()),
                    _ => None,
                };
                let change = Variants::with(old, vary, *variant);
                store.remove_variants(door, &primary, &change.gone);
                if let Some(variants) = change.record {
                    door.put_variants(primary, variants);
                }
                primary.variant(variant)
            }
        };
        let is_newest = if has_room {
            door.put(key, object.clone())
        } else {
            // What is there is older, or this would have been refused before it began.
            door.remove(&key, |slot| matches!(slot, Slot::Object(old) if old.fill < object.fill));
            true
        };
        let Some(disk) = store.shared.disk.as_ref().filter(|_| is_newest) else { return };
        if disk.tier.is_awaited() {
            // Nobody can say yet what of this resource is there.
            disk.tier.remove(&primary);
            disk.tier.remove(&key);
            return;
        }
        let is_there = disk.tier.find(&key).is_some();
        let is_worth = is_worth_disk(&object.head);
        let is_admitted = disk.admits(&key, &self.shared) || is_there;
        if is_admitted && is_worth {
            store.write(disk, &key, &object);
        } else if is_there {
            // Something older may not come back when this leaves memory.
            disk.tier.remove(&key);
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        // An unfinished writer fails its readers first, so that nobody finds a fill that will not end.
        drop(self.writer.take());
        self.store.shared.filling.remove(&self.primary, self.shared.id);
    }
}
