//! What stories are told with: etcd, control planes as processes, nodes.
//!
//! Nothing waits without a limit: what does not happen within [`LIMIT`] fails the test.

mod cluster;
mod storm;
mod etcd;
mod cluster_tls;
mod node;
mod program;

use std::time::Duration;

pub(crate) use cluster::{Cluster, copy_keys};
pub(crate) use cluster_tls::ClusterTls;
pub(crate) use etcd::Etcd;
pub(crate) use node::Node;
pub(crate) use program::{Caller, Program, begin, command};
pub(crate) use storm::{Storm, expect_whole, read_log};

/// The longest that anything may take, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Waits for a future, within the limit.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it happens in time")
}

/// Asks again and again until the answer is some, within the limit.
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
