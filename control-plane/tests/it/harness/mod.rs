//! What stories are told with: a control plane, operators, nodes.
//!
//! Nothing waits without a limit: what does not happen within [`LIMIT`] fails the test.

mod control;
mod feed;
mod node;
mod program;
mod person; // somebody at a command line

use std::time::Duration;

pub(crate) use control::{Answer, TestControl, property};
pub(crate) use feed::{Feed, condition};
pub(crate) use node::{ConfigLane, TelemetryLane, TestNode};
pub(crate) use person::Person;
pub(crate) use program::{Program, Ran, operators_program, tidegate};

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
