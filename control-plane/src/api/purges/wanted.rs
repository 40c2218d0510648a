//! An order as it comes in: read strictly, kept within limits, named for the audit log.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::{Map, Value};
use tidegate_contract::{purge::PurgeTarget, replacement::Replacement};
use tokio::time::Instant;

use crate::{
    api::{Api, auth::Caller, error::ApiError, model::PurgeRequest},
    purge::kind,
    rate::Buckets,
    resource::Desired,
};

/// Reads an order. A word that means nothing is refused: a misspelt `soft` would make a hard purge.
pub(super) fn read(body: Map<String, Value>) -> Result<PurgeRequest, ApiError> {
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

/// Refuses a body that no node would keep.
pub(super) fn check_replacement(api: &Api, request: &PurgeRequest) -> Result<(), ApiError> {
    let Some(new) = &request.replace else { return Ok(()) };
    check_kept(&request.order.target, new, &api.parts.releases.desired()?)
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

/// How long the answer waits at most.
pub(super) fn deadline(request: &PurgeRequest, wait_max: Duration) -> Result<Duration, ApiError> {
    let Some(text) = &request.deadline else { return Ok(DEADLINE_DEFAULT.min(wait_max)) };
    let wait = humantime::parse_duration(text)
        .map_err(|error| ApiError::Invalid(format!("deadline: {error}")))?;
    if wait > wait_max {
        let longest = humantime::format_duration(wait_max);
        return Err(ApiError::Invalid(format!("the longest deadline is {longest}")));
    }
    Ok(wait)
}

/// Takes the order out of what the caller may order.
pub(super) fn limit(api: &Api, caller: &Caller, request: &PurgeRequest) -> Result<(), ApiError> {
    let now = Instant::now();
    for (_, buckets) in limits(api, request) {
        buckets.take(&caller.id, now).map_err(ApiError::TooOften)?;
    }
    Ok(())
}

/// The limits that an order counts against, by their names in the configuration; the narrowest first.
pub(super) fn limits<'a>(
    api: &'a Api,
    request: &PurgeRequest,
) -> impl Iterator<Item = (&'static str, &'a Buckets)> {
    let wide = match request.order.target {
        PurgeTarget::All => Some(("purge_all_rate", &api.purge_all_rate)),
        PurgeTarget::Prefix { .. } | PurgeTarget::Property { .. } => {
            Some(("purge_wide_rate", &api.purge_wide_rate))
        }
        PurgeTarget::Url { .. } | PurgeTarget::Key { .. } => None,
    };
    let replacing = request.replace.is_some().then_some(("replace_rate", &api.replace_rate));
    wide.into_iter().chain(replacing).chain([("purge_rate", &api.purge_rate)])
}

/// A key belongs to the token that sends it.
pub(super) fn idempotency_key(
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX);
    let key = key.ok_or_else(|| {
        ApiError::Invalid(format!("an idempotency key is 1 to {KEY_BYTES_MAX} bytes of ASCII"))
    })?;
    Ok(Some(format!("{}/{key}", caller.id)))
}

/// What is purged, for the audit line: without the query, which may be signed.
pub(super) fn subject(request: &PurgeRequest) -> String {
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
const KEY_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::Wait;

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
