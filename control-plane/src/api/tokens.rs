//! `/v1/tokens`, `/v1/roles`, `/v1/whoami`, `/v1/can-i`: who may do what.
//!
//! Nobody hands on what they do not hold; what gives or takes the power to approve needs a second person, or one
//! person could make themselves two.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};

use super::{
    Api,
    access_model::{CanIRequest, CanIView, RoleList, TokenRequest, TokenView, WhoamiView},
    auth::{Caller, digest_of},
    error::ApiError,
    model::Items,
    request::Json,
};
use crate::{
    access::{Danger, Grant, NewGrant, Role, Scopes, TokenRecord, Verb},
    unix_time::{millis, unix_ms},
};

/// `GET /v1/tokens`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<Items<TokenView>>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let tokens = api.parts.access.tokens().await?;
    let items = tokens.into_iter().map(|token| view(token, None)).collect();
    Ok(axum::Json(Items { items }))
}

/// `POST /v1/tokens`
pub(super) async fn make(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<TokenRequest>,
) -> Result<Response, ApiError> {
    api.require(&caller, Verb::TokenWrite, "")?;
    caller.reason(&body.reason);
    let digest = digest_of(&body);
    let scopes = grants(&body.scopes)?;
    let lifetime = body.lifetime.as_deref().map(lifetime).transpose()?;
    let expires = lifetime.map(|lifetime| unix_ms(api.parts.clock.now()) + millis(lifetime));
    let mut given = scopes.clone();
    for name in &body.roles {
        given.extend(api.parts.access.role(name).await?.into_iter().flat_map(|role| role.scopes));
    }
    let given = Scopes::of(given);
    if let Some(grant) = caller.scopes.first_not_covered(&given) {
        return Err(ApiError::Forbidden(format!("{grant}, which the token would have")));
    }
    if is_power(&given) {
        let target = format!("token/{}", body.label);
        api.danger(&caller, Danger::GrantPower, &target, &digest, &headers).await?;
    }
    let grant = NewGrant {
        label: body.label,
        scopes,
        roles: body.roles,
        expires_unix_ms: expires,
        created_by: Some(caller.id.clone()),
    };
    let (text, token) = api.parts.access.make_token(grant, &caller.scopes).await?;
    caller.audit("make token", &format!("{} for {}", token.id, token.person()));
    Ok((StatusCode::CREATED, axum::Json(view(token, Some(text)))).into_response())
}

/// `DELETE /v1/tokens/{id}`
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if id != caller.id {
        api.require(&caller, Verb::TokenWrite, "")?;
        let tokens = api.parts.access.tokens().await?;
        if let Some(token) = tokens.iter().find(|token| token.id == id) {
            let scopes = api.parts.access.scopes_of(token).await?;
            if scopes.allows_somewhere(Verb::Approve) && token.person() != caller.person() {
                let target = format!("token/{id}");
                api.danger(&caller, Danger::GrantPower, &target, "revoke", &headers).await?;
            }
        }
    }
    api.parts.access.revoke_token(&id).await?;
    caller.audit("revoke token", &id);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/roles`
pub(super) async fn roles(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<RoleList>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    Ok(axum::Json(Items { items: api.parts.access.roles().await? }))
}

/// `PUT /v1/roles/{name}`
pub(super) async fn put_role(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Path(name): Path<String>,
    Json(role): Json<Role>,
) -> Result<axum::Json<Role>, ApiError> {
    api.require(&caller, Verb::TokenWrite, "")?;
    if role.name != name {
        let text = format!("the path says {name:?}, the role {:?}", role.name);
        return Err(ApiError::Invalid(text));
    }
    let given = Scopes::of(role.scopes.clone());
    if let Some(grant) = caller.scopes.first_not_covered(&given) {
        return Err(ApiError::Forbidden(format!("{grant}, which the role would hand on")));
    }
    let before = api.parts.access.role(&name).await?.map(|role| Scopes::of(role.scopes));
    if is_power(&given) || before.is_some_and(|before| is_power(&before)) {
        let target = format!("role/{name}");
        api.danger(&caller, Danger::GrantPower, &target, &digest_of(&role), &headers).await?;
    }
    api.parts.access.put_role(&role).await?;
    caller.audit("put role", &name);
    Ok(axum::Json(role))
}

/// `DELETE /v1/roles/{name}`
pub(super) async fn remove_role(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.require(&caller, Verb::TokenWrite, "")?;
    let role = api.parts.access.role(&name).await?;
    if role.is_some_and(|role| is_power(&Scopes::of(role.scopes))) {
        let target = format!("role/{name}");
        api.danger(&caller, Danger::GrantPower, &target, "remove", &headers).await?;
    }
    api.parts.access.delete_role(&name).await?;
    caller.audit("delete role", &name);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/whoami`
pub(super) async fn whoami(caller: Caller) -> axum::Json<WhoamiView> {
    let scopes = caller.scopes.iter().map(ToString::to_string).collect();
    axum::Json(WhoamiView { id: caller.id, label: caller.label, scopes })
}

/// `POST /v1/can-i`
pub(super) async fn can_i(
    caller: Caller,
    Json(question): Json<CanIRequest>,
) -> Result<axum::Json<CanIView>, ApiError> {
    let verb = Verb::ALL.iter().find(|(_, name)| *name == question.verb);
    let (verb, _) = verb.ok_or_else(|| {
        let known = Verb::ALL.map(|(_, name)| name).join(", ");
        ApiError::Invalid(format!("a verb is one of {known}"))
    })?;
    let by = caller.scopes.iter().filter(|grant| grant.allows(*verb, &question.target));
    let by: Vec<_> = by.map(ToString::to_string).collect();
    Ok(axum::Json(CanIView { allowed: !by.is_empty(), by }))
}

/// Whether these rights can make more rights, approve, sign or read secrets.
fn is_power(scopes: &Scopes) -> bool {
    POWERS.iter().any(|verb| scopes.allows_somewhere(*verb))
}

fn grants(texts: &[String]) -> Result<Vec<Grant>, ApiError> {
    let parse = |text: &String| text.parse();
    let grants: Result<_, crate::access::GrantError> = texts.iter().map(parse).collect();
    grants.map_err(|error| ApiError::Invalid(error.to_string()))
}

fn lifetime(text: &str) -> Result<Duration, ApiError> {
    let lifetime = humantime::parse_duration(text)
        .map_err(|error| ApiError::Invalid(format!("lifetime: {error}")))?;
    if lifetime > LIFETIME_MAX {
        let longest = humantime::format_duration(LIFETIME_MAX);
        return Err(ApiError::Invalid(format!("the longest lifetime is {longest}")));
    }
    Ok(lifetime)
}

fn view(token: TokenRecord, text: Option<String>) -> TokenView {
    TokenView {
        id: token.id,
        label: token.label,
        scopes: token.scopes,
        roles: token.roles,
        created_unix_ms: token.created_unix_ms,
        created_by: token.created_by,
        expires_unix_ms: token.expires_unix_ms,
        token: text,
    }
}

const POWERS: [Verb; 5] =
    [Verb::Approve, Verb::TokenWrite, Verb::CaWrite, Verb::Backup, Verb::Breakglass];
const LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
