//! What the unit tests of this folder share.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use tidegate_contract::{
    id::{Generation, PopId, PropertyId},
    property::{CachePolicy, Property, Upstream},
    snapshot::{PopRole, Snapshot},
    tier::TierKey,
};

use super::context::Exchange;
use crate::{
    fetch::NodeName,
    listener::{Downstream, Protocol},
    policy::{Policy, PolicyHandle},
};

/// A policy of one property, for `a.org`.
pub(super) fn policy_with(cache: CachePolicy) -> Arc<Policy> {
    let origin = Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None };
    let id = PropertyId::parse("demo").unwrap();
    let property = Property { cache, ..Property::new(id, vec!["a.org".into()], vec![origin]) };
    let mut snapshot = Snapshot::from_bytes(EMPTY.as_bytes()).unwrap();
    snapshot.generation = Generation(1);
    snapshot.pop = PopId::parse("fra").unwrap();
    snapshot.role = PopRole::Edge;
    snapshot.tier_key = TierKey::new([0; 32]);
    snapshot.properties = vec![property];
    let handle = PolicyHandle::default();
    handle.install(snapshot).unwrap();
    handle.current().unwrap()
}

/// An exchange that has just begun.
pub(super) fn exchange() -> Exchange {
    let downstream = Downstream {
        protocol: Protocol::Http1,
        client: ([127, 0, 0, 1], 1).into(),
        tls: false,
        early_data: false,
    };
    let node = Arc::new(NodeName::new("fra", 1));
    Exchange::new(downstream, Instant::now(), SystemTime::now(), node)
}

/// Read, so that a field that is added to snapshots is not missing here.
const EMPTY: &str = r#"{"generation":1,"pop":"fra","role":"edge","properties":[],
    "tier_key":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
