//! The doors of all properties, made ready when somebody first knocks, and anew with each snapshot.
//!
//! Invariant: a request is checked by the rules of the policy that it began under.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use tidegate_contract::id::Generation;

use super::door::Door;
use crate::policy::Policy;

/// The doors of the newest policy that was asked for.
#[derive(Default)]
pub struct Doors(ArcSwapOption<Row>);

struct Row {
    generation: Generation,
    doors: Box<[OnceLock<Door>]>,
}

impl Doors {
    /// Runs with the door of the property at a place of a policy; `None` when there is no such place.
    pub fn with<T>(
        &self,
        policy: &Policy,
        place: usize,
        run: impl FnOnce(&Door) -> T,
    ) -> Option<T> {
        let property = policy.snapshot.properties.get(place)?;
        let generation = policy.snapshot.generation;
        let make = || Door::new(property);
        // Neither a lock nor a count that all threads would write to.
        let row = self.0.load();
        match row.as_ref() {
            Some(row) if row.generation == generation => {
                Some(run(row.doors.get(place)?.get_or_init(make)))
            }
            // A request that began under an older policy; there are few.
            Some(row) if row.generation > generation => Some(run(&make())),
            _ => {
                let doors = policy.snapshot.properties.iter().map(|_| OnceLock::new()).collect();
                let row = Arc::new(Row { generation, doors });
                // Whoever comes at the same time makes another row; the last one stays.
                self.0.store(Some(row.clone()));
                Some(run(row.doors.get(place)?.get_or_init(make)))
            }
        }
    }
}
