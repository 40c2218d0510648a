//! Changes of resources: what somebody wants to be different, and what comes of it.
//!
//! Pure: a state and a change give another state, or say why not. A change carries what its author had seen of every
//! resource in it; what somebody else changed since then is a conflict, never overwritten. A change-set is one draft;
//! nobody publishes a part of another one with it.

mod set;
#[cfg(test)]
mod zone_tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_contract::{
    id::Generation,
    release_compile::{self, CompileError, TIER_KEY_SECRET},
    resource::{Kind, ResourceKey, ResourceName},
    resource_spec::{PropertySpec, Spec, SpecError},
    zone::{self, ZoneError},
};

use crate::resource::{Entry, LABELS_BYTES_MAX, Labels, State};

pub use set::{ChangeSet, ChangeState, SetError};

/// The most resources of one change.
pub const ENTRIES_MAX: usize = 1_000;
/// The most that all zones together may take, in bytes as they travel: with the rest of the fleet they fit into one line of
/// the feed.
pub const ZONES_BYTES_MAX: usize = 24 * 1024 * 1024;

/// A resource to make or replace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ResourceName,
    /// What it shall be.
    pub spec: Value,
    /// Its labels, all of them; absent: those that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

/// What shall be different.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// What is made or replaced.
    #[serde(default)]
    pub puts: Vec<Put>,
    /// What is taken away.
    #[serde(default)]
    pub deletes: Vec<ResourceKey>,
    /// What the author had seen of a resource: the generation, 0 when it was not there. A resource that is not named
    /// here may have been changed by anybody.
    #[serde(default, with = "seen_by_key")]
    pub seen: BTreeMap<ResourceKey, Generation>,
}

/// What a change does.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The resources afterwards.
    pub state: State,
    /// What is different, in the order of keys.
    pub steps: Vec<Step>,
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which.
    pub key: ResourceKey,
    /// What.
    pub act: Act,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It was not there.
    Create,
    /// It becomes another.
    Update,
    /// It goes.
    Delete,
}

/// Why a change is refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing, or too much.
    #[error("a change has 1 to {ENTRIES_MAX} resources, this one has {0}")]
    Count(usize),
    /// One resource is named twice.
    #[error("{0} is named twice")]
    Twice(ResourceKey),
    /// What is to go is not there.
    #[error("there is no {0}")]
    NotThere(ResourceKey),
    /// Somebody else changed it in between.
    #[error("{key} was changed at generation {found}, not {seen}")]
    Conflict {
        /// Which.
        key: ResourceKey,
        /// What the author had seen.
        seen: Generation,
        /// What is there.
        found: Generation,
    },
    /// A name that the control plane keeps for itself.
    #[error("{0} is kept by the control plane itself")]
    Reserved(ResourceKey),
    /// A spec is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A zone that no node of the DNS would serve.
    #[error("{0}: {1}")]
    Zone(ResourceKey, ZoneError),
    /// More zones than nodes of the DNS take.
    #[error("all zones together have at most {ZONES_BYTES_MAX} bytes, with these they have {0}")]
    Zones(usize),
    /// More labels than are kept.
    #[error(
        "the labels of all resources together have at most {LABELS_BYTES_MAX} bytes, with these they have {0}"
    )]
    Labels(usize),
    /// What results is nothing that a PoP would run.
    #[error(transparent)]
    Whole(#[from] CompileError),
}

impl Wish {
    /// One resource to make or replace.
    #[must_use]
    pub fn put(kind: Kind, name: ResourceName, spec: Value) -> Self {
        Self { puts: vec![Put { kind, name, spec, labels: None }], ..Self::default() }
    }

    /// One resource to take away.
    #[must_use]
    pub fn delete(key: ResourceKey) -> Self {
        Self { deletes: vec![key], ..Self::default() }
    }

    /// The resources that it names.
    pub fn keys(&self) -> impl Iterator<Item = ResourceKey> {
        let puts = self.puts.iter().map(|put| ResourceKey::new(put.kind, put.name.clone()));
        puts.chain(self.deletes.iter().cloned())
    }

    /// Notes what is there now of every resource that it names, where nothing is noted yet.
    pub fn saw(&mut self, state: &State) {
        for key in self.keys().collect::<Vec<_>>() {
            let generation = state.generation_of(&key);
            self.seen.entry(key).or_insert(generation);
        }
    }
}

/// What a change does to a state, as the release of a version.
///
/// # Errors
/// [`ChangeError`]
pub fn plan(state: &State, wish: &Wish, version: Generation) -> Result<Planned, ChangeError> {
    let count = wish.puts.len() + wish.deletes.len();
    if count == 0 || count > ENTRIES_MAX {
        return Err(ChangeError::Count(count));
    }
    let mut named = std::collections::BTreeSet::new();
    for key in wish.keys() {
        if key.name.as_str() == TIER_KEY_SECRET {
            return Err(ChangeError::Reserved(key));
        }
        let found = state.generation_of(&key);
        match wish.seen.get(&key) {
            Some(&seen) if seen != found => return Err(ChangeError::Conflict { key, seen, found }),
            _ => {}
        }
        if !named.insert(key.clone()) {
            return Err(ChangeError::Twice(key));
        }
    }
    let mut after = state.clone();
    let mut steps = Vec::new();
    for key in &wish.deletes {
        if after.entries.remove(key).is_none() {
            return Err(ChangeError::NotThere(key.clone()));
        }
        steps.push(Step { key: key.clone(), act: Act::Delete });
    }
    for put in &wish.puts {
        let key = ResourceKey::new(put.kind, put.name.clone());
        let before = state.entries.get(&key);
        let mut entry = Entry::new(version, read(&key, &put.spec, before)?);
        let kept = || before.map(|before| before.labels.clone()).unwrap_or_default();
        entry.labels = put.labels.clone().unwrap_or_else(kept);
        if before.is_some_and(|before| before.is_as(&entry)) {
            continue;
        }
        let act = if before.is_some() { Act::Update } else { Act::Create };
        after.entries.insert(key.clone(), entry);
        steps.push(Step { key, act });
    }
    if wish.puts.iter().any(|put| put.kind == Kind::DnsZone) {
        let bytes = after.of_kind(Kind::DnsZone).map(|(_, entry)| entry.body.len()).sum();
        if bytes > ZONES_BYTES_MAX {
            return Err(ChangeError::Zones(bytes));
        }
    }
    if wish.puts.iter().any(|put| put.labels.is_some()) {
        let bytes = after.entries.values().map(|entry| entry.labels.bytes()).sum();
        if bytes > LABELS_BYTES_MAX {
            return Err(ChangeError::Labels(bytes));
        }
    }
    steps.sort_by(|a, b| a.key.cmp(&b.key));
    if !steps.is_empty() {
        release_compile::check_all(&after.specs(), version)?;
    }
    Ok(Planned { state: after, steps })
}

/// What is different between two states.
#[must_use]
pub fn steps_between(from: &State, to: &State) -> Vec<Step> {
    let (put, del) = tidegate_contract::release::difference(&from.entries, &to.entries);
    let step = |key: &ResourceKey, act| Step { key: key.clone(), act };
    let puts = put.into_iter().map(|key| {
        step(key, if from.entries.contains_key(key) { Act::Update } else { Act::Create })
    });
    let mut steps: Vec<_> = puts.chain(del.into_iter().map(|key| step(key, Act::Delete))).collect();
    let is_relabelled = |(key, entry): &(&ResourceKey, &Entry)| {
        let before = from.entries.get(*key);
        before.is_some_and(|before| before == *entry && !before.is_as(entry))
    };
    let relabelled = to.entries.iter().filter(is_relabelled);
    steps.extend(relabelled.map(|(key, _)| step(key, Act::Update)));
    steps.sort_by(|a, b| a.key.cmp(&b.key));
    steps
}

/// Reads a spec as somebody sent it: fingerprints keep the secrets that are there, and a secret gets its salt.
fn read(key: &ResourceKey, spec: &Value, before: Option<&Entry>) -> Result<Spec, ChangeError> {
    let before = before.map(|entry| &*entry.spec);
    let mut spec = spec.clone();
    if key.kind == Kind::Secret
        && let Some(fields) = spec.as_object_mut()
        && !fields.contains_key("salt")
    {
        let salt = match before {
            Some(Spec::Secret(old)) if fields.get("value") == Some(&Value::from(&*old.value)) => {
                old.salt.clone()
            }
            _ => hex::encode(rand::random::<[u8; 16]>()),
        };
        fields.insert("salt".to_owned(), salt.into());
    }
    // Whoever read it got fingerprints in the place of secrets, and sends those back.
    if let Some(Spec::Property(old)) = before
        && let Ok(mut new) = serde_json::from_value::<PropertySpec>(spec.clone())
    {
        new.guard.restore_secrets(&old.guard);
        spec = serde_json::to_value(new).expect("a property is plain data");
    }
    let bytes = serde_json::to_vec(&spec).expect("JSON is JSON");
    let spec = Spec::parse(key.kind, &key.name, &bytes)?;
    if let Spec::DnsZone(zone) = &spec {
        let checked = zone::read(key.name.as_str(), &zone.zone);
        checked.map_err(|error| ChangeError::Zone(key.clone(), error))?;
    }
    Ok(spec)
}

mod seen_by_key {
    //! Keys as text, since JSON has no other keys.
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use tidegate_contract::{id::Generation, resource::ResourceKey};

    type Seen = BTreeMap<ResourceKey, Generation>;

    pub(super) fn serialize<S: Serializer>(seen: &Seen, to: S) -> Result<S::Ok, S::Error> {
        let texts: BTreeMap<_, _> = seen.iter().map(|(key, at)| (key.to_string(), at)).collect();
        texts.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Seen, D::Error> {
        let texts = BTreeMap::<String, Generation>::deserialize(from)?;
        let read = |(text, at): (String, Generation)| {
            let key = ResourceKey::parse(&text);
            Ok((key.ok_or_else(|| D::Error::custom(format!("no resource: {text}")))?, at))
        };
        texts.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(text: &str) -> ResourceKey {
        ResourceKey::parse(text).expect("good")
    }

    /// What the first release holds.
    pub(super) fn genesis() -> State {
        let json = json!({"salt": "s", "value": "07".repeat(32)}).to_string();
        let tier = key(&format!("secret/{TIER_KEY_SECRET}"));
        let spec = Spec::parse(tier.kind, &tier.name, json.as_bytes()).expect("good");
        State { entries: [(tier, Entry::new(Generation(1), spec))].into() }
    }

    fn put(text: &str, spec: Value) -> Wish {
        let ResourceKey { kind, name } = key(text);
        Wish::put(kind, name, spec)
    }

    fn origin(authority: &str) -> Wish {
        put("origin/main", json!({ "authority": authority }))
    }

    #[test]
    fn two_authors_of_one_resource_do_not_overwrite_each_other() {
        let state = genesis();
        let (mut first, mut second) = (origin("a:1"), origin("b:1"));
        first.saw(&state);
        second.saw(&state);
        let after = plan(&state, &first, Generation(2)).expect("nobody was before").state;
        let late = plan(&after, &second, Generation(3));
        assert!(matches!(late, Err(ChangeError::Conflict { found: Generation(2), .. })));
        let mut other = put("origin/other", json!({"authority": "c:1"}));
        other.saw(&state);
        assert!(plan(&after, &other, Generation(3)).is_ok(), "another resource is no conflict");
    }

    #[test]
    fn what_is_as_it_was_is_no_step_and_keeps_its_generation() {
        let state = plan(&genesis(), &origin("a:1"), Generation(2)).expect("good").state;
        let same = plan(&state, &origin("a:1"), Generation(3)).expect("good");
        assert!(same.steps.is_empty());
        assert_eq!(same.state.generation_of(&key("origin/main")), Generation(2));
        let gone = plan(&state, &Wish::delete(key("origin/main")), Generation(3)).expect("there");
        assert_eq!(gone.steps, [Step { key: key("origin/main"), act: Act::Delete }]);
        assert_eq!(steps_between(&state, &gone.state), gone.steps);
    }

    #[test]
    fn labels_are_kept_unless_they_are_said_and_change_nothing_that_is_signed() {
        let labelled = |labels: Value| {
            let mut wish = origin("a:1");
            wish.puts[0].labels = Some(serde_json::from_value(labels).expect("good"));
            wish
        };
        let state = plan(&genesis(), &origin("a:1"), Generation(2)).expect("good").state;
        let gold = plan(&state, &labelled(json!({"tier": "gold"})), Generation(3)).expect("good");
        assert_eq!(gold.steps, [Step { key: key("origin/main"), act: Act::Update }]);
        assert_eq!(steps_between(&state, &gold.state), gold.steps);
        assert_eq!(gold.state.root(), state.root());
        assert_eq!(gold.state.generation_of(&key("origin/main")), Generation(3));
        let kept = plan(&gold.state, &origin("a:1"), Generation(4)).expect("good");
        assert!(kept.steps.is_empty(), "nothing was said of labels");
        let moved = plan(&gold.state, &origin("b:1"), Generation(4)).expect("good").state;
        assert_eq!(moved.entries[&key("origin/main")].labels.to_string(), "tier=gold");
        let bare = plan(&gold.state, &labelled(json!({})), Generation(4)).expect("good");
        assert!(bare.state.entries[&key("origin/main")].labels.is_empty());
        assert_eq!(bare.steps.len(), 1);
        let text = serde_json::to_string(&origin("a:1")).expect("plain");
        assert!(!text.contains("labels"), "{text}");
    }

    #[test]
    fn a_secret_that_is_said_again_keeps_its_hash_and_one_that_changes_does_not() {
        let secret = |value: &str| put("secret/k", json!({ "value": value }));
        let first = plan(&genesis(), &secret("v"), Generation(2)).expect("good").state;
        assert!(plan(&first, &secret("v"), Generation(3)).expect("good").steps.is_empty());
        assert_eq!(plan(&first, &secret("w"), Generation(3)).expect("good").steps.len(), 1);
    }

    #[test]
    fn what_no_release_may_hold_is_refused() {
        let mut twice = origin("a:1");
        twice.deletes.push(key("origin/main"));
        let many =
            Wish { puts: vec![origin("a:1").puts[0].clone(); ENTRIES_MAX + 1], ..Wish::default() };
        for (wish, reason) in [
            (Wish::default(), "1 to"),
            (many, "1 to"),
            (twice, "twice"),
            (Wish::delete(key("origin/gone")), "there is no"),
            (Wish::delete(key("secret/tidegate-tier-key")), "itself"),
            (put("dns_zone/example.com", json!({"zone": "@ IN SOA"})), "line 1"),
            (put("property/p", json!({"hosts": ["a"], "origins": ["gone"]})), "origin/gone"),
            (put("pop/A".to_lowercase().as_str(), json!({"role": "moon"})), "not the spec"),
        ] {
            let error = plan(&genesis(), &wish, Generation(2)).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error:?} should say {reason:?}");
        }
    }
}
