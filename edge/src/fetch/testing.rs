//! What the unit tests of this folder share.

use std::time::SystemTime;

use http::{HeaderMap, Method};
use tidegate_contract::{
    id::{Generation, PropertyId},
    property::{Property, Upstream},
    snapshot::Snapshot,
};

use super::wanted::{Route, Wanted};
use crate::{
    cache::{key::Key, media_class::MediaClass, wishes::Wishes},
    policy::PolicyHandle,
};

/// A GET for a path of `a.org`.
pub(super) fn wanted(path: &str) -> Wanted {
    let origin = Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None };
    let id = PropertyId::parse("demo").unwrap();
    let property = Property::new(id.clone(), vec!["a.org".into()], vec![origin]);
    let mut snapshot = Snapshot::from_bytes(EMPTY.as_bytes()).unwrap();
    snapshot.generation = Generation(1);
    snapshot.properties = vec![property];
    let handle = PolicyHandle::default();
    handle.install(snapshot).unwrap();
    let route = Route {
        policy: handle.current().unwrap(),
        property: 0,
        host: "a.org".into(),
        path: path.into(),
        key: Key::of(&id, "a.org", path),
        class: MediaClass::of(path, None),
    };
    Wanted {
        route,
        method: Method::GET,
        headers: HeaderMap::new(),
        wishes: Wishes::default(),
        began_at: SystemTime::UNIX_EPOCH,
        id: "1".into(),
        client: None,
        is_for_child: false,
        is_for_sibling: false,
        home: None,
    }
}

/// Read, so that a field that is added to snapshots is not missing here.
const EMPTY: &str = r#"{"generation":1,"pop":"fra","role":"edge","properties":[],
    "tier_key":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
