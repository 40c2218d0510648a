//! Changes of the desired state.
//!
//! Every change is checked against the whole state, and committed only if that state is still the newest, so that no
//! state is ever kept that a PoP would refuse; then it raises the generation. A change to what already is raises
//! nothing.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_contract::{
    id::{Generation, PopId, PropertyId},
    property::Property,
    snapshot::{PopRole, SNAPSHOT_BYTES_MAX, Snapshot, SnapshotError},
    tier::TierKey,
};

use super::{
    desired::{Desired, Pop},
    desired_records::{self, Loaded, pop_key, property_key},
    error::StoreError,
    records::{Commit, CommitError, Expect, Key, Records},
    registry::{Registry, TRIES, contended, key, raise},
};

/// What a change did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Whether anything is different from before.
    pub changed: bool,
    /// Whether the thing was not there before.
    pub created: bool,
    /// The generation after the change.
    pub generation: Generation,
}

/// Why the desired state was not changed.
#[derive(Debug, thiserror::Error)]
pub enum DesiredError {
    /// The state with the change in it would be refused by the PoPs.
    #[error(transparent)]
    Refused(#[from] SnapshotError),
    /// A rule about PoPs.
    #[error("{0}")]
    Pop(&'static str),
    /// Somebody else changed it in between.
    #[error("it was changed at generation {found}, not {expected}")]
    Conflict {
        /// The generation that the caller had seen.
        expected: Generation,
        /// The generation of its last change.
        found: Generation,
    },
    /// More than one commit takes.
    #[error("it is larger than what can be kept in one piece")]
    TooLarge,
    /// Nothing of that id.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a change writes.
#[derive(Default)]
struct Edit {
    is_created: bool,
    puts: Vec<(Key, Bytes)>,
    deletes: Vec<Key>,
    /// The generation after it, when that is not the next one.
    generation: Option<u64>,
}

impl Registry {
    /// The whole desired state.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn desired(&self) -> Result<Desired, StoreError> {
        Ok(desired_records::load(self.records()).await?.desired)
    }

    /// Keeps `key` as the tier key unless there is one; returns the one kept.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_tier_key(&self, new: TierKey) -> Result<TierKey, StoreError> {
        let name = key(desired_records::TIER_KEY);
        let commit = Commit {
            expect: vec![(name.clone(), Expect::Absent)],
            puts: vec![(name, String::from(new).into())],
            deletes: Vec::new(),
        };
        self.try_commit(commit).await?;
        Ok(self.desired().await?.tier_key)
    }

    /// Makes or replaces a property. `expected` is the generation of the last change that the caller knows of;
    /// with `dry_run` everything is checked and nothing kept.
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn put_property(
        &self,
        property: Property,
        expected: Option<Generation>,
        dry_run: bool,
    ) -> Result<Change, DesiredError> {
        self.change(dry_run, |state, next| {
            let mut property = property.clone();
            let place = state.properties.iter().position(|(known, _)| known.id == property.id);
            let before = place.map(|place| state.properties[place].clone());
            // Whoever read it got fingerprints in the place of secrets, and sends those back.
            if let Some((before, _)) = &before {
                property.restore_secrets(before);
            }
            check_expected(expected, before.as_ref().map(|(_, generation)| *generation))?;
            if before.as_ref().is_some_and(|(body, _)| *body == property) {
                return Ok(None);
            }
            let put = desired_records::put_property(&property, next);
            match place {
                Some(place) => state.properties[place] = (property, next),
                None => state.properties.push((property, next)),
            }
            Ok(Some(Edit { is_created: place.is_none(), puts: vec![put], ..Edit::default() }))
        })
        .await
    }

    /// Removes a property.
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn delete_property(&self, id: PropertyId) -> Result<Change, DesiredError> {
        self.change(false, |state, _| {
            let before = state.properties.len();
            state.properties.retain(|(known, _)| known.id != id);
            if state.properties.len() == before {
                return Err(not_found("property", id.as_str()));
            }
            Ok(Some(Edit { deletes: vec![key(&property_key(&id))], ..Edit::default() }))
        })
        .await
    }

    /// Makes or replaces a PoP.
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn put_pop(&self, pop: Pop) -> Result<Change, DesiredError> {
        if pop.role == PopRole::Edge && pop.shield_upstream.is_some() {
            return Err(DesiredError::Pop("only a shield has a shield_upstream"));
        }
        self.change(false, |state, next| {
            let place = state.pops.iter().position(|known| known.id == pop.id);
            match place {
                Some(place) if state.pops[place] == pop => return Ok(None),
                Some(place) => state.pops[place] = pop.clone(),
                None => state.pops.push(pop.clone()),
            }
            let puts = vec![desired_records::put_pop(&pop, next)];
            Ok(Some(Edit { is_created: place.is_none(), puts, ..Edit::default() }))
        })
        .await
    }

    /// Removes a PoP, its nodes and its enrolment tokens.
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn delete_pop(&self, id: PopId) -> Result<Change, DesiredError> {
        let removed = self.change(false, |state, _| {
            let before = state.pops.len();
            state.pops.retain(|known| known.id != id);
            if state.pops.len() == before {
                return Err(not_found("pop", id.as_str()));
            }
            Ok(Some(Edit { deletes: vec![key(&pop_key(&id))], ..Edit::default() }))
        });
        let change = removed.await?;
        self.forget_pop(&id).await?;
        Ok(change)
    }

    /// Lifts the generation above one that a node already has: the state was restored from a backup. A jump of
    /// more than a million is refused, so that no node can use the numbers up.
    ///
    /// # Errors
    /// [`DesiredError::Pop`] for too far a jump.
    pub async fn raise_above(&self, seen: Generation) -> Result<Change, DesiredError> {
        self.change(false, |state, _| {
            let now = state.generation.0;
            if seen.0 < now {
                return Ok(None);
            }
            if seen.0 - now > GENERATION_JUMP_MAX {
                return Err(DesiredError::Pop("the node's generation is too far ahead"));
            }
            Ok(Some(Edit { generation: Some(seen.0 + 1), ..Edit::default() }))
        })
        .await
    }

    /// Runs a change: `None` says that nothing is different. It is run again when somebody else was faster.
    async fn change(
        &self,
        dry_run: bool,
        work: impl Fn(&mut Desired, Generation) -> Result<Option<Edit>, DesiredError> + Send + Sync,
    ) -> Result<Change, DesiredError> {
        for _ in 0..TRIES {
            let Loaded { mut desired, generation_revision } =
                desired_records::load(self.records()).await?;
            let now = desired.generation;
            let next = Generation(now.0 + 1);
            let Some(edit) = work(&mut desired, next)? else {
                return Ok(Change { changed: false, created: false, generation: now });
            };
            let generation = Generation(edit.generation.unwrap_or(next.0));
            desired.generation = generation;
            check_whole(desired)?;
            let change = Change { changed: true, created: edit.is_created, generation };
            if dry_run || self.write(edit, generation, generation_revision).await? {
                return Ok(change);
            }
        }
        Err(contended().into())
    }

    async fn write(
        &self,
        edit: Edit,
        generation: Generation,
        before: Option<u64>,
    ) -> Result<bool, DesiredError> {
        let name = key(desired_records::GENERATION);
        let mut commit = Commit {
            expect: vec![(name.clone(), before.map_or(Expect::Absent, Expect::At))],
            puts: edit.puts,
            deletes: edit.deletes,
        };
        commit.puts.push((name, generation.0.to_string().into()));
        match self.records().commit(commit).await {
            Ok(_) => {
                raise(&self.generation, generation.0);
                Ok(true)
            }
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(CommitError::TooLarge(_)) => Err(DesiredError::TooLarge),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

/// The generation as it is kept.
pub(super) async fn generation(records: &Arc<dyn Records>) -> Result<u64, StoreError> {
    let found = records.get(&key(desired_records::GENERATION)).await?;
    found.map_or(Ok(0), |record| desired_records::read_generation(&record.value))
}

/// The largest step of `raise_above`.
const GENERATION_JUMP_MAX: u64 = 1_000_000;

fn check_expected(
    expected: Option<Generation>,
    found: Option<Generation>,
) -> Result<(), DesiredError> {
    let found = found.unwrap_or_default();
    match expected {
        Some(expected) if expected != found => Err(DesiredError::Conflict { expected, found }),
        _ => Ok(()),
    }
}

/// Checks the largest snapshot that any PoP could get from a state.
fn check_whole(state: Desired) -> Result<(), DesiredError> {
    let probe = PopId::parse("check").expect("a good id");
    let snapshot = Snapshot {
        generation: state.generation,
        pop: probe,
        role: PopRole::Edge,
        properties: state.properties.into_iter().map(|(property, _)| property).collect(),
        tier_key: state.tier_key,
        shields: state.pops.into_iter().filter_map(Pop::into_shield).collect(),
        certificates: Vec::new(),
    };
    snapshot.check()?;
    let bytes = snapshot.to_bytes().len();
    if bytes > SNAPSHOT_BYTES_MAX { Err(SnapshotError::Size(bytes).into()) } else { Ok(()) }
}

fn not_found(what: &'static str, id: &str) -> DesiredError {
    DesiredError::NotFound { what, id: id.to_owned() }
}

#[cfg(test)]
mod tests {
    use tidegate_contract::property::Upstream;

    use super::*;
    use crate::{
        metrics::Metrics,
        store::{Config, SqliteRecords, Store},
    };

    async fn open(folder: &std::path::Path) -> Registry {
        let opened = Store::open(folder, &Config::default(), Metrics::for_test());
        let records = SqliteRecords::new(opened.expect("a fresh folder").0);
        let store = Registry::open(Arc::new(records)).await.expect("readable");
        store.keep_tier_key(TierKey::new([7; 32])).await.expect("writable");
        store
    }

    fn property(id: &str, host: &str) -> Property {
        Property::new(
            PropertyId::parse(id).expect("good"),
            vec![host.to_owned()],
            vec![Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None }],
        )
    }

    #[tokio::test]
    async fn each_change_raises_the_generation_and_no_change_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path()).await;
        let watched = store.generation();
        let first = store.put_property(property("a", "a.org"), None, false).await.expect("good");
        assert_eq!((first.changed, first.created, first.generation.0), (true, true, 1));
        let same = store.put_property(property("a", "a.org"), None, false).await.expect("good");
        assert_eq!((same.changed, same.generation.0), (false, 1));
        let dry = store.put_property(property("a", "b.org"), None, true).await.expect("good");
        assert_eq!((dry.changed, dry.created, dry.generation.0), (true, false, 2));
        assert_eq!(*watched.borrow(), 1, "a dry run changes nothing");
        let gone =
            store.delete_property(PropertyId::parse("a").expect("good")).await.expect("good");
        assert_eq!(gone.generation.0, 2);
        assert_eq!(*watched.borrow(), 2);
        assert!(store.desired().await.expect("readable").properties.is_empty());
    }

    #[tokio::test]
    async fn a_state_that_pops_would_refuse_is_not_committed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path()).await;
        store.put_property(property("a", "a.org"), None, false).await.expect("good");
        let twice = store.put_property(property("b", "a.org"), None, false).await;
        assert!(matches!(twice, Err(DesiredError::Refused(SnapshotError::Conflict(_)))));
        let desired = store.desired().await.expect("readable");
        assert_eq!((desired.generation.0, desired.properties.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_change_based_on_an_old_generation_is_a_conflict() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path()).await;
        let new = store.put_property(property("a", "a.org"), Some(Generation(0)), false).await;
        assert!(new.is_ok(), "0 stands for: not there yet");
        let stale = store.put_property(property("a", "b.org"), Some(Generation(0)), false).await;
        assert!(matches!(stale, Err(DesiredError::Conflict { .. })));
    }

    #[tokio::test]
    async fn the_generation_is_lifted_above_a_node_that_knows_more_but_not_without_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path()).await;
        assert_eq!(store.raise_above(Generation(40)).await.expect("near").generation.0, 41);
        assert!(!store.raise_above(Generation(40)).await.expect("below").changed);
        assert!(store.raise_above(Generation(u64::MAX)).await.is_err());
    }
}
