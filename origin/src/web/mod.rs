//! What all handlers share: who asks, errors as problem documents, bodies, headers for other origins.

mod auth;
mod body;
mod cross_origin;
mod error;
mod linger;

pub use auth::{Client, ClientId, TokenLineError, Tokens, create_token};
pub use body::JsonBody;
pub use cross_origin::allow_any_origin;
pub use error::{ApiError, ProblemKind};
pub use linger::linger_after_refusal;

/// The bearer token of a request, if there is one.
#[must_use]
pub fn bearer_token(headers: &axum::http::HeaderMap) -> Option<&str> {
    let value = headers.get(axum::http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
