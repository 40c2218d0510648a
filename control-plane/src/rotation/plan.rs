//! The steps from one authority to the next, and whom a step would cut off.
//!
//! Pure. First everybody learns of the next one, then it signs, then the old one goes. Invariant: no step is allowed after
//! which a node that is enrolled could not verify this control plane, or could not be verified by it.

use serde::{Deserialize, Serialize};

use super::RotationError;
use crate::store::NodeName;

/// Whose state this is: the record that all replicas go by. Authorities are called by the SHA-256 of their PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The one that signs.
    pub ca_sha256: String,
    /// The one that will sign, of which nodes learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_sha256: Option<String>,
    /// The one that signed before, whose certificates still count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_sha256: Option<String>,
}

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The next authority is made; nodes learn of it when they renew.
    Begin,
    /// It signs from now on; the one before is still believed.
    Switch,
    /// The one before is dropped.
    Finish,
    /// The next one is dropped before it signed anything.
    Abandon,
}

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// One authority.
    Steady,
    /// The next one is made known.
    Prepared,
    /// The next one signs, the one before still counts.
    Switched,
}

/// What a node says of authorities, by their marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTrust {
    /// The node.
    pub name: NodeName,
    /// Whom it believes; empty when it never said.
    pub believes: Vec<u64>,
    /// Who signed its certificate; 0 when it never said.
    pub signed_by: u64,
    /// The release that it runs.
    pub generation: u64,
}

/// The marks of the authorities of a step, and the oldest release that stays good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The one that signs.
    pub signs: u64,
    /// The next one, where there is one.
    pub next: Option<u64>,
    /// The newest release.
    pub head: u64,
}

/// A node that a step would cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// `pop/node`.
    pub node: String,
    /// What it lacks.
    pub why: String,
}

impl Mark {
    /// One authority and no other.
    #[must_use]
    pub fn steady(ca_sha256: String) -> Self {
        Self { ca_sha256, next_sha256: None, old_sha256: None }
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (&self.next_sha256, &self.old_sha256) {
            (None, None) => Phase::Steady,
            (Some(_), _) => Phase::Prepared,
            (None, Some(_)) => Phase::Switched,
        }
    }

    /// Those that are believed beside the one that signs.
    #[must_use]
    pub fn beside(&self) -> Vec<&str> {
        self.next_sha256.iter().chain(&self.old_sha256).map(String::as_str).collect()
    }

    /// The mark after a step; `made` is the authority that `begin` made.
    ///
    /// # Errors
    /// [`RotationError::NotNow`]
    pub fn after(&self, step: Step, made: Option<&str>) -> Result<Self, RotationError> {
        let refused = |what: &'static str| Err(RotationError::NotNow(what));
        let sha256 = self.ca_sha256.clone();
        match (step, self.phase()) {
            (Step::Begin, Phase::Steady) => {
                Ok(Self { next_sha256: made.map(str::to_owned), ..self.clone() })
            }
            (Step::Begin, _) => refused("an authority is being replaced already"),
            (Step::Switch, Phase::Prepared) => Ok(Self {
                ca_sha256: self.next_sha256.clone().unwrap_or(sha256.clone()),
                next_sha256: None,
                old_sha256: Some(sha256),
            }),
            (Step::Switch, _) => refused("no next authority is made known: begin first"),
            (Step::Finish, Phase::Switched) | (Step::Abandon, Phase::Prepared) => {
                Ok(Self::steady(sha256))
            }
            (Step::Finish, _) => refused("no authority waits to be dropped"),
            (Step::Abandon, _) => refused("the next authority signs already, or there is none"),
        }
    }
}

/// The nodes that a step would cut off.
#[must_use]
pub fn cut_off(step: Step, marks: Marks, nodes: &[NodeTrust]) -> Vec<CutOff> {
    let why = |node: &NodeTrust| match step {
        Step::Begin | Step::Abandon => None,
        Step::Switch if marks.next.is_some_and(|next| node.believes.contains(&next)) => None,
        Step::Switch if node.believes.is_empty() => Some("it never said whom it believes"),
        Step::Switch => Some("it has not heard of the next authority: it will when it renews"),
        Step::Finish if !node.believes.contains(&marks.signs) => {
            Some("it does not believe the authority that signs")
        }
        Step::Finish if node.signed_by != marks.signs => {
            Some("its certificate is of the one before: it will renew it")
        }
        Step::Finish if node.generation < marks.head => {
            Some("it runs a release that the one before vouches for")
        }
        Step::Finish => None,
    };
    let lacks =
        |node: &NodeTrust| Some(CutOff { node: node.name.to_string(), why: why(node)?.to_owned() });
    nodes.iter().filter_map(lacks).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_contract::id::{NodeId, PopId};

    use super::*;

    fn node(believes: &[u64], signed_by: u64, generation: u64) -> NodeTrust {
        NodeTrust {
            name: NodeName {
                pop: PopId::parse("fra").expect("good"),
                node: NodeId::parse("n1").expect("good"),
            },
            believes: believes.to_vec(),
            signed_by,
            generation,
        }
    }

    #[test]
    fn the_next_is_made_known_then_signs_then_the_old_one_goes() {
        let steady = Mark::steady("a".into());
        let prepared = steady.after(Step::Begin, Some("b")).expect("steady");
        assert_eq!((prepared.ca_sha256.as_str(), prepared.beside()), ("a", vec!["b"]));
        assert_eq!(prepared.after(Step::Abandon, None).expect("prepared"), steady);
        let switched = prepared.after(Step::Switch, None).expect("prepared");
        assert_eq!((switched.ca_sha256.as_str(), switched.beside()), ("b", vec!["a"]));
        assert_eq!(switched.after(Step::Finish, None).expect("switched"), Mark::steady("b".into()));
        for (mark, steps) in [
            (&steady, &[Step::Switch, Step::Finish, Step::Abandon][..]),
            (&prepared, &[Step::Begin, Step::Finish][..]),
            (&switched, &[Step::Begin, Step::Switch, Step::Abandon][..]),
        ] {
            for step in steps {
                assert!(mark.after(*step, Some("c")).is_err(), "{:?} {step:?}", mark.phase());
            }
        }
    }

    #[test]
    fn whoever_would_be_cut_off_is_named() {
        let prepared = Marks { signs: 1, next: Some(2), head: 9 };
        let switched = Marks { signs: 2, next: None, head: 9 };
        for (step, marks, node, says) in [
            (Step::Switch, prepared, node(&[1, 2], 1, 3), ""),
            (Step::Switch, prepared, node(&[1], 1, 3), "has not heard"),
            (Step::Switch, prepared, node(&[], 0, 3), "never said"),
            (Step::Finish, switched, node(&[1, 2], 2, 9), ""),
            (Step::Finish, switched, node(&[1, 2], 1, 9), "will renew"),
            (Step::Finish, switched, node(&[1], 1, 9), "does not believe"),
            (Step::Finish, switched, node(&[1, 2], 2, 8), "a release"),
            (Step::Begin, prepared, node(&[], 0, 0), ""),
            (Step::Abandon, prepared, node(&[], 0, 0), ""),
        ] {
            let cut = cut_off(step, marks, std::slice::from_ref(&node));
            let why = cut.first().map_or("", |one| one.why.as_str());
            assert!(why.contains(says) && says.is_empty() == cut.is_empty(), "{node:?}: {why}");
        }
    }

    #[test]
    fn the_record_of_before_rotations_reads() {
        let read: Mark = serde_json::from_str(r#"{"ca_sha256":"a"}"#).expect("good");
        assert_eq!(read, Mark::steady("a".into()));
        assert_eq!(serde_json::to_string(&read).expect("plain"), r#"{"ca_sha256":"a"}"#);
    }
}
