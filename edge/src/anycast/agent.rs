//! The tasks of a node that orders move and reports are made of: the self-test, the levels, the views, the clients that
//! are asked to leave.
//!
//! Invariant: each of them holds what it was told last for as long as the process lives.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidegate_chassis::{Clock, Process};
use tidegate_contract::telemetry::{Load, Orders, Report, SelfTest, View};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    bird::Bird,
    config::Config,
    levels::{Levels, Standing},
    self_test::{self, Places, SelfTester, Verdict},
    views::Views,
};
use crate::listener::Leaving;

/// What the agent needs of the node.
pub struct Parts {
    /// The speaker, where there is one.
    pub speaker: Option<Config>,
    /// How the node tests itself.
    pub self_test: self_test::Config,
    /// Where.
    pub places: Places,
    /// Where the epochs of permits are kept; absent: nowhere.
    pub permits_file: Option<PathBuf>,
    /// The time of day.
    pub clock: Clock,
    /// Asks clients to leave.
    pub leaving: Leaving,
    /// What the node moved.
    pub load: Arc<dyn Fn() -> Load + Send + Sync>,
}

/// What the agent gives to whoever talks to the control plane.
pub struct Agent {
    /// Where orders go.
    pub orders: watch::Sender<Orders>,
    /// How the node is now.
    pub report: Arc<dyn Fn() -> Report + Send + Sync>,
    /// What tests it.
    pub tester: Arc<SelfTester>,
}

/// Starts the tasks; they end with the process.
///
/// # Errors
/// When there is no socket for the self-test.
pub fn start(parts: Parts, process: &Process) -> std::io::Result<Agent> {
    let Parts { speaker, self_test, places, permits_file, clock, leaving, load } = parts;
    let (orders, ordered) = watch::channel(Orders::default());
    let (tested, test) = watch::channel(SelfTest::default());
    let (looked, views) = watch::channel(Vec::<View>::new());
    let (stood, standing) = watch::channel(Standing::default());
    let drain = process.drain();

    let tester = Arc::new(SelfTester::new(&self_test, places)?);
    process.spawn("self-test", {
        let (drain, tester) = (drain.clone(), tester.clone());
        async move {
            let mut verdict = Verdict::default();
            let mut ticks = interval(TEST_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = drain.started() => return Ok(()),
                }
                let failed = tester.failed().await;
                tested.send_replace(verdict.probed(failed).clone());
            }
        }
    });
    process.spawn("views", {
        let (drain, ordered) = (drain.clone(), ordered.clone());
        let views = Views::new(VIEW_TIMEOUT);
        async move {
            views.run(ordered, looked, drain).await;
            Ok(())
        }
    });
    if let Some(config) = speaker {
        let mut levels = Levels::new(Arc::new(Bird::new(&config)), clock);
        if let Some(file) = permits_file {
            levels = levels.keeping(file);
        }
        let (drain, ordered) = (drain.clone(), ordered.clone());
        process.spawn("levels", async move {
            levels.run(ordered, stood, drain).await;
            Ok(())
        });
    }
    process.spawn("leaving", {
        let (leaving, mut ordered) = (leaving.clone(), ordered);
        async move {
            loop {
                tokio::select! {
                    changed = ordered.changed() => if changed.is_err() { return Ok(()) },
                    () = drain.started() => return Ok(()),
                }
                let is_leaving = ordered.borrow_and_update().is_leaving;
                if is_leaving != leaving.is_set() {
                    tracing::info!(
                        is_leaving,
                        "clients are asked to go elsewhere, or not any more"
                    );
                    leaving.set(is_leaving);
                }
            }
        }
    });
    let report = move || {
        let Standing { speaker, refused } = standing.borrow().clone();
        Report {
            self_test: test.borrow().clone(),
            load: load(),
            views: views.borrow().clone(),
            speaker,
            is_leaving: leaving.is_set(),
            refused,
            // Whoever carries orders to the node out knows.
            order: None,
        }
    };
    Ok(Agent { orders, report: Arc::new(report), tester })
}

const TEST_EVERY: Duration = Duration::from_secs(1);
/// A neighbour may be on the other side of the Earth: three round trips and some.
const VIEW_TIMEOUT: Duration = Duration::from_secs(2);
