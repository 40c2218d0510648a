//! Conditions with a limit, in place of sleeps.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a story waits for what should happen at once: longer than a busy machine with a slow disk takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until the answer is `Some`.
///
/// # Panics
/// When that takes longer than the limit.
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Fails when something takes longer than the limit.
///
/// # Panics
/// Then.
pub async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}
