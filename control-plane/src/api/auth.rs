//! Who calls, by bearer token, and what they may do.
//!
//! A token is looked up on every request, so that one that was revoked is worth nothing at once.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};

use super::{Api, error::ApiError};
use crate::token::{Kind, Presented, Scope};

/// Who calls.
pub(super) struct Caller {
    /// The token's public id; may stand in logs.
    pub(super) token: String,
    label: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Checks that one of the scopes is held; `admin` holds all.
    pub(super) fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin) {
            Ok(())
        } else {
            Err(ApiError::Forbidden(scope.as_str()))
        }
    }

    /// As [`Caller::require`], with either of two scopes.
    pub(super) fn require_either(&self, first: Scope, second: Scope) -> Result<(), ApiError> {
        self.require(first).or_else(|_| self.require(second))
    }

    /// Whose token it is; its id where nobody said.
    pub(super) fn label(&self) -> &str {
        if self.label.is_empty() { &self.token } else { &self.label }
    }

    /// Writes the audit line of a change: who, what, to what.
    pub(super) fn audit(&self, action: &'static str, subject: &str) {
        let (token, label) = (&self.token, &self.label);
        tracing::info!(target: "audit", token, label, action, subject, "{label}: {action} {subject}");
    }
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
        let row = api.parts.store.api_token(&presented.id).await?;
        let row =
            row.filter(|row| presented.matches(&row.hash)).ok_or(ApiError::Unauthenticated)?;
        // A scope that this program does not know gives nothing.
        let scopes = row.scopes.split(' ').filter_map(|scope| scope.parse().ok()).collect();
        Ok(Self { token: row.id, label: row.label, scopes })
    }
}
