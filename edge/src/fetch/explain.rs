//! What this node knows of a resource, and what it would do: for operators, at the admin port.
//!
//! Invariant: explaining counts as no hit and changes nothing but the order in which things leave the disk.

use std::time::SystemTime;

use http::HeaderMap;
use tidegate_contract::{
    explanation::{Explanation, StoredResponse},
    header::SURROGATE_KEY,
};

use super::{
    look::{Asked, question},
    shared::Shared,
    wanted::Route,
};
use crate::cache::{
    object::Extent,
    purge::Verdict,
    reuse::{Question, Reuse, decide},
    store::{Found, Lookup},
    wishes::Wishes,
};

/// Explains what a GET with these headers would meet.
pub(super) async fn explain(
    shared: &Shared,
    route: &Route,
    headers: &HeaderMap,
    pass: Option<&'static str>,
) -> Explanation {
    let (store, property) = (&shared.parts.store, route.property());
    let found = match store.inspect(&route.key, headers, &property.cache.vary) {
        Lookup::Found(found) => Some(found),
        Lookup::OnDisk(stored) => store.load(stored).await,
        Lookup::Nothing => None,
    };
    let now = shared.now();
    let wishes = Wishes::of(headers, &property.cache);
    let asked = Asked { route, headers, wishes: &wishes, began_at: now, is_for_child: false, now };
    let question = found.as_ref().map(|found| question(shared, &asked, found));
    let reuse = question.as_ref().map(decide);
    let reason = match (pass, &question, reuse) {
        (Some(pass), ..) => Some(pass),
        (None, Some(question), Some(reuse)) => why(question, reuse),
        _ if shared.varies.has(&route.key) => Some("vary-miss"),
        _ => shared.unstorable.get(&route.key),
    };
    Explanation {
        host: route.host.clone(),
        path: route.path.clone(),
        property: property.id.as_str().to_owned(),
        key: hex::encode(route.key.0),
        class: route.class.as_str().to_owned(),
        decision: match (pass, reuse) {
            (Some(_), _) => "pass",
            (None, None | Some(Reuse::Refetch)) => "fetch",
            (None, Some(Reuse::Serve)) => "serve",
            (None, Some(Reuse::ServeAndRevalidate)) => "serve-stale",
            (None, Some(Reuse::Revalidate { .. })) => "revalidate",
        }
        .to_owned(),
        reason: reason.map(str::to_owned),
        is_being_asked_for: [route.key, route.key.elsewhere()]
            .iter()
            .any(|key| shared.collapse.is_asked_for(key)),
        stored: found.map(|found| StoredResponse {
            came_with_purge: shared.replaced.get(&route.key) == Some(found.fill),
            ..stored(shared, &found, now)
        }),
    }
}

/// Why what is stored does not simply answer.
fn why(question: &Question<'_>, reuse: Reuse) -> Option<&'static str> {
    let Question { now, freshness, verdict, wishes, .. } = *question;
    let age = freshness.age(now);
    let is_refused = wishes.refuse(age, freshness.lifetime.saturating_sub(age));
    match (reuse, verdict) {
        (Reuse::Serve, _) => None,
        (_, Verdict::Hard) => Some("purged"),
        (_, Verdict::Soft { .. }) => Some("soft-purged"),
        (_, Verdict::Suspect) => Some("suspect"),
        (_, Verdict::Valid) if freshness.always_revalidate => Some("no-cache"),
        (_, Verdict::Valid) if !freshness.is_fresh(now) => Some("stale"),
        (_, Verdict::Valid) if is_refused => Some("request"),
        (_, Verdict::Valid) => Some("uncertain"),
    }
}

fn stored(shared: &Shared, found: &Found, now: SystemTime) -> StoredResponse {
    let (head, freshness) = (&found.head, &found.head.freshness);
    let (bytes, slice_bytes) = match head.extent {
        Extent::Sliced { total, slice_bytes } => (Some(total), Some(slice_bytes)),
        Extent::Whole | Extent::Slice { .. } => (found.bytes, None),
    };
    let vary = head.vary.as_ref().map(|vary| vary.names().iter());
    StoredResponse {
        tier: found.tier.as_str().to_owned(),
        status: head.status.as_u16(),
        bytes,
        slice_bytes,
        age_s: freshness.age(now).as_secs(),
        ttl_s: freshness.ttl_s(now),
        stale_while_revalidate_s: freshness.stale_while_revalidate.as_secs(),
        stale_if_error_s: freshness.stale_if_error.as_secs(),
        verdict: match shared.parts.store.verdict(head) {
            Verdict::Valid => "valid",
            Verdict::Soft { .. } => "soft",
            Verdict::Suspect => "suspect",
            Verdict::Hard => "hard",
        }
        .to_owned(),
        names: head.names.len(),
        surrogate_keys: surrogate_keys(&head.headers),
        came_with_purge: false,
        vary: vary.into_iter().flatten().map(|name| name.as_str().to_owned()).collect(),
    }
}

/// The keys of what is stored; those that could not be read would have kept it from being stored.
fn surrogate_keys(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(SURROGATE_KEY).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect()
}
