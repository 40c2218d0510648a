//! The answer to a POST that says that it is what GET would get next, and for how long: stored while the client reads
//! it (RFC 9110 9.3.3).
//!
//! Invariants: it is judged as an answer to GET; only a resource that the property counts as it was asked for gets it;
//! and what purges or other unsafe methods do meanwhile counts as for every fill.

use std::sync::Arc;

use http::Method;

use super::{
    admit::{self, Admitted, Circumstances},
    content::Content,
    pump::Pump,
    reading::Reading,
    shared::Shared,
    wanted::{Route, Wanted},
};
use crate::{
    cache::{budget::Reservation, invalidation},
    upstream::Answer,
};

/// Stores an answer to a request that began when purges stood at `born`; gives back the client's way to its body, or
/// the answer when it is for this client alone.
pub(super) fn keep(
    shared: &Arc<Shared>,
    wanted: &Wanted,
    born: u64,
    answer: Answer,
) -> Result<Content, Box<Answer>> {
    let Some((get, admitted, room)) = admit(shared, wanted, born, &answer) else {
        return Err(Box::new(answer));
    };
    let key = get.route.key;
    let Admitted { head, variance } = admitted;
    shared.unstorable.forget(&key);
    match &variance {
        Some((vary, _)) => shared.varies.note(key, vary.clone()),
        None => shared.varies.forget(&key),
    }
    let fill = shared.parts.store.begin(key, variance, head, room);
    let relay = fill.head().length.is_none().then(|| shared.relays.begin(fill.id()));
    let receiving = relay.as_ref().and_then(|_| shared.relays.join(fill.id()));
    let reading = Reading::of(fill.body()).with_relay(receiving);
    let pump = Pump::new(shared.clone(), Arc::new(get), fill, answer, false).with_relay(relay);
    tokio::spawn(pump.run());
    Ok(Content::Stored(reading))
}

fn admit(
    shared: &Shared,
    wanted: &Wanted,
    born: u64,
    answer: &Answer,
) -> Option<(Wanted, Admitted, Reservation)> {
    let (route, policy) = (&wanted.route, &wanted.route.property().cache);
    let (host, path, headers) = (&route.host, &route.path, &answer.headers);
    let answers_get = invalidation::answers_get(&wanted.method, answer.status, host, path, headers);
    if !answers_get || !policy.enabled || wanted.wishes.no_store {
        return None;
    }
    let get = Wanted { method: Method::GET, route: readable(route)?, ..wanted.clone() };
    let circumstances = Circumstances {
        wanted: &get,
        method: &Method::GET,
        born,
        asked_at: answer.asked_at,
        answered_at: answer.answered_at,
        bytes_max: shared.bytes_max(&get.route),
    };
    let admitted = admit::whole(answer.status, headers, &circumstances).ok()?;
    let room = shared.parts.store.reserve(admitted.head.length)?;
    Some((get, admitted, room))
}

/// Where GET reads what was written to; `None` when the property counts it as another resource.
fn readable(route: &Route) -> Option<Route> {
    let (path, query) = match route.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (route.path.as_str(), None),
    };
    let get = Route::to(&route.policy, route.property, route.host.clone(), path, query);
    (get.path == tidegate_contract::url_path::normal_with_query(&route.path)).then_some(get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_read_where_it_was_written_or_nowhere() {
        let readable = |path: &str| {
            let mut route = crate::fetch::testing::wanted("/").route;
            route.path = path.to_owned();
            readable(&route).map(|route| route.path)
        };
        assert_eq!(readable("/a/../b?x=1"), Some("/b?x=1".to_owned()));
        assert_eq!(readable("/a?"), None, "the empty query does not count");
    }
}
