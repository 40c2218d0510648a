//! `/v1/purges`: order a purge, see how far it is, read the log.
//!
//! The answer to an order is sent when the purge is durable, or, when the caller waits, when no node is pending
//! any more or the deadline is over. A deadline that is over is no error: the purge goes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_contract::{
    id::PurgeId,
    purge::{PurgeOrder, PurgeTarget},
    purge_offset::epoch,
    replacement::Replacement,
};
use tokio::time::Instant;

use super::{
    Api,
    auth::{Caller, digest_of},
    error::ApiError,
    model::{
        PurgeLagList, PurgeLagView, PurgeList, PurgeNodeView, PurgeRequest, PurgeView,
        ReplacementView, Wait,
    },
    request::{self, Json},
};
use crate::{
    access::Danger,
    fleet::{NodeSight, NodeState, node_state},
    purge::{ConfirmState, Confirmation, first_since, is_complete, is_reached, kind},
    store::{Desired, Entry, Page, StoreError},
    token::Scope,
    unix_time::unix_ms,
};

/// `POST /v1/purges`
pub(super) async fn order(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let since = Instant::now();
    caller.require(Scope::Purge)?;
    let request = read(body)?;
    let deadline = since + deadline(&request, api.parts.purges.config().wait_max)?;
    limit(&api, &caller, &request)?;
    if matches!(request.order.target, PurgeTarget::All) {
        let plan = digest_of(&request.order);
        api.danger(&caller, Danger::PurgeAll, "", &plan, &headers).await?;
    }
    if let Some(new) = &request.replace {
        check_kept(&request.order.target, new, &api.parts.releases.desired()?)?;
    }
    let key = idempotency_key(&headers, &caller)?;
    let _waiting = match request.wait {
        Wait::None => None,
        Wait::All | Wait::Percent(_) => Some(api.waits.try_acquire().map_err(|_| ApiError::Busy)?),
    };
    let subject = subject(&request);
    let appended = api.parts.purges.accept_with(request.order, request.replace, key).await?;
    caller.audit("purge", &subject);
    let mut view = view(&api, &appended.entry);
    let Some(percent) = request.wait.percent() else {
        return Ok((StatusCode::ACCEPTED, axum::Json(view)).into_response());
    };
    let drain = &api.parts.drain;
    let confirmations = api.parts.purges.wait(&appended.entry, percent, deadline, drain).await;
    view.reached = Some(is_reached(&confirmations, percent));
    confirm(&api, &mut view, confirmations);
    Ok(axum::Json(view).into_response())
}

/// `GET /v1/purges/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<PurgeView>, ApiError> {
    caller.require_either(Scope::Purge, Scope::Read)?;
    let id = request::id("purge", id, PurgeId::parse)?;
    let entry = api.parts.purges.log().find(&id).await?;
    let entry = entry.ok_or(ApiError::NotFound { what: "purge", id: id.to_string() })?;
    let mut view = view(&api, &entry);
    view.order = Some(order_of(&entry)?);
    confirm(&api, &mut view, api.parts.purges.confirmations(&entry));
    Ok(axum::Json(view))
}

/// The query of `GET /v1/purges`.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    after: u64,
    /// Not what was accepted before this time.
    since_unix_ms: Option<u64>,
    limit: Option<usize>,
}

/// `GET /v1/purges`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<axum::Json<PurgeList>, ApiError> {
    caller.require(Scope::Read)?;
    let Query(query) = query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
    let entries_max = query.limit.unwrap_or(LIST_ENTRIES_MAX).clamp(1, LIST_ENTRIES_MAX);
    let log = api.parts.purges.log();
    let begin = match query.since_unix_ms {
        None => query.after,
        Some(since) => first_since(&**log, since).await?.max(query.after),
    };
    let mut purges: Vec<PurgeView> = Vec::new();
    while purges.len() < entries_max {
        let after = purges.last().map_or(begin, |last| last.offset);
        let entries = match log.read(after, entries_max - purges.len()).await? {
            Page::Entries(entries) => entries,
            // Trimmed meanwhile: what was read is a page, too.
            Page::Gone { .. } if !purges.is_empty() => break,
            Page::Gone { head } => {
                let text = format!("the log does not hold offset {after}; its head is {head}");
                return Err(ApiError::Invalid(text));
            }
        };
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            purges.push(PurgeView { order: Some(order_of(entry)?), ..view(&api, entry) });
        }
    }
    let head = *log.head().borrow();
    Ok(axum::Json(PurgeList { stream: log.stream().clone(), head, purges }))
}

/// `GET /v1/purges/lag`
pub(super) async fn lag(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<axum::Json<PurgeLagList>, ApiError> {
    caller.require_either(Scope::Purge, Scope::Read)?;
    let log = api.parts.purges.log();
    let (head, now_unix_ms) = (*log.head().borrow(), unix_ms(api.parts.clock.now()));
    // Most nodes stand at the same few places.
    let mut waiting: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    let mut items = Vec::new();
    for sight in api.parts.fleet.sights() {
        // Of a node in an earlier epoch nobody can tell how much it missed.
        let applied = sight.applied.filter(|applied| epoch(*applied) == epoch(head));
        let behind = applied.filter(|applied| *applied < head);
        let since = match behind {
            None => None,
            Some(applied) => match waiting.get(&applied) {
                Some(known) => *known,
                None => {
                    let oldest = match log.read(applied, 1).await? {
                        Page::Entries(entries) => entries.first().map(|e| e.accepted_unix_ms),
                        Page::Gone { .. } => None,
                    };
                    *waiting.entry(applied).or_insert(oldest)
                }
            },
        };
        items.push(PurgeLagView {
            state: node_state(&sight, now_unix_ms, api.limits()).as_str().to_owned(),
            subscriptions: sight.purge_lanes,
            applied: sight.applied,
            lag: applied.map(|applied| head.saturating_sub(applied)),
            behind_ms: since.map(|since| now_unix_ms.saturating_sub(since)),
            pop: sight.name.pop,
            node: sight.name.node,
        });
    }
    Ok(axum::Json(PurgeLagList { stream: log.stream().clone(), head, items }))
}

/// Reads an order. A word that means nothing is refused: a misspelt `soft` would make a hard purge.
fn read(body: Map<String, Value>) -> Result<PurgeRequest, ApiError> {
    let of_kind: &[&str] = match body.get("kind").and_then(Value::as_str) {
        Some("url") => &["host", "path", "replace"],
        Some("key") => &["key"],
        Some("prefix") => &["host", "path_prefix"],
        Some("property") => &["id"],
        _ => &[],
    };
    let is_known = |name: &str| COMMON_FIELDS.contains(&name) || of_kind.contains(&name);
    if let Some(unknown) = body.keys().find(|name| !is_known(name)) {
        let unknown: String = unknown.chars().take(64).collect();
        return Err(ApiError::Invalid(format!("this kind of purge has no field {unknown:?}")));
    }
    let mut request: PurgeRequest = serde_json::from_value(Value::Object(body))
        .map_err(|error| ApiError::Invalid(error.to_string()))?;
    let target = request.order.target.checked();
    request.order.target = target.map_err(|error| ApiError::Invalid(error.to_string()))?;
    if let Some(replacement) = request.replace {
        if request.order.soft {
            let text = "a purge with a body that replaces is hard: nothing old is left to be stale";
            return Err(ApiError::Invalid(text.to_owned()));
        }
        let checked = replacement.checked();
        let checked = checked.map_err(|error| ApiError::Invalid(format!("replace: {error}")))?;
        request.replace = Some(checked);
    }
    Ok(request)
}

/// A body that no node would keep: most likely the host is misspelt, or a header was forgotten.
fn check_kept(target: &PurgeTarget, new: &Replacement, desired: &Desired) -> Result<(), ApiError> {
    let PurgeTarget::Url { host, .. } = target else { return Ok(()) };
    let serves = |host: &str| {
        let mut properties = desired.properties.iter().map(|(property, _)| property);
        properties.find(|property| property.hosts.iter().any(|served| served == host))
    };
    let refused = |why: String| Err(ApiError::Invalid(format!("replace: {why}")));
    let Some(property) = serves(host).or_else(|| serves("*")) else {
        return refused(format!("no property serves host {host}"));
    };
    let (id, cache) = (&property.id, &property.cache);
    if !cache.enabled {
        return refused(format!("property {id} keeps nothing"));
    }
    let is_said = LIFETIME_HEADERS.iter().any(|name| new.headers.contains_key(*name));
    if !is_said && cache.default_ttl.is_none() && !cache.media_defaults {
        let why = "nothing says how long it counts: it needs cache-control";
        return refused(format!("{why}, or property {id} a cache.default_ttl"));
    }
    Ok(())
}

fn deadline(request: &PurgeRequest, wait_max: Duration) -> Result<Duration, ApiError> {
    let Some(text) = &request.deadline else { return Ok(DEADLINE_DEFAULT.min(wait_max)) };
    let wait = humantime::parse_duration(text)
        .map_err(|error| ApiError::Invalid(format!("deadline: {error}")))?;
    if wait > wait_max {
        let longest = humantime::format_duration(wait_max);
        return Err(ApiError::Invalid(format!("the longest deadline is {longest}")));
    }
    Ok(wait)
}

fn limit(api: &Api, caller: &Caller, request: &PurgeRequest) -> Result<(), ApiError> {
    let now = Instant::now();
    match request.order.target {
        PurgeTarget::All => {
            api.purge_all_rate.take(&caller.id, now).map_err(ApiError::TooOften)?;
        }
        PurgeTarget::Prefix { .. } | PurgeTarget::Property { .. } => {
            api.purge_wide_rate.take(&caller.id, now).map_err(ApiError::TooOften)?;
        }
        PurgeTarget::Url { .. } | PurgeTarget::Key { .. } => {}
    }
    if request.replace.is_some() {
        api.replace_rate.take(&caller.id, now).map_err(ApiError::TooOften)?;
    }
    api.purge_rate.take(&caller.id, now).map_err(ApiError::TooOften)
}

/// A key belongs to the token that sends it.
fn idempotency_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX);
    let key = key.ok_or_else(|| {
        ApiError::Invalid(format!("an idempotency key is 1 to {KEY_BYTES_MAX} bytes of ASCII"))
    })?;
    Ok(Some(format!("{}/{key}", caller.id)))
}

fn view(api: &Api, entry: &Entry) -> PurgeView {
    PurgeView {
        id: entry.id.clone(),
        stream: api.parts.purges.log().stream().clone(),
        offset: entry.offset,
        accepted_unix_ms: entry.accepted_unix_ms,
        order: None,
        replacement: entry.replacement_digest.map(|digest| ReplacementView {
            digest: hex::encode(digest),
            bytes: entry.replacement.as_ref().map(|new| new.body.len() as u64),
            headers: entry.replacement.as_ref().map(|new| new.headers.clone()),
        }),
        pops: None,
        complete: None,
        reached: None,
    }
}

fn confirm(api: &Api, view: &mut PurgeView, confirmations: Vec<Confirmation>) {
    let sights: BTreeMap<_, _> =
        api.parts.fleet.sights().into_iter().map(|sight| (sight.name.clone(), sight)).collect();
    let now_unix_ms = unix_ms(api.parts.clock.now());
    view.complete = Some(is_complete(&confirmations));
    let offset = view.offset;
    let node = |confirmation: Confirmation| {
        let sight = sights.get(&confirmation.name);
        let is_open = confirmation.state != ConfirmState::Applied;
        let why = sight
            .filter(|_| is_open)
            .map(|sight| why(sight, node_state(sight, now_unix_ms, api.limits()), offset));
        PurgeNodeView {
            pop: confirmation.name.pop,
            node: confirmation.name.node,
            state: confirmation.state.as_str().to_owned(),
            why,
            ms: confirmation.ms,
        }
    };
    view.pops = Some(confirmations.into_iter().map(node).collect());
}

/// Why a node has not applied a purge, as far as can be told from here.
fn why(sight: &NodeSight, state: NodeState, offset: u64) -> String {
    match (state, sight.applied) {
        (NodeState::Down, _) => "down".to_owned(),
        _ if !sight.has_purge_lane() => "cut off".to_owned(),
        (NodeState::Draining, _) => "draining".to_owned(),
        (_, Some(applied)) if epoch(applied) == epoch(offset) => {
            format!("behind by {}", offset.saturating_sub(applied))
        }
        _ => "behind".to_owned(),
    }
}

fn order_of(entry: &Entry) -> Result<PurgeOrder, ApiError> {
    serde_json::from_slice(&entry.order_json)
        .map_err(|error| StoreError::damaged("purge order", error).into())
}

/// What is purged, for the audit line: without the query, which may be signed.
fn subject(request: &PurgeRequest) -> String {
    let order = &request.order;
    let soft = match (&request.replace, order.soft) {
        (Some(_), _) => "replacing ",
        (None, true) => "soft ",
        (None, false) => "",
    };
    let kind = kind(&order.target);
    match &order.target {
        PurgeTarget::Url { host, path } => {
            format!("{soft}{kind} {host}{}", path.split('?').next().unwrap_or_default())
        }
        PurgeTarget::Key { key } => format!("{soft}{kind} {key}"),
        PurgeTarget::Prefix { host, path_prefix } => format!("{soft}{kind} {host}{path_prefix}"),
        PurgeTarget::Property { id } => format!("{soft}{kind} {id}"),
        PurgeTarget::All => format!("{soft}{kind}"),
    }
}

const COMMON_FIELDS: [&str; 4] = ["kind", "soft", "wait", "deadline"];
const LIFETIME_HEADERS: [&str; 4] =
    ["cache-control", "cdn-cache-control", "surrogate-control", "expires"];
/// Long enough for a node that is down to be counted out.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(3);
const LIST_ENTRIES_MAX: usize = 1000;
const KEY_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<PurgeRequest, ApiError> {
        read(serde_json::from_str(text).expect("json"))
    }

    #[test]
    fn an_order_is_read_strictly() {
        let good = read_text(r#"{"kind":"url","host":"A.org:8443","path":"/x?y","wait":"all"}"#)
            .expect("good");
        let expected = PurgeTarget::Url { host: "a.org".into(), path: "/x?y".into() };
        assert_eq!((good.order.target, good.order.soft, good.wait), (expected, false, Wait::All));
        let prefix = read_text(r#"{"kind":"prefix","host":"A.org","path_prefix":"/v/"}"#);
        let expected = PurgeTarget::Prefix { host: "a.org".into(), path_prefix: "/v/".into() };
        assert_eq!(prefix.expect("good").order.target, expected);
        assert!(read_text(r#"{"kind":"property","id":"demo"}"#).is_ok());
        for bad in [
            r#"{}"#,
            r#"{"kind":"prefix","host":"a.org","path_prefix":"/v"}"#,
            r#"{"kind":"prefix","host":"a.org","path":"/v/"}"#,
            r#"{"kind":"property","id":"No Id"}"#,
            r#"{"kind":"everything"}"#,
            r#"{"kind":"all","sfot":true}"#,
            r#"{"kind":"all","key":"x"}"#,
            r#"{"kind":"key"}"#,
            r#"{"kind":"key","key":"a b"}"#,
            r#"{"kind":"url","host":"a.org","path":"x"}"#,
            r#"{"kind":"url","host":"a.org","path":"/x#y"}"#,
            r#"{"kind":"url","host":"u@a.org","path":"/"}"#,
            r#"{"kind":"all","wait":"some"}"#,
            r#"{"kind":"all","wait":"0%"}"#,
            r#"{"kind":"all","wait":"101%"}"#,
            r#"{"kind":"url","host":"a","path":"/","replace":{"headers":{},"body":""}}"#,
            r#"{"kind":"url","host":"a","path":"/","replace":{"body":""}}"#,
            r#"{"kind":"url","host":"a","path":"/","replace":{"headers":{"content-type":"a/b"}}}"#,
            r#"{"kind":"url","host":"a","path":"/","soft":true,
                "replace":{"headers":{"content-type":"a/b"},"body":""}}"#,
            r#"{"kind":"all","replace":{"headers":{"content-type":"a/b"},"body":""}}"#,
        ] {
            assert!(read_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_of_the_nodes_may_be_waited_for() {
        for (text, expected) in [("99%", Wait::Percent(99)), ("100%", Wait::All)] {
            let request = read_text(&format!(r#"{{"kind":"all","wait":"{text}"}}"#));
            assert_eq!(request.expect("good").wait, expected);
        }
        assert_eq!(String::from(Wait::Percent(99)), "99%");
    }

    #[test]
    fn a_deadline_is_a_time_within_the_limit() {
        let with = |text: &str| {
            let body = format!(r#"{{"kind":"all","deadline":"{text}"}}"#);
            deadline(&read_text(&body).expect("good"), Duration::from_secs(30))
        };
        assert_eq!(with("250ms").expect("good"), Duration::from_millis(250));
        assert!(with("31s").is_err());
        assert!(with("soon").is_err());
    }

    #[test]
    fn the_audit_line_has_no_query() {
        let order = read_text(r#"{"kind":"url","host":"a","path":"/x?sig=1","soft":true}"#);
        assert_eq!(subject(&order.expect("good")), "soft url a/x");
        let order = read_text(
            r#"{"kind":"url","host":"a","path":"/x?sig=1",
                "replace":{"headers":{"Content-Type":"a/b"},"body":"eA=="}}"#,
        );
        let order = order.expect("good");
        assert_eq!(subject(&order), "replacing url a/x");
        let new = order.replace.expect("there");
        assert_eq!((&new.headers["content-type"], new.body), (&"a/b".to_owned(), b"x".to_vec()));
    }
}
