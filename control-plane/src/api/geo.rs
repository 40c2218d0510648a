//! `/v1/geo`: what nodes of the DNS follow and answer; `/v1/dns`: what operators ask them, and the hold on the map.
//!
//! Operators' questions go to any node that follows this replica: all of them make the same map. Who asks where a client
//! would go is told so and nothing is written down.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json as Answer,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use tidegate_contract::{geo_feed::Question, network::Network};
use tokio::time::sleep;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    Api,
    auth::{Caller, digest_of},
    drain::reason,
    error::ApiError,
    geo_model::{DnsAnswer, HoldRequest, HoldView},
    model::Items,
    request::Json,
};
use crate::{
    access::{Danger, Verb},
    geo::{AskError, Follower, FollowerView},
    store::CommitError,
    token::Scope,
};

/// Who follows.
#[derive(Debug, Deserialize)]
pub(super) struct Following {
    node: Option<String>,
    /// The newest generation of questions that it knows.
    #[serde(default = "first")]
    questions: u32,
}

/// What somebody wants to know of a name.
#[derive(Debug, Deserialize)]
pub(super) struct Resolve {
    name: String,
    #[serde(rename = "type", default = "address")]
    record: String,
    /// Who asks; absent: somebody in the subnet.
    #[serde(default)]
    client: Option<String>,
    /// The subnet that the query carries.
    #[serde(default)]
    ecs: Option<String>,
}

/// How far back.
#[derive(Debug, Deserialize)]
pub(super) struct Back {
    #[serde(default = "ago")]
    ago: String,
}

/// `GET /v1/geo/feed`
pub(super) async fn feed(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(following): Query<Following>,
) -> Result<Response, ApiError> {
    caller.require_verb(Verb::Geo, "")?;
    let name: String = match following.node {
        Some(name) => {
            let plain = name.chars().filter(|letter| letter.is_ascii_graphic());
            plain.take(NODE_CHARS_MAX).collect()
        }
        None => caller.person().to_owned(),
    };
    let questions = following.questions;
    let follower = Follower { name, token: caller.id.clone(), label: caller.label, questions };
    let ends = {
        let api = Arc::clone(&api);
        async move {
            tokio::select! {
                () = api.parts.drain.started() => {}
                () = revoked(&api, &caller.id) => {}
            }
        }
    };
    let lines = api.parts.geo.follow(follower, ends);
    let lines = lines.map_err(|error| ApiError::Unavailable(error.to_string()))?;
    let body = Body::from_stream(ReceiverStream::new(lines).map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, LINES), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// Waits until a token may not follow any more. A store that does not answer takes nothing away.
async fn revoked(api: &Api, token: &str) {
    loop {
        sleep(CHECK_EVERY).await;
        if let Ok(false) = api.parts.access.still_allows(token, Verb::Geo).await {
            return;
        }
    }
}

/// `POST /v1/geo/answers/{id}`
pub(super) async fn answer(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<u64>,
    Json(answer): Json<Value>,
) -> Result<StatusCode, ApiError> {
    caller.require_verb(Verb::Geo, "")?;
    if api.parts.geo.answer(id, &caller.id, answer) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::NotFound { what: "question", id: id.to_string() })
    }
}

/// `GET /v1/dns/nodes`
pub(super) async fn nodes(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Answer<Items<FollowerView>>, ApiError> {
    caller.require(Scope::Read)?;
    Ok(Answer(Items { items: api.parts.geo.following() }))
}

/// `GET /v1/dns/resolve`
pub(super) async fn resolve(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<Resolve>,
) -> Result<Answer<DnsAnswer>, ApiError> {
    caller.require(Scope::Read)?;
    let Resolve { name, record, client, ecs } = asked;
    let client = client.as_deref().map(client_of).transpose()?;
    let ecs = ecs.map(|text| text.parse::<Network>());
    let ecs = ecs.transpose().map_err(|error| ApiError::Invalid(format!("ecs: {error}")))?;
    let client = match (client, ecs) {
        (Some(client), _) => client,
        (None, Some(subnet)) if subnet.parts().1 > 0 => subnet.parts().0,
        (None, Some(_)) => {
            let text = "a subnet of no bits is answered for who asks: say who, as client";
            return Err(ApiError::Invalid(text.to_owned()));
        }
        (None, None) => {
            return Err(ApiError::Invalid("client or ecs says for whom".to_owned()));
        }
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.is_ascii() {
        let text = format!("a name has 1 to {NAME_BYTES_MAX} bytes of ASCII");
        return Err(ApiError::Invalid(text));
    }
    let record = record.to_ascii_uppercase();
    let is_type = (1..=TYPE_BYTES_MAX).contains(&record.len())
        && record.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_type {
        return Err(ApiError::Invalid("a type is a word such as A, AAAA or HTTPS".to_owned()));
    }
    ask(&api, Question::Resolve { name, record, client, subnet: ecs }).await
}

/// `GET /v1/dns/map`
pub(super) async fn map(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Answer<DnsAnswer>, ApiError> {
    caller.require(Scope::Read)?;
    ask(&api, Question::Map {}).await
}

/// `GET /v1/dns/map/diff`
pub(super) async fn map_diff(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(back): Query<Back>,
) -> Result<Answer<DnsAnswer>, ApiError> {
    caller.require(Scope::Read)?;
    let ago = super::drain::time("ago", Some(&back.ago))?.unwrap_or_default();
    let ago_seconds = u32::try_from(ago.as_secs())
        .map_err(|_| ApiError::Invalid("ago: that is too long ago".to_owned()))?;
    ask(&api, Question::MapDiff { ago_seconds }).await
}

/// `GET /v1/dns/map/hold`
pub(super) async fn hold(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Answer<HoldView>, ApiError> {
    caller.require(Scope::Read)?;
    Ok(Answer(HoldView { frozen: api.parts.geo.frozen().await? }))
}

/// `POST /v1/dns/map/freeze`
pub(super) async fn freeze(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<HoldRequest>,
) -> Result<Answer<HoldView>, ApiError> {
    let reason = hold_allowed(&api, &caller, &headers, body, "freeze").await?;
    let by = Some((caller.person().to_owned(), reason));
    let frozen = api.parts.geo.freeze(by).await.map_err(commit)?;
    caller.audit("freeze", "the DNS map");
    Ok(Answer(HoldView { frozen }))
}

/// `POST /v1/dns/map/thaw`
pub(super) async fn thaw(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<HoldRequest>,
) -> Result<Answer<HoldView>, ApiError> {
    caller.require_verb(Verb::DnsWrite, "")?;
    if api.parts.geo.frozen().await?.is_none() {
        return Err(ApiError::Missing("freeze of the map".to_owned()));
    }
    hold_allowed(&api, &caller, &headers, body, "thaw").await?;
    let frozen = api.parts.geo.freeze(None).await.map_err(commit)?;
    caller.audit("thaw", "the DNS map");
    Ok(Answer(HoldView { frozen }))
}

/// Checks that the caller may hold the map or let it go; the reason.
async fn hold_allowed(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: HoldRequest,
    word: &str,
) -> Result<String, ApiError> {
    caller.require_verb(Verb::DnsWrite, "")?;
    let reason = reason(body.reason)?;
    caller.reason(&reason);
    api.danger(caller, Danger::HoldMap, "dns/map", &digest_of(&word), headers).await?;
    Ok(reason)
}

/// Reads a client's address.
pub(super) fn client_of(text: &str) -> Result<IpAddr, ApiError> {
    let bad =
        |_| ApiError::Invalid("client: an address such as 192.0.2.1 or 2001:db8::1".to_owned());
    text.parse().map_err(bad)
}

/// Asks a geo node, and passes on what it answers.
pub(super) async fn ask(api: &Api, question: Question) -> Result<Answer<DnsAnswer>, ApiError> {
    let (node, answer) = api.parts.geo.ask(question).await?;
    Ok(Answer(DnsAnswer { node, answer }))
}

fn commit(error: CommitError) -> ApiError {
    match error {
        CommitError::Store(error) => error.into(),
        CommitError::Conflict { .. } => ApiError::Conflict(error.to_string()),
        CommitError::TooLarge(_) => ApiError::Invalid(error.to_string()),
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        let text = error.to_string();
        match error {
            AskError::Nobody | AskError::TooMany | AskError::Older(_) => Self::Unavailable(text),
            AskError::Silent(_) => Self::Silent(text),
            AskError::Refused(_) => Self::Invalid(text),
        }
    }
}

/// What nodes know that say nothing of it.
fn first() -> u32 {
    1
}

fn address() -> String {
    "A".to_owned()
}

fn ago() -> String {
    "5m".to_owned()
}

/// Lines of JSON.
const LINES: &str = "application/x-ndjson";
/// For so long a token that was revoked goes on following.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const NODE_CHARS_MAX: usize = 64;
/// RFC 1035 2.3.4, as text.
pub(super) const NAME_BYTES_MAX: usize = 255;
const TYPE_BYTES_MAX: usize = 16;
