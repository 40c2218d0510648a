//! What a purge would do, told without doing it: where it goes, which limits it meets, whether somebody must approve.
//!
//! Nothing is written down, and nothing is taken from a limit.

use std::collections::BTreeMap;

use tidegate_contract::{
    id::{PopId, PropertyId},
    purge::PurgeTarget,
};
use tokio::time::Instant;

use super::wanted::limits;
use crate::{
    api::{
        Api,
        auth::Caller,
        error::ApiError,
        model::{PurgeLimitView, PurgePlanPop, PurgePlanView, PurgeRequest},
    },
    resource::Desired,
    unix_time::millis,
};

/// The plan of an order that was read and checked.
pub(super) async fn plan(
    api: &Api,
    caller: &Caller,
    request: PurgeRequest,
) -> Result<PurgePlanView, ApiError> {
    let desired = api.parts.releases.desired()?;
    let needs_approval = match request.order.target {
        PurgeTarget::All => api.needs_approval(caller, "").await?,
        _ => false,
    };
    let now = Instant::now();
    let limits = limits(api, &request).map(|(limit, buckets)| {
        let (rate, look) = (buckets.rate(), buckets.look(&caller.id, now));
        PurgeLimitView {
            limit: limit.to_owned(),
            per_second: rate.per_second,
            burst: rate.burst,
            left: look.left,
            wait_ms: millis(look.wait),
        }
    });
    Ok(PurgePlanView {
        limits: limits.collect(),
        properties: properties(&request.order.target, &desired),
        replacement_bytes: request.replace.map(|new| new.body.len() as u64),
        order: request.order,
        pops: pops(api),
        needs_approval,
        dry_run: true,
    })
}

/// The properties whose hosts or id are meant; a key may be carried by anything.
fn properties(target: &PurgeTarget, desired: &Desired) -> Option<Vec<PropertyId>> {
    let all = || desired.properties.iter().map(|(property, _)| property);
    let of_host = |host: &str| {
        let exact = all().filter(|property| property.hosts.iter().any(|served| served == host));
        let exact: Vec<_> = exact.map(|property| property.id.clone()).collect();
        if !exact.is_empty() {
            return exact;
        }
        let rest = all().filter(|property| property.hosts.iter().any(|served| served == "*"));
        rest.map(|property| property.id.clone()).collect()
    };
    match target {
        PurgeTarget::Url { host, .. } | PurgeTarget::Prefix { host, .. } => Some(of_host(host)),
        PurgeTarget::Property { id } => {
            Some(all().map(|property| property.id.clone()).filter(|known| known == id).collect())
        }
        PurgeTarget::All => Some(all().map(|property| property.id.clone()).collect()),
        PurgeTarget::Key { .. } => None,
    }
}

/// Every PoP that has nodes, and how many of them would hear it at once.
fn pops(api: &Api) -> Vec<PurgePlanPop> {
    let mut pops: BTreeMap<PopId, (u64, u64)> = BTreeMap::new();
    for sight in api.parts.fleet.sights() {
        let (nodes, connected) = pops.entry(sight.name.pop.clone()).or_default();
        *nodes += 1;
        *connected += u64::from(sight.has_purge_lane());
    }
    let view = |(pop, (nodes, connected))| PurgePlanPop { pop, nodes, connected };
    pops.into_iter().map(view).collect()
}
