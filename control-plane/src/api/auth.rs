//! Who calls, by bearer token, and what they may do.
//!
//! A token is looked up on every request, so that one that was revoked is worth nothing at once. What needs a second
//! person goes through [`Api::danger`], which uses up an approval or asks for one.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use serde::Serialize;

use super::{Api, error::ApiError, trail::Trail};
use crate::{
    access::{Claim, Clearance, Danger, Scopes, Verb},
    token::{Kind, Presented, Scope},
};

/// The header that shows an approval.
pub(super) const APPROVAL_HEADER: &str = "tidegate-approval";

/// Who calls.
pub(super) struct Caller {
    /// The token's public id; may stand in logs.
    pub(super) id: String,
    /// Whose token.
    pub(super) label: String,
    /// What it may do.
    pub(super) scopes: Scopes,
    trail: Trail,
}

impl Caller {
    /// Checks that one of the three plain scopes is held, on everything; `admin` holds all.
    pub(super) fn require(&self, scope: Scope) -> Result<(), ApiError> {
        let verb = match scope {
            Scope::Admin => Verb::Admin,
            Scope::Purge => Verb::Purge,
            Scope::Read => Verb::Read,
        };
        self.require_verb(verb, "")
    }

    /// As [`Caller::require`], with either of two scopes.
    pub(super) fn require_either(&self, first: Scope, second: Scope) -> Result<(), ApiError> {
        self.require(first).or_else(|_| self.require(second))
    }

    /// Checks that a verb is held on a target: `kind/name`, or empty for what concerns everything.
    pub(super) fn require_verb(&self, verb: Verb, target: &str) -> Result<(), ApiError> {
        if self.scopes.allows(verb, target) {
            return Ok(());
        }
        let on = if target.is_empty() { String::new() } else { format!(" on {target}") };
        Err(ApiError::Forbidden(format!("{}{on}", verb.as_str())))
    }

    /// Who holds the token: its label, or its id where it has none.
    pub(super) fn person(&self) -> &str {
        if self.label.is_empty() { &self.id } else { &self.label }
    }

    /// Adds words to the audit row of this call; at most a few, and never a secret.
    pub(super) fn note(&self, words: impl Into<String>) {
        self.trail.note(words.into());
    }

    /// Says why, when the reason came in the body; a reason in the header stays.
    pub(super) fn reason(&self, why: &str) {
        self.trail.reason(why);
    }

    /// Says that this call is a dry run: nothing is done, and no audit row says that anything was.
    pub(super) fn plans(&self) {
        self.trail.plans();
    }

    /// Notes what was done, to what; for the audit row and the log.
    pub(super) fn audit(&self, action: &'static str, subject: &str) {
        let (token, label) = (&self.id, &self.label);
        tracing::info!(target: "audit", token, label, action, subject, "{label}: {action} {subject}");
        self.note(format!("{action} {subject}"));
    }
}

impl Api {
    /// Whether [`Api::danger`] would want a second person, when no approval is shown. Asks for none.
    pub(super) async fn needs_approval(
        &self,
        caller: &Caller,
        target: &str,
    ) -> Result<bool, ApiError> {
        if caller.scopes.allows(Verb::Breakglass, target) {
            return Ok(false);
        }
        Ok(self.parts.access.needs_second(caller.person()).await?)
    }

    /// Checks that the caller holds a verb on a target: `kind/name`, or empty for what concerns everything.
    pub(super) fn require(
        &self,
        caller: &Caller,
        verb: Verb,
        target: &str,
    ) -> Result<(), ApiError> {
        caller.require_verb(verb, target)
    }

    /// Lets a dangerous act go on when it needs no second person, one has approved exactly this (the approval in the
    /// header is used up), or the caller breaks the glass. Otherwise answers 409 with the approval to wait for.
    pub(super) async fn danger(
        &self,
        caller: &Caller,
        danger: Danger,
        target: &str,
        plan_digest: &str,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let shown = headers.get(APPROVAL_HEADER).and_then(|value| value.to_str().ok());
        if shown.is_none() && caller.scopes.allows(Verb::Breakglass, target) {
            caller.note(format!("BREAKGLASS {}", danger.as_str()));
            tracing::warn!(target: "audit", token = caller.id, act = danger.as_str(), "glass broken");
            return Ok(());
        }
        let claim = Claim {
            danger,
            target: target.to_owned(),
            digest: plan_digest.to_owned(),
            token: caller.id.clone(),
            person: caller.person().to_owned(),
            reason: caller.trail.why(),
        };
        match self.parts.access.clear(claim, shown).await? {
            Clearance::NotNeeded => {}
            Clearance::Approved(id, person) => {
                caller.note(format!("approval {id} by {person}"));
            }
        }
        Ok(())
    }
}

/// The digest of a plan, as approvals bind it.
pub(super) fn digest_of(plan: &impl Serialize) -> String {
    let json = serde_json::to_vec(plan).expect("a plan is plain data");
    blake3::hash(&json).to_hex().to_string()
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let presented = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .and_then(|token| Presented::parse(Kind::Api, token.trim()))
            .ok_or(ApiError::Unauthenticated)?;
        let found = api.parts.access.authenticate(&presented).await?;
        let (token, scopes) = found.ok_or(ApiError::Unauthenticated)?;
        let trail = parts.extensions.get::<Trail>().cloned().unwrap_or_default();
        trail.called_by(&token.id, &token.label);
        Ok(Self { id: token.id, label: token.label, scopes, trail })
    }
}
