//! Whether a step of a roll-over may be taken now, by what all geo nodes say of a zone's keys.
//!
//! Pure. What the step makes of the keys a geo node works out, which alone has them; here is who must agree before it is
//! asked. Invariant: no step begins from keys that only some nodes have, nor before every node says that it is due.

use serde_json::Value;
use tidegate_contract::zone_keys::{KeyKind, KeyProposal, KeySetError, ProvenSet};

use super::{
    key_sets::{KeepError, Kept},
    questions::AskError,
};
use crate::store::{CommitError, StoreError};

/// The next step of a roll-over, as an operator wants it.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The apex of the zone, with a dot at its end.
    pub zone: String,
    /// Which kind of key; absent: the only one.
    pub kind: Option<KeyKind>,
    /// The step is that the parent has the DS record of the new key.
    pub ds_seen: bool,
    /// Geo nodes that are gone for good, or that nobody waits for.
    pub without: Vec<String>,
    /// The step and the revision before it that the operator was shown; absent: whatever is due.
    pub step: Option<String>,
    /// See `step`.
    pub before: Option<u64>,
}

/// A step that was taken, or would be.
#[derive(Debug, Clone)]
pub struct Rolled {
    /// What the geo node said.
    pub proposal: KeyProposal,
    /// The revision before it; 0: none.
    pub before: u64,
    /// The revision of the keys after it; absent: the step is not due.
    pub revision: Option<u64>,
    /// The geo nodes that have the keys.
    pub nodes: Vec<String>,
}

/// Why no step is taken.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// Nobody can be asked, or who was asked does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// No node signs the zone.
    #[error("no geo node has keys of {0}")]
    NotSigned(String),
    /// A step that only some nodes could take.
    #[error("{0}")]
    Refused(String),
    /// The step before is under way.
    #[error("{0}")]
    UnderWay(String),
    /// Somebody else was faster, or something else is due than was shown.
    #[error("{0}")]
    Conflict(String),
    /// What a geo node proposes is no set of keys.
    #[error("geo node {0} proposes what is no set of keys: {1}")]
    Form(String, KeySetError),
    /// It proposes another zone's keys, or goes back.
    #[error("geo node {0} proposes keys of {1} at revision {2}")]
    Other(String, String, u64),
    /// Its words cannot be read.
    #[error("geo node {0} proposes nothing that can be read")]
    Unreadable(String),
    /// There are too many zones.
    #[error("{0}")]
    TooMany(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store.
    #[error(transparent)]
    Commit(CommitError),
}

impl From<KeepError> for RollError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::TooMany => Self::TooMany(error.to_string()),
            KeepError::Commit(CommitError::Conflict { .. }) => {
                Self::Conflict("somebody else took a step of this zone at the same time".to_owned())
            }
            KeepError::Commit(error) => Self::Commit(error),
            KeepError::Store(error) => Self::Store(error),
        }
    }
}

/// What the nodes that have the keys agree on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    /// Those nodes.
    pub(super) nodes: Vec<String>,
    /// The step is not due at one of them: which, and in its words.
    pub(super) waits: Option<(String, Value)>,
}

/// Whether all geo nodes have the same keys of a zone, those of the newest set.
pub(super) fn agreed(
    wish: &Wish,
    answers: &[(String, Result<Value, AskError>)],
    kept: Option<&Kept>,
) -> Result<Agreed, RollError> {
    let is_meant = |node: &String| !wish.without.contains(node);
    let answers: Vec<_> = answers.iter().filter(|(node, _)| is_meant(node)).collect();
    if answers.is_empty() {
        return Err(AskError::Nobody.into());
    }
    let mut zones = vec![];
    for (node, answer) in &answers {
        match answer {
            Ok(answer) => zones.push((node, zone_of(answer, &wish.zone))),
            Err(error) => {
                let hint =
                    format!("`--without {node}` goes on where it answers no client any more");
                return Err(RollError::Refused(format!("{error}; {hint}")));
            }
        }
    }
    if zones.iter().all(|(_, zone)| zone.is_none()) {
        return Err(RollError::NotSigned(wish.zone.clone()));
    }
    // Two that call themselves alike are two.
    let mut here: Vec<&String> = answers.iter().map(|(node, _)| node).collect();
    let is_away = |node: &&String| match here.iter().position(|here| here == node) {
        Some(place) => {
            here.swap_remove(place);
            false
        }
        None => true,
    };
    let before = kept.into_iter().flat_map(|kept| &kept.nodes).filter(|node| is_meant(node));
    let away: Vec<&str> = before.filter(is_away).map(String::as_str).collect();
    if !away.is_empty() {
        let names = away.join(", ");
        return Err(RollError::Refused(format!(
            "geo nodes that had the keys before the last step are away: {names}; they may answer clients with old keys: bring \
             them back, or go on without each by --without"
        )));
    }
    let mut first: Option<(&String, &Value)> = None;
    for (node, zone) in &zones {
        let differs = |other: &str| {
            RollError::Refused(format!(
                "geo nodes have different keys of {}: {node} and {other}; `tidegate dns sign status` shows them, and copying \
                 the folder of keys makes them equal",
                wish.zone
            ))
        };
        let Some(zone) = zone else {
            return Err(differs("others"));
        };
        let Some(revision) = zone.get("revision").and_then(Value::as_u64) else {
            return Err(RollError::Refused(AskError::Older((*node).clone()).to_string()));
        };
        if zone.get("may_write") == Some(&Value::Bool(false)) {
            return Err(RollError::Refused(format!(
                "geo node {node} may not write its folder of keys: it would not take the step"
            )));
        }
        if let Some(kept) = kept.filter(|kept| revision < kept.revision) {
            let refused = zone.get("refused").filter(|refused| {
                refused.get("revision").and_then(Value::as_u64) == Some(kept.revision)
            });
            // What all of them refuse, the next step goes past: they agree on the keys below.
            if refused.is_none() {
                return Err(RollError::UnderWay(format!(
                    "geo node {node} has not taken the step before yet (revision {}): that takes a moment, try again",
                    kept.revision
                )));
            }
        }
        match first {
            Some((other, keys)) if zone.get("keys") != Some(keys) => return Err(differs(other)),
            Some(_) => {}
            None => first = zone.get("keys").map(|keys| (*node, keys)),
        }
    }
    let waits = zones.iter().find_map(|(node, zone)| {
        let next = waiting(zone.as_ref()?, wish.kind)?;
        Some(((*node).clone(), next.clone()))
    });
    let waits = waits.filter(|_| !wish.ds_seen);
    Ok(Agreed { nodes: zones.into_iter().map(|(node, _)| node.clone()).collect(), waits })
}

/// Whether what is due is what the operator was shown.
pub(super) fn is_as_shown(
    wish: &Wish,
    proposal: &KeyProposal,
    before: u64,
) -> Result<(), RollError> {
    let is_other_step = wish.step.as_ref().is_some_and(|step| *step != proposal.step);
    if is_other_step || wish.before.is_some_and(|shown| shown != before) {
        let step = &proposal.step;
        let text = format!("the next step is {step} by now, after revision {before}: look again");
        return Err(RollError::Conflict(text));
    }
    Ok(())
}

/// What a node proposes, checked for its form.
pub(super) fn checked(
    node: &str,
    zone: &str,
    before: u64,
    answer: Value,
) -> Result<(KeyProposal, Option<(ProvenSet, u64)>), RollError> {
    let mut proposal: KeyProposal =
        serde_json::from_value(answer).map_err(|_| RollError::Unreadable(node.to_owned()))?;
    let Some(proven) = proposal.set.take() else { return Ok((proposal, None)) };
    let set = proven.read().map_err(|error| RollError::Form(node.to_owned(), error))?;
    if set.zone != zone || set.revision <= before {
        return Err(RollError::Other(node.to_owned(), set.zone, set.revision));
    }
    Ok((proposal, Some((proven, set.revision))))
}

/// Says of a step that is due at the node that proposed it that it is not at another one.
pub(super) fn put_off(proposal: &mut KeyProposal, node: &str, waits: &Value) {
    let text = |name: &str| waits.get(name).and_then(Value::as_str).map(str::to_owned);
    proposal.step = "wait".to_owned();
    proposal.text = format!("{node}: {}", text("text").unwrap_or_default());
    proposal.from = text("from");
    proposal.next = None;
    proposal.ds.clear();
}

/// Leaves out what is of a key that is not made yet: another one is drawn when the step is taken.
pub(super) fn hide_new_key(proposal: &mut KeyProposal) {
    if proposal.step == PUBLISH {
        proposal.text = "a new key is published".to_owned();
        proposal.next = None;
        proposal.ds.clear();
    }
}

fn zone_of(answer: &Value, zone: &str) -> Option<Value> {
    let zones = answer.get("zones").and_then(Value::as_array)?;
    let is_it = |one: &&Value| one.get("zone").and_then(Value::as_str) == Some(zone);
    zones.iter().find(is_it).cloned()
}

/// The step of a kind, or of the only one, where that is to wait until a time.
fn waiting(zone: &Value, kind: Option<KeyKind>) -> Option<&Value> {
    let next = zone.get("next").and_then(Value::as_array)?;
    let kind = kind.map(|kind| kind.to_string());
    let mut of_kind = next.iter().filter(|step| {
        kind.as_deref().is_none_or(|kind| step.get("kind").and_then(Value::as_str) == Some(kind))
    });
    let step = of_kind.next()?;
    let is_only = of_kind.next().is_none();
    (is_only && step.get("step").and_then(Value::as_str) == Some("wait")).then_some(step)
}

/// The step that makes a key.
const PUBLISH: &str = "publish";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish() -> Wish {
        Wish { zone: "a.".to_owned(), ..Wish::default() }
    }

    fn says(node: &str, state: &str, revision: Value) -> (String, Result<Value, AskError>) {
        let zone = json!({
            "zone": "a.", "keys": [{"tag": 7, "state": state}], "revision": revision, "refused": null,
            "next": [{"kind": "csk", "step": "publish"}],
        });
        (node.to_owned(), Ok(json!({"zones": [zone]})))
    }

    fn kept(revision: u64, nodes: &[&str]) -> Kept {
        let set = ProvenSet { text: String::new(), proof: String::new() };
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        let (by, reason) = (String::new(), String::new());
        Kept { set, revision, by, reason, at_unix_ms: 0, nodes }
    }

    #[test]
    fn nodes_that_have_the_same_keys_of_the_newest_set_agree() {
        let both = [says("n1", "active", json!(3)), says("n2", "active", json!(4))];
        let known = kept(3, &["n1"]);
        let found = agreed(&wish(), &both, Some(&known)).expect("they agree");
        assert_eq!(found, Agreed { nodes: vec!["n1".into(), "n2".into()], waits: None });
        assert!(agreed(&wish(), &both, None).is_ok());
    }

    #[test]
    fn a_step_that_only_some_nodes_could_take_is_refused_with_the_node() {
        let good = || says("n1", "active", json!(3));
        let silent = ("n2".to_owned(), Err(AskError::Silent("n2".into())));
        let nothing = ("n2".to_owned(), Ok(json!({"zones": []})));
        let mut refuses = says("n2", "active", json!(2));
        if let Ok(answer) = &mut refuses.1 {
            answer["zones"][0]["refused"] = json!({"revision": 3, "why": "x"});
        }
        let mut cannot = says("n2", "active", json!(3));
        if let Ok(answer) = &mut cannot.1 {
            answer["zones"][0]["may_write"] = json!(false);
        }
        let of_three = kept(3, &["n1", "n2"]);
        for (other, words) in [
            (silent, "geo node n2 did not answer"),
            (nothing, "different keys"),
            (says("n2", "retired", json!(3)), "different keys of a.: n2 and n1"),
            (says("n2", "active", json!(null)), "older build"),
            (says("n2", "active", json!(2)), "n2 has not taken the step before yet (revision 3)"),
            (cannot, "n2 may not write its folder"),
            (says("n3", "active", json!(3)), "away: n2"),
        ] {
            let node = other.0.clone();
            let error = agreed(&wish(), &[good(), other.clone()], Some(&of_three));
            let error = error.expect_err(words).to_string();
            assert!(error.contains(words), "{words}: {error}");
            let without = Wish { without: vec![node, "n2".into()], ..wish() };
            let alone = agreed(&without, &[good(), other], Some(&of_three)).expect("n1 agrees");
            assert_eq!(alone.nodes, ["n1"]);
        }
        let alike = [good(), good()];
        assert!(agreed(&wish(), &alike, Some(&kept(3, &["n1", "n1"]))).is_ok());
        let one_less = agreed(&wish(), &alike[..1], Some(&kept(3, &["n1", "n1"])));
        assert!(one_less.expect_err("one is away").to_string().contains("away: n1"));
        // What is refused everywhere holds nobody up; what the keys are decides.
        assert!(agreed(&wish(), &[good(), refuses], Some(&of_three)).is_ok());
        let none = [("n1".to_owned(), Ok(json!({"zones": []})))];
        assert!(matches!(agreed(&wish(), &none, None), Err(RollError::NotSigned(_))));
        assert!(matches!(agreed(&wish(), &[], None), Err(RollError::Ask(AskError::Nobody))));
    }

    #[test]
    fn it_is_due_when_every_node_says_so() {
        let mut late = says("n2", "active", json!(3));
        if let Ok(answer) = &mut late.1 {
            answer["zones"][0]["next"] = json!([{"kind": "csk", "step": "wait", "from": "2030"}]);
        }
        let both = [says("n1", "active", json!(3)), late];
        let (node, next) = agreed(&wish(), &both, None).expect("good").waits.expect("n2 waits");
        assert_eq!((node.as_str(), &next["from"]), ("n2", &json!("2030")));
        let of_kind = Wish { kind: Some(KeyKind::Zsk), ..wish() };
        assert_eq!(agreed(&of_kind, &both, None).expect("good").waits, None);
    }

    #[test]
    fn what_was_shown_is_done_or_nothing() {
        let proposal: KeyProposal = serde_json::from_value(
            json!({"kind": "csk", "step": "activate", "text": "", "ds": []}),
        )
        .expect("a proposal");
        let shown = |step: &str, before| Wish { step: Some(step.into()), before, ..wish() };
        assert!(is_as_shown(&wish(), &proposal, 9).is_ok());
        assert!(is_as_shown(&shown("activate", Some(9)), &proposal, 9).is_ok());
        assert!(is_as_shown(&shown("activate", Some(8)), &proposal, 9).is_err());
        assert!(is_as_shown(&shown("publish", Some(9)), &proposal, 9).is_err());
    }

    #[test]
    fn what_is_no_set_of_that_zone_is_refused() {
        let text = "{\"zone\":\"b.\",\"revision\":3}";
        for set in [json!({"text": text, "proof": ""}), json!({"text": "", "proof": ""}), json!(7)]
        {
            let answer = json!({"kind": "csk", "step": "publish", "text": "", "set": set});
            assert!(checked("n1", "a.", 0, answer).is_err());
        }
        let not_due = json!({"kind": "csk", "step": "wait", "text": "", "ds": []});
        assert!(checked("n1", "a.", 0, not_due).expect("good").1.is_none());
    }
}
