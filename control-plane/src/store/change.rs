//! Changes of the desired state.
//!
//! Every change is checked against the whole state inside of the transaction that makes it, so that no state is
//! ever committed that a PoP would refuse; then it raises the generation. A change to what already is raises
//! nothing.

use std::sync::Arc;

use rusqlite::{Connection, params};
use tidegate_contract::{
    id::{Generation, PopId, PropertyId},
    property::Property,
    snapshot::{PopRole, SNAPSHOT_BYTES_MAX, Snapshot, SnapshotError},
    tier::TierKey,
};
use tokio::sync::watch;

use super::{
    Store,
    desired::{Desired, Pop},
    desired_rows::{desired, generation, pops, property_row, raise, set_generation, tier_key},
    error::StoreError,
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
    /// Nothing of that id.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// Only asked what would happen; never seen outside of this file.
    #[error("dry run")]
    DryRun(Change),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The whole desired state.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn desired(&self) -> Result<Desired, StoreError> {
        self.read(desired).await
    }

    /// Keeps `key` as the tier key unless there is one; returns the one kept.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_tier_key(&self, key: TierKey) -> Result<TierKey, StoreError> {
        self.write(
            move |connection| {
                let text = String::from(key);
                connection.execute("INSERT OR IGNORE INTO meta VALUES ('tier_key', ?1)", [text])?;
                tier_key(connection)
            },
            |_| {},
        )
        .await
    }

    /// Makes or replaces a property. `expected` is the generation of the last change that the caller knows of;
    /// with `dry_run` everything is checked and nothing kept.
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn put_property(
        &self,
        mut property: Property,
        expected: Option<Generation>,
        dry_run: bool,
    ) -> Result<Change, DesiredError> {
        self.change(dry_run, move |connection| {
            let before = property_row(connection, &property.id)?;
            // Whoever read it got fingerprints in the place of secrets, and sends those back.
            if let Some((before, _)) = &before {
                property.restore_secrets(before);
            }
            check_expected(expected, before.as_ref().map(|(_, generation)| *generation))?;
            if before.as_ref().is_some_and(|(body, _)| *body == property) {
                return Ok(None);
            }
            let next = raise(connection)?;
            connection
                .prepare_cached("INSERT OR REPLACE INTO property VALUES (?1, ?2, ?3)")
                .and_then(|mut sql| {
                    let body = serde_json::to_vec(&property).expect("a property is plain data");
                    sql.execute(params![property.id.as_str(), next.0, body])
                })
                .map_err(StoreError::from)?;
            check_whole(connection)?;
            Ok(Some(before.is_none()))
        })
        .await
    }

    /// Removes a property.
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn delete_property(&self, id: PropertyId) -> Result<Change, DesiredError> {
        self.change(false, move |connection| {
            raise(connection)?;
            let gone = connection
                .execute("DELETE FROM property WHERE id = ?1", [id.as_str()])
                .map_err(StoreError::from)?;
            if gone == 0 { Err(not_found("property", id.as_str())) } else { Ok(Some(false)) }
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
        self.change(false, move |connection| {
            let before = pops(connection)?.into_iter().find(|known| known.id == pop.id);
            if before.as_ref() == Some(&pop) {
                return Ok(None);
            }
            let next = raise(connection)?;
            let upstream = pop
                .shield_upstream
                .as_ref()
                .map(|upstream| serde_json::to_vec(upstream).expect("an upstream is plain data"));
            connection
                .execute(
                    "INSERT OR REPLACE INTO pop VALUES (?1, ?2, ?3, ?4)",
                    params![pop.id.as_str(), pop.role.as_str(), upstream, next.0],
                )
                .map_err(StoreError::from)?;
            check_whole(connection)?;
            Ok(Some(before.is_none()))
        })
        .await
    }

    /// Removes a PoP, its nodes and its enrolment tokens.
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn delete_pop(&self, id: PopId) -> Result<Change, DesiredError> {
        self.change(false, move |connection| {
            raise(connection)?;
            let run = |sql: &str| connection.execute(sql, [id.as_str()]).map_err(StoreError::from);
            run("DELETE FROM node WHERE pop = ?1")?;
            run("DELETE FROM enrolment_token WHERE pop = ?1")?;
            match run("DELETE FROM pop WHERE id = ?1")? {
                0 => Err(not_found("pop", id.as_str())),
                _ => Ok(Some(false)),
            }
        })
        .await
    }

    /// Lifts the generation above one that a node already has: the database was restored from a backup. A jump of
    /// more than a million is refused, so that no node can use the numbers up.
    ///
    /// # Errors
    /// [`DesiredError::Pop`] for too far a jump.
    pub async fn raise_above(&self, seen: Generation) -> Result<Change, DesiredError> {
        self.change(false, move |connection| {
            let now = generation(connection)?;
            if seen.0 < now {
                return Ok(None);
            }
            if seen.0 - now > GENERATION_JUMP_MAX {
                return Err(DesiredError::Pop("the node's generation is too far ahead"));
            }
            set_generation(connection, seen.0 + 1)?;
            Ok(Some(false))
        })
        .await
    }

    /// Runs a change: `None` says that nothing is different, `Some(created)` that something is.
    async fn change<F>(&self, dry_run: bool, work: F) -> Result<Change, DesiredError>
    where
        F: FnOnce(&Connection) -> Result<Option<bool>, DesiredError> + Send + 'static,
    {
        let head: Arc<watch::Sender<u64>> = Arc::clone(&self.generation);
        let outcome = self
            .write(
                move |connection| {
                    let done = work(connection)?;
                    let change = Change {
                        changed: done.is_some(),
                        created: done == Some(true),
                        generation: Generation(generation(connection)?),
                    };
                    // An error rolls the savepoint back.
                    if dry_run { Err(DesiredError::DryRun(change)) } else { Ok(change) }
                },
                move |change: &Change| {
                    if change.changed {
                        head.send_replace(change.generation.0);
                    }
                },
            )
            .await;
        match outcome {
            Err(DesiredError::DryRun(change)) => Ok(change),
            other => other,
        }
    }
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

/// Checks the largest snapshot that any PoP could get from this state.
fn check_whole(connection: &Connection) -> Result<(), DesiredError> {
    let state = desired(connection)?;
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
    use crate::{metrics::Metrics, store::Config};

    async fn open(folder: &std::path::Path) -> Store {
        let opened = Store::open(folder, &Config::default(), Metrics::for_test());
        let (store, _) = opened.expect("a fresh folder");
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
