//! Purges without a pause at all replicas, and what became of those that were acknowledged.
//!
//! An order that fails is not repeated: whoever got no answer does not know whether it counts.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Caller, until, within};

/// Purges that are ordered until it ends.
pub(crate) struct Storm {
    acknowledged: Arc<Mutex<BTreeMap<u64, String>>>,
    is_over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
}

impl Storm {
    /// Begins with so many writers, each of which asks the replicas in turn.
    pub(crate) fn begin(caller: &Caller, apis: &[SocketAddr], writers: usize) -> Self {
        let (acknowledged, is_over): (Arc<Mutex<BTreeMap<u64, String>>>, Arc<AtomicBool>) =
            Default::default();
        let write = |writer: usize| {
            let (caller, acknowledged) = (caller.clone(), Arc::clone(&acknowledged));
            let (is_over, apis) = (Arc::clone(&is_over), apis.to_vec());
            tokio::spawn(async move {
                for n in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let order = json!({"kind": "key", "key": format!("w{writer}-{n}")});
                    let api = apis[(writer + n) % apis.len()];
                    let Ok(answer) = caller.call("POST", api, "/v1/purges", &order).await else {
                        continue;
                    };
                    let offset = answer["offset"].as_u64().expect("an offset");
                    let key = order["key"].as_str().expect("text").to_owned();
                    let before = acknowledged.lock().expect("no panic").insert(offset, key);
                    assert_eq!(before, None, "one offset for two purges");
                }
            })
        };
        let writers = (0..writers).map(write).collect();
        Self { acknowledged, is_over, writers }
    }

    /// How many were acknowledged so far.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().expect("no panic").len()
    }

    /// Waits until so many more were acknowledged.
    pub(crate) async fn goes_on(&self, more: usize) {
        let count = self.count() + more;
        until(async || (self.count() >= count).then_some(())).await;
    }

    /// Ends; what was acknowledged, by offset.
    pub(crate) async fn end(self) -> BTreeMap<u64, String> {
        self.is_over.store(true, Ordering::Relaxed);
        for writer in self.writers {
            within(writer).await.expect("no panic");
        }
        let acknowledged = self.acknowledged.lock().expect("no panic");
        acknowledged.clone()
    }
}

/// The whole purge log, as a replica tells it.
pub(crate) async fn read_log(caller: &Caller, api: SocketAddr) -> BTreeMap<u64, String> {
    let mut log = BTreeMap::new();
    loop {
        let after = log.last_key_value().map_or(0, |(offset, _)| *offset);
        let path = format!("/v1/purges?after={after}&limit=500");
        let page = caller.must("GET", api, &path, Value::Null).await;
        let purges = page["purges"].as_array().expect("a list");
        if purges.is_empty() {
            return log;
        }
        for purge in purges {
            let key = purge["order"]["key"].as_str().expect("text").to_owned();
            log.insert(purge["offset"].as_u64().expect("an offset"), key);
        }
    }
}

/// Every replica's log has no holes and holds what was acknowledged.
pub(crate) async fn expect_whole(
    caller: &Caller,
    apis: &[SocketAddr],
    acknowledged: &BTreeMap<u64, String>,
) {
    for api in apis {
        let log = read_log(caller, *api).await;
        let offsets: Vec<_> = log.keys().copied().collect();
        assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "no holes");
        for (offset, key) in acknowledged {
            assert_eq!(log.get(offset), Some(key), "{offset}");
        }
    }
}
