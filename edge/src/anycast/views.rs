//! Whether neighbours answer at their public addresses, as the control plane asks.
//!
//! Several PoPs together can tell a dead PoP from a broken path to it; one alone cannot. Invariant: a few neighbours, one
//! request to each at a time, and what they answer changes nothing here.

use std::time::Duration;

use futures::future::join_all;
use tidegate_chassis::Drain;
use tidegate_contract::telemetry::{Neighbour, Orders, VIEWS_MAX, View};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::self_test;

/// What looks at neighbours.
pub struct Views {
    timeout: Duration,
}

impl Views {
    /// One request may take so long.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Looks at the neighbours of the orders until the drain.
    pub async fn run(
        self,
        orders: watch::Receiver<Orders>,
        views: watch::Sender<Vec<View>>,
        drain: Drain,
    ) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.started() => return,
            }
            let neighbours = orders.borrow().neighbours.clone();
            views.send_replace(self.look(&neighbours).await);
        }
    }

    async fn look(&self, neighbours: &[Neighbour]) -> Vec<View> {
        let look = async |neighbour: &Neighbour| View {
            pop: neighbour.pop.clone(),
            is_good: self_test::ask(neighbour.address, neighbour.name.as_deref(), self.timeout)
                .await,
        };
        join_all(neighbours.iter().take(VIEWS_MAX).map(look)).await
    }
}

const EVERY: Duration = Duration::from_secs(2);
