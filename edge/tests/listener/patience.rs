//! How long stories wait: longer than a machine takes that has much else to do.

use std::time::Duration;

use tidegate_edge::listener::Config;

/// How long a story waits for something that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A slow machine is not to be taken for a slow client.
pub(crate) fn be_patient(config: &mut Config) {
    let limits = &mut config.limits;
    for time in [
        &mut limits.handshake_timeout,
        &mut limits.header_timeout,
        &mut limits.body_timeout,
        &mut limits.write_timeout,
        &mut limits.rate_grace,
        &mut limits.idle_timeout,
    ] {
        *time = PATIENCE;
    }
}
