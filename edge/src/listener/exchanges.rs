//! The open exchanges of one H2 or H3 connection, counted so that idleness can be seen.
//!
//! Invariant: the count falls when the guard is dropped, also when its task panics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Counter of open exchanges on one connection.
pub(super) struct Exchanges(watch::Sender<usize>);

impl Exchanges {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(0)))
    }

    /// Counts one exchange as open until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> OpenExchange {
        self.0.send_modify(|open| *open += 1);
        OpenExchange(self.clone())
    }

    /// Waits until no exchange is open.
    pub(super) async fn all_done(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Waits until no exchange has been open for `time` without a break.
    pub(super) async fn idle_for(&self, time: Duration) {
        let mut open = self.0.subscribe();
        loop {
            let _ = open.wait_for(|open| *open == 0).await;
            tokio::select! {
                // First, so that an exchange that began in time counts even if seen late.
                biased;
                _ = open.wait_for(|open| *open > 0) => {}
                () = tokio::time::sleep(time) => return,
            }
        }
    }
}

/// One open exchange.
pub(super) struct OpenExchange(Arc<Exchanges>);

impl Drop for OpenExchange {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn an_open_exchange_stops_the_idle_clock() {
        let exchanges = Exchanges::new();
        let idle = exchanges.idle_for(Duration::from_secs(60));
        tokio::pin!(idle);

        assert!(idle.as_mut().now_or_never().is_none());
        let open = exchanges.begin();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert!(idle.as_mut().now_or_never().is_none(), "an exchange is open");

        drop(open);
        assert!(idle.as_mut().now_or_never().is_none(), "idle only just now");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(idle.as_mut().now_or_never().is_some());
        exchanges.all_done().await;
    }
}
