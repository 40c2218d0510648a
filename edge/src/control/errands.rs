//! What the control plane orders this node alone: a restart without a gap, a way back to the release before.
//!
//! The number of an order is written down before it is begun, and outlives the process. Invariant: no number is carried out
//! twice, and what became of the last one is told until there is another.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::UNIX_EPOCH,
};

use tidegate_chassis::{Clock, Drain};
use tidegate_contract::{
    node_order::{Act, DETAIL_CHARS_MAX, NodeOrder, OrderReport, Outcome},
    telemetry::Orders,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{intake::Intake, private_file};

/// Asks for a new process in the place of this one; the answer says why there is none. Where it goes well this process
/// drains.
pub type Restart = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// Carries orders to this node out. Cheap to clone.
#[derive(Clone)]
pub(super) struct Errands(Arc<Inner>);

struct Inner {
    file: PathBuf,
    last: Mutex<Option<OrderReport>>,
    intake: Arc<Intake>,
    /// Absent: this process cannot be replaced.
    restart: Option<Restart>,
    clock: Clock,
}

impl Errands {
    /// What was taken before is read from the folder.
    pub(super) fn new(
        state_dir: &Path,
        intake: Arc<Intake>,
        restart: Option<Restart>,
        clock: Clock,
    ) -> Self {
        let file = state_dir.join("node-order.json");
        let last = Mutex::new(read(&file));
        Self(Arc::new(Inner { file, last, intake, restart, clock }))
    }

    /// What became of the last order.
    pub(super) fn report(&self) -> Option<OrderReport> {
        self.lock().clone()
    }

    /// This process is the one that speaks for the node: what the one before it began is over.
    pub(super) fn take_over(&self) {
        let kept = read(&self.0.file).and_then(|last| settled(&last));
        if let Some(settled) = kept
            && let Err(error) = self.remember(settled)
        {
            tracing::error!(%error, "what became of an order cannot be written");
        }
    }

    /// Carries out what comes, until the drain.
    pub(super) async fn run(self, mut ordered: watch::Receiver<Orders>, drain: Drain) {
        loop {
            let order = ordered.borrow_and_update().node;
            if let Some(order) = order {
                self.take(order).await;
            }
            tokio::select! {
                changed = ordered.changed() => if changed.is_err() { return },
                () = drain.started() => return,
            }
        }
    }

    async fn take(&self, order: NodeOrder) {
        let NodeOrder { number, act, expires_unix_ms } = order;
        if self.lock().as_ref().is_some_and(|last| last.number >= number) {
            return;
        }
        let now = self.0.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_late = now.as_millis() >= u128::from(expires_unix_ms);
        tracing::warn!(number, act = act.as_str(), is_late, "ordered by the control plane");
        let report = |outcome, detail: String| OrderReport {
            number,
            act,
            outcome,
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
        };
        let begun = report(Outcome::Begun, String::new());
        // What is not written could be carried out again by the next process.
        let written = self.remember(begun).map_err(|error| format!("it cannot be noted: {error}"));
        let done = match (written, act) {
            (Err(error), _) => Err(error),
            (Ok(()), _) if is_late => Err("it came too late".to_owned()),
            (Ok(()), Act::Unknown) => Err("this build does not know such an order".to_owned()),
            (Ok(()), Act::RollbackLocal) => {
                let fallen = self.0.intake.fall_back("taken back by an operator").await;
                fallen.map(|(from, to)| format!("went back from version {from} to {to}"))
            }
            (Ok(()), Act::Restart) => match self.restart().await {
                // The new process says that it is done, once it speaks for the node.
                Ok(()) => return,
                Err(error) => Err(error),
            },
        };
        let report = match done {
            Ok(detail) => report(Outcome::Done, detail),
            Err(error) => {
                tracing::error!(number, act = act.as_str(), error, "an order is refused");
                report(Outcome::Refused, error)
            }
        };
        if let Err(error) = self.remember(report) {
            tracing::error!(%error, "what became of an order cannot be written");
        }
    }

    async fn restart(&self) -> Result<(), String> {
        let none = || "this process cannot be replaced".to_owned();
        let restart = self.0.restart.as_ref().ok_or_else(none)?;
        let (answer, answered) = oneshot::channel();
        restart.send(answer).await.map_err(|_| none())?;
        answered.await.map_err(|_| none())?
    }

    /// Keeps it in any case, durably if that goes.
    fn remember(&self, report: OrderReport) -> io::Result<()> {
        let content = serde_json::to_vec(&report).map_err(io::Error::other)?;
        *self.lock() = Some(report);
        private_file::replace(&self.0.file, &content)
    }

    fn lock(&self) -> MutexGuard<'_, Option<OrderReport>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an order that a process began which is no more.
fn settled(last: &OrderReport) -> Option<OrderReport> {
    let (outcome, detail) = match (last.outcome, last.act) {
        (Outcome::Begun, Act::Restart) => (Outcome::Done, "another process speaks for the node"),
        (Outcome::Begun, _) => (Outcome::Refused, "the process ended meanwhile"),
        _ => return None,
    };
    Some(OrderReport { outcome, detail: detail.to_owned(), ..last.clone() })
}

/// What was kept; nothing when it cannot be read, which is said.
fn read(file: &Path) -> Option<OrderReport> {
    let content = private_file::read(file, FILE_BYTES_MAX);
    let report = content.and_then(|content| {
        content
            .map(|content| serde_json::from_slice(&content).map_err(io::Error::other))
            .transpose()
    });
    report.unwrap_or_else(|error| {
        tracing::error!(%error, "which order was taken last is not known");
        None
    })
}

/// A report and its detail.
const FILE_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_began_that_is_no_more_is_settled_and_the_rest_stays() {
        for (outcome, act, expected) in [
            (Outcome::Begun, Act::Restart, Some(Outcome::Done)),
            (Outcome::Begun, Act::RollbackLocal, Some(Outcome::Refused)),
            (Outcome::Done, Act::Restart, None),
            (Outcome::Refused, Act::RollbackLocal, None),
        ] {
            let last = OrderReport { number: 7, act, outcome, detail: String::new() };
            let settled = settled(&last);
            assert_eq!(settled.as_ref().map(|report| report.outcome), expected, "{last:?}");
            assert!(settled.is_none_or(|report| report.number == 7 && !report.detail.is_empty()));
        }
    }

    #[test]
    fn a_damaged_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node-order.json");
        assert_eq!(read(&file), None);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(read(&file), None);
    }
}
