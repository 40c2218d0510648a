//! What needs a second person, and whether an approval allows what is asked: pure.
//!
//! An approval is for one person, one act, one target and one plan, and for one use; the plan is bound by its digest,
//! so that nobody approves one thing and has another done.

use serde::{Deserialize, Serialize};

/// An act that hurts when it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Danger {
    /// Purge everything: every PoP goes back to the origins.
    PurgeAll,
    /// Publish to every PoP at once.
    PublishFast,
    /// Go back to an older release.
    Rollback,
    /// Take a PoP out of service.
    Drain,
    /// Let a new process of a node take over.
    RestartNode,
    /// Take a node's release back.
    RollbackNode,
    /// Remove a PoP with its nodes.
    RemovePop,
    /// Make identities of nodes worthless.
    RevokeNodes,
    /// Change what is announced.
    Announce,
    /// Change what guards announcements.
    Interlock,
    /// Hold the map of the DNS, or let it go.
    HoldMap,
    /// Hand out rights that can approve, make tokens or sign.
    GrantPower,
    /// Replace the authority that signs identities.
    RotateCa,
}

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The act.
    pub danger: Danger,
    /// What it is done to: `kind/name`, or empty for everything.
    pub target: String,
    /// The digest of the request or its plan.
    pub digest: String,
    /// The token that asks.
    pub token: String,
    /// Who holds it: its label, or its id where it has none.
    pub person: String,
    /// Why.
    pub reason: String,
}

/// How far an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// It waits for a second person.
    Pending,
    /// It may be used once.
    Approved,
    /// Somebody said no.
    Rejected,
    /// It was used.
    Used,
}

/// An approval as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// What it is for.
    #[serde(flatten)]
    pub claim: Claim,
    /// How far it is.
    pub state: ApprovalState,
    /// When it was asked for.
    pub asked_unix_ms: u64,
    /// When it ends, used or not.
    pub expires_unix_ms: u64,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// When a dangerous act needs a second person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TwoPerson {
    /// Never.
    Never,
    /// As soon as somebody else is there who may approve.
    WhenSeveral,
    /// Always: where nobody else may approve, only `breakglass` goes past it.
    Always,
}

impl Danger {
    /// Its name, as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PurgeAll => "purge_all",
            Self::PublishFast => "publish_fast",
            Self::Rollback => "rollback",
            Self::Drain => "drain",
            Self::RestartNode => "restart_node",
            Self::RollbackNode => "rollback_node",
            Self::RemovePop => "remove_pop",
            Self::RevokeNodes => "revoke_nodes",
            Self::Announce => "announce",
            Self::Interlock => "interlock",
            Self::HoldMap => "hold_map",
            Self::GrantPower => "grant_power",
            Self::RotateCa => "rotate_ca",
        }
    }
}

impl TwoPerson {
    /// Whether a second person is needed, when these persons may approve.
    #[must_use]
    pub fn is_needed(self, who_asks: &str, approvers: &[String]) -> bool {
        match self {
            Self::Never => false,
            Self::WhenSeveral => approvers.iter().any(|person| person != who_asks),
            Self::Always => true,
        }
    }
}

/// Whether an approval allows what is asked for now.
///
/// # Errors
/// Why not.
pub(super) fn allows(
    approval: &Approval,
    claim: &Claim,
    now_unix_ms: u64,
) -> Result<(), &'static str> {
    let asked = &approval.claim;
    if (asked.danger, &asked.target) != (claim.danger, &claim.target) {
        return Err("it is for another act");
    }
    if asked.digest != claim.digest {
        return Err("what is asked for has changed since it was approved");
    }
    if asked.person != claim.person {
        return Err("somebody else asked for it");
    }
    match approval.state {
        ApprovalState::Used => Err("it was used"),
        ApprovalState::Rejected => Err("it was rejected"),
        _ if approval.expires_unix_ms <= now_unix_ms => Err("it has ended"),
        ApprovalState::Pending => Err("nobody approved it yet"),
        ApprovalState::Approved => Ok(()),
    }
}

/// Whether a person may decide on an approval.
///
/// # Errors
/// Why not.
pub(super) fn may_decide(
    approval: &Approval,
    person: &str,
    now_unix_ms: u64,
) -> Result<(), &'static str> {
    if approval.state != ApprovalState::Pending {
        return Err("it was decided before");
    }
    if approval.expires_unix_ms <= now_unix_ms {
        return Err("it has ended");
    }
    if approval.claim.person == person {
        return Err("nobody approves what they asked for themselves");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            danger: Danger::Rollback,
            target: "release/7".into(),
            digest: "d1".into(),
            token: "t1".into(),
            person: "ann".into(),
            reason: "bad".into(),
        }
    }

    fn approval(state: ApprovalState) -> Approval {
        Approval {
            id: "a".into(),
            claim: claim(),
            state,
            asked_unix_ms: 0,
            expires_unix_ms: 100,
            decided_by: None,
        }
    }

    #[test]
    fn an_approval_allows_exactly_what_was_approved_to_who_asked_once_in_time() {
        let good = approval(ApprovalState::Approved);
        assert_eq!(allows(&good, &claim(), 99), Ok(()));
        // The same person with another token is the same person.
        assert_eq!(allows(&good, &Claim { token: "t2".into(), ..claim() }, 99), Ok(()));
        assert!(allows(&good, &claim(), 100).is_err());
        for other in [
            Claim { danger: Danger::PurgeAll, ..claim() },
            Claim { target: "release/8".into(), ..claim() },
            Claim { digest: "d2".into(), ..claim() },
            Claim { person: "bob".into(), ..claim() },
        ] {
            assert!(allows(&good, &other, 0).is_err(), "{other:?}");
        }
        for state in [ApprovalState::Pending, ApprovalState::Rejected, ApprovalState::Used] {
            assert!(allows(&approval(state), &claim(), 0).is_err(), "{state:?}");
        }
    }

    #[test]
    fn somebody_else_decides_once_and_in_time() {
        let pending = approval(ApprovalState::Pending);
        assert_eq!(may_decide(&pending, "bob", 0), Ok(()));
        assert!(may_decide(&pending, "ann", 0).is_err());
        assert!(may_decide(&pending, "bob", 100).is_err());
        assert!(may_decide(&approval(ApprovalState::Approved), "bob", 0).is_err());
    }

    #[test]
    fn a_second_person_is_needed_where_there_is_one() {
        let (one, two) = (["ann".to_owned()], ["ann".to_owned(), "bob".to_owned()]);
        for (when, approvers, is_needed) in [
            (TwoPerson::Never, &two[..], false),
            (TwoPerson::WhenSeveral, &one, false),
            (TwoPerson::WhenSeveral, &[], false),
            (TwoPerson::WhenSeveral, &two, true),
            (TwoPerson::Always, &[], true),
        ] {
            assert_eq!(when.is_needed("ann", approvers), is_needed, "{when:?} {approvers:?}");
        }
    }
}
