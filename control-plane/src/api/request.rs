//! What handlers read from requests: JSON bodies in time and within the limit, ids in paths, preconditions.
//!
//! Nothing here trusts a length or a type that the client announces.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde::de::DeserializeOwned;
use tidegate_contract::id::Generation;
use tokio::time::timeout;

use super::{Api, error::ApiError};

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let body = timeout(api.config.body_timeout, Bytes::from_request(request, api)).await;
        let body = body.map_err(|_| ApiError::TooSlow)?.map_err(|rejection| {
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
                _ => ApiError::Malformed("the body did not arrive whole".to_owned()),
            }
        })?;
        serde_json::from_slice(&body)
            .map(Json)
            .map_err(|error| ApiError::Malformed(format!("the body cannot be read: {error}")))
    }
}

/// Reads an id out of a path.
pub(super) fn id<T>(
    what: &'static str,
    text: String,
    parse: impl FnOnce(String) -> Result<T, tidegate_contract::id::IdError>,
) -> Result<T, ApiError> {
    // What is no id names nothing.
    parse(text.clone())
        .map_err(|_| ApiError::NotFound { what, id: text.chars().take(64).collect() })
}

/// The generation of `If-Match`, when there is one.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Generation>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let bad = || ApiError::Malformed("if-match is not the entity tag of a resource".to_owned());
    let text = value.to_str().map_err(|_| bad())?;
    let tag = text.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(bad)?;
    tag.parse().map(|generation| Some(Generation(generation))).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_a_generation_in_quotes() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, text.parse().expect("a header"));
            if_match(&headers)
        };
        assert_eq!(read("\"7\"").expect("good"), Some(Generation(7)));
        for bad in ["7", "\"x\"", "W/\"7\"", "*"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(if_match(&HeaderMap::new()).expect("none"), None);
    }
}
