//! A body that arrives with a purge: from now on it is served in the place of what is purged, and nobody asks
//! upstream for it.
//!
//! It is judged by the property's policy like an answer of upstream that was made when the purge was accepted: a node
//! that gets it late holds it for as much older. Invariants: the purge is applied whatever becomes of the body; a fill
//! that was asked for before the purge never takes the body's place, and a later purge purges it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tidegate_contract::{
    purge::{PurgeOrder, PurgeTarget},
    replacement::Replacement,
};

use super::{
    admit::{self, Admitted, Circumstances, date},
    playlist::Playlist,
    shared::Shared,
    wanted::{Route, Wanted},
};
use crate::{
    cache::{arrival::Unstorable, object::Head, wishes::Wishes},
    policy::Policy,
};

/// Applies a purge and stores the body in the same step; gives back the number of the purge.
pub(super) fn replace(
    shared: &Shared,
    policy: Option<&Arc<Policy>>,
    order: &PurgeOrder,
    new: &Replacement,
    made_at: SystemTime,
) -> u64 {
    let purge_alone = |result: &str| {
        count(shared, result);
        shared.parts.purges.apply(order)
    };
    let Some(route) = route(policy, &order.target) else { return purge_alone("unserved") };
    if !route.property().cache.enabled {
        return purge_alone("policy");
    }
    let wanted = wanted(route, shared.now());
    let orders = orders(order, &wanted.route);
    let purge = || orders.iter().map(|order| shared.parts.purges.apply(order)).last().unwrap_or(0);
    for _ in 0..TRIES_MAX {
        // The numbers that these purges get, unless others come in between.
        let born = shared.parts.purges.seq() + orders.len() as u64;
        let head = match head(shared, &wanted, new, made_at, born) {
            Ok(head) => head,
            Err(reason) => {
                count(shared, reason.as_str());
                return purge();
            }
        };
        let mut seq = 0;
        let key = wanted.route.key;
        let stored = shared.parts.store.replace_with(key, head, &new.body, || seq = purge());
        match stored {
            Ok(fill) if seq == born => {
                remember(shared, &wanted.route, new, fill);
                count(shared, "stored");
                return seq;
            }
            // Born too early: it counts as purged itself.
            Ok(_) => {}
            Err(_) => {
                count(shared, "no-room");
                return seq;
            }
        }
    }
    purge_alone("outrun")
}

/// Where the resource is read on this node.
fn route(policy: Option<&Arc<Policy>>, target: &PurgeTarget) -> Option<Route> {
    let PurgeTarget::Url { host, path } = target else { return None };
    let policy = policy?;
    let place = policy.place_for(host)?;
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path.as_str(), None),
    };
    Some(Route::to(policy, place, host.clone(), path, query))
}

/// As if a client had asked for it that says nothing of itself.
fn wanted(route: Route, now: SystemTime) -> Wanted {
    Wanted {
        route,
        method: Method::GET,
        headers: HeaderMap::new(),
        wishes: Wishes::default(),
        began_at: now,
        id: String::new(),
        client: None,
        is_for_child: false,
        is_for_sibling: false,
        home: None,
    }
}

/// The purge as it was ordered, and that of the URL as it counts here, should the property count it otherwise.
fn orders(order: &PurgeOrder, route: &Route) -> Vec<PurgeOrder> {
    let counted = PurgeTarget::Url { host: route.host.clone(), path: route.path.clone() };
    let mut orders = vec![order.clone()];
    if counted.hash() != order.target.hash() {
        orders.push(PurgeOrder { target: counted, ..order.clone() });
    }
    orders
}

fn head(
    shared: &Shared,
    wanted: &Wanted,
    new: &Replacement,
    made_at: SystemTime,
    born: u64,
) -> Result<Head, Unstorable> {
    let now = shared.now();
    let made_at = made_at.min(now);
    let circumstances = Circumstances {
        wanted,
        method: &Method::GET,
        born,
        asked_at: made_at,
        answered_at: now,
        bytes_max: shared.bytes_max(&wanted.route),
    };
    let headers = headers(new, made_at);
    let Admitted { head, .. } = admit::whole(StatusCode::OK, &headers, &circumstances)?;
    Ok(head)
}

fn headers(new: &Replacement, made_at: SystemTime) -> HeaderMap {
    let field = |(name, value): (&String, &String)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::try_from(value).ok()?))
    };
    let mut headers: HeaderMap = new.headers.iter().filter_map(field).collect();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(new.body.len()));
    headers.insert(header::DATE, date(next_second(made_at)));
    headers
}

/// The first whole second that is not before a time: `Date` has no others, and one that was cut off would make what is
/// new a second old.
fn next_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(time)
}

/// What was known of the old one does not hold for the new one.
fn remember(shared: &Shared, route: &Route, new: &Replacement, fill: u64) {
    shared.unstorable.forget(&route.key);
    shared.varies.forget(&route.key);
    shared.replaced.note(route.key, fill);
    if route.property().cache.prefetch.segments > 0
        && let Some(playlist) = Playlist::read(&new.body)
    {
        shared.playlists.note_order(route, &playlist);
    }
}

fn count(shared: &Shared, result: &str) {
    shared.parts.metrics.replacements.with_label_values(&[result]).inc();
}

/// How often a body is stored anew because another purge came in between.
const TRIES_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn a_date_is_never_before_the_body_was_made() {
        for (made, dated) in [(5000, 5000), (5001, 6000), (5999, 6000), (0, 0)] {
            assert_eq!(next_second(at(made)), at(dated));
        }
    }

    #[test]
    fn a_url_is_purged_as_ordered_and_as_it_counts() {
        let route = crate::fetch::testing::wanted("/a?x=1").route;
        for (url, count) in [
            ("https://a.org/a?x=1", 1),
            ("https://a.org/./a?x=1", 1),
            ("https://a.org/a?x=1&t=2", 2),
        ] {
            let order = PurgeOrder { target: PurgeTarget::from_url(url).unwrap(), soft: false };
            let orders = orders(&order, &route);
            assert_eq!((orders.len(), &orders[0]), (count, &order), "{url}");
        }
    }
}
