//! What a program holds of its process: where it spawns, says that it is ready, announces addresses, counts and
//! learns of the drain.
//!
//! **Invariant.** A supervised task that fails, panics or returns before the drain is never ignored: the first
//! such failure starts the drain and makes the exit code 1.

use std::{
    collections::BTreeMap,
    fmt,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use axum::Router;
use futures::FutureExt;
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{
    drain::Drain,
    handover::{self, Passed, Predecessor},
    logging,
    readiness::{Readiness, ReadyPart},
    recent::Recent,
};

/// The process a program runs in. Clones are the same process.
#[derive(Clone)]
pub struct Process(Arc<Parts>);

struct Parts {
    registry: Registry,
    drain: Drain,
    end: Drain,
    readiness: Readiness,
    tasks: TaskTracker,
    failure: watch::Sender<Option<TaskFailure>>,
    admin_routes: Mutex<Router>,
    /// The admin listener, for whoever follows.
    admin: Mutex<Option<TcpListener>>,
    is_admin_given: CancellationToken,
    predecessor: Mutex<Option<Predecessor>>,
    config_reading: OnceLock<ConfigReading>,
}

/// Reads the config anew from all its layers: whether it is the one in use, or what is wrong with it.
pub type ConfigReading = Arc<dyn Fn() -> Result<bool, String> + Send + Sync>;

/// How a supervised task failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} {reason}")]
pub struct TaskFailure {
    /// The name it was spawned under.
    pub task: &'static str,
    /// What became of it.
    pub reason: String,
}

impl Process {
    /// A process with nothing in it yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Parts {
            registry: Registry::new(),
            drain: Drain::new(),
            end: Drain::new(),
            readiness: Readiness::new(),
            tasks: TaskTracker::new(),
            failure: watch::Sender::new(None),
            admin_routes: Mutex::new(Router::new()),
            admin: Mutex::default(),
            is_admin_given: CancellationToken::new(),
            predecessor: Mutex::default(),
            config_reading: OnceLock::new(),
        }))
    }

    /// A process for a test: a registry of its own, no admin port, warnings on the test's output. The test starts
    /// the drain itself, and asks [`Process::failed`] where it cares.
    #[must_use]
    pub fn for_test() -> Self {
        logging::init_for_test();
        crate::crypto::init_crypto();
        Self::new()
    }

    /// Where metrics are declared.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The drain of this process.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.0.drain.clone()
    }

    /// Runs a supervised task. If it fails, panics, or returns before the drain has started, the process drains
    /// and ends with exit code 1. A task that takes time to finish is awaited by the program's `main`: once that
    /// has returned, tasks have a second left.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let process = self.clone();
        let span = tracing::info_span!("task", task = name);
        let supervised = async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let draining = process.0.drain.is_started();
            match verdict(name, ended, draining) {
                Verdict::Ended => {}
                Verdict::EndedBadly(failure) => {
                    tracing::warn!(%failure, "a task failed in the drain")
                }
                Verdict::Failed(failure) => process.fail(failure),
            }
        };
        self.0.tasks.spawn(supervised.instrument(span));
    }

    /// Names a part that must be ready before the process is. Name all parts before setting the first.
    #[must_use]
    pub fn ready(&self, part: &'static str) -> ReadyPart {
        self.0.readiness.part(part)
    }

    /// Whether every named part is ready and no drain has started.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.readiness.status().is_ready() && !self.0.drain.is_started()
    }

    /// Notes the address a listener is bound to, for the ready file.
    pub fn announce(&self, listener: &'static str, addr: SocketAddr) {
        tracing::info!(listener, %addr, "listening");
        self.0.readiness.announce(listener, addr);
    }

    /// The addresses announced so far.
    #[must_use]
    pub fn listeners(&self) -> BTreeMap<&'static str, SocketAddr> {
        self.0.readiness.status().listeners
    }

    /// Adds routes to the admin port. Its own paths stay its own.
    ///
    /// # Panics
    /// When a path was added before.
    pub fn admin_routes(&self, routes: Router) {
        let mut all = lock(&self.0.admin_routes);
        *all = std::mem::take(&mut *all).merge(routes);
    }

    /// The process that this one was started to follow, once.
    #[must_use]
    pub fn predecessor(&self) -> Option<Predecessor> {
        lock(&self.0.predecessor).take()
    }

    /// The admin listener once more, for a process that is to follow this one.
    #[must_use]
    pub fn admin_to_pass(&self) -> Option<Passed> {
        let socket = lock(&self.0.admin).as_ref()?.try_clone().ok()?;
        let (name, asked) = (handover::ADMIN.to_owned(), String::new());
        Some(Passed { name, asked, socket: OwnedFd::from(socket) })
    }

    /// Another process answers at the admin port from now on.
    pub fn give_admin(&self) {
        self.0.is_admin_given.cancel();
        lock(&self.0.admin).take();
    }

    /// The newest lines of the log, where some are kept.
    #[must_use]
    pub fn recent_log(&self) -> Option<Recent> {
        logging::recent()
    }

    /// What reads the config as a start would, and as `--check-config` does; it waits for the disk. Absent in a test.
    #[must_use]
    pub fn config_reading(&self) -> Option<ConfigReading> {
        self.0.config_reading.get().cloned()
    }

    /// Waits for the first failure of a supervised task.
    pub async fn failed(&self) -> TaskFailure {
        let mut failure = self.0.failure.subscribe();
        let found =
            failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        match found {
            Some(failure) => failure,
            None => unreachable!("the sender lives as long as this process"),
        }
    }

    /// The first failure of a supervised task, if there was one.
    pub(crate) fn failure(&self) -> Option<TaskFailure> {
        self.0.failure.borrow().clone()
    }

    pub(crate) fn set_config_reading(&self, reading: ConfigReading) {
        // Once: there is one config.
        let _ = self.0.config_reading.set(reading);
    }

    pub(crate) fn set_predecessor(&self, predecessor: Predecessor) {
        *lock(&self.0.predecessor) = Some(predecessor);
    }

    /// Whether another process answers at the admin port.
    pub(crate) fn is_admin_given(&self) -> &CancellationToken {
        &self.0.is_admin_given
    }

    pub(crate) fn keep_admin(&self, listener: TcpListener) {
        *lock(&self.0.admin) = Some(listener);
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// The routes that programs added so far.
    pub(crate) fn extra_routes(&self) -> Router {
        lock(&self.0.admin_routes).clone()
    }

    /// What starts when the program's `main` has returned: the chassis' own tasks end then, not in the drain.
    pub(crate) fn end(&self) -> &Drain {
        &self.0.end
    }

    /// Ends the process's tasks: starts drain and end, and gives them a moment.
    pub(crate) async fn finish_tasks(&self) {
        self.0.drain.begin();
        self.0.end.begin();
        self.0.tasks.close();
        if tokio::time::timeout(TASK_FINISH_MAX, self.0.tasks.wait()).await.is_err() {
            tracing::debug!(tasks = self.0.tasks.len(), "tasks are cut off at the end");
        }
    }

    fn fail(&self, failure: TaskFailure) {
        tracing::error!(%failure, "a supervised task failed; the process ends");
        self.0.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
        self.0.drain.begin();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("status", &self.0.readiness.status())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the end of a task means for the process.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing: it ended in the drain, as it should.
    Ended,
    /// It ended in the drain with an error: worth a line, no more.
    EndedBadly(TaskFailure),
    /// The process cannot go on without it.
    Failed(TaskFailure),
}

/// Weighs the end of a task. A panic is a defect at any time; an error in the drain is often just a peer that has
/// gone already.
fn verdict(
    task: &'static str,
    ended: std::thread::Result<anyhow::Result<()>>,
    draining: bool,
) -> Verdict {
    let failure = |reason: String| TaskFailure { task, reason };
    match ended {
        Ok(Ok(())) if draining => Verdict::Ended,
        Ok(Ok(())) => Verdict::Failed(failure("returned before the drain".to_owned())),
        Ok(Err(error)) if draining => Verdict::EndedBadly(failure(format!("failed: {error:#}"))),
        Ok(Err(error)) => Verdict::Failed(failure(format!("failed: {error:#}"))),
        Err(panic) => Verdict::Failed(failure(format!("panicked: {}", panic_text(&*panic)))),
    }
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// How long supervised tasks may go on after the program's `main` returned.
const TASK_FINISH_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_end_in_the_drain_is_no_failure() {
        let failed =
            |reason: &str| Verdict::Failed(TaskFailure { task: "feed", reason: reason.to_owned() });
        let error = || Ok(Err(anyhow::anyhow!("disk is full").context("purge log")));
        let panic = || Err(Box::new("index out of range") as Box<_>);
        let table = [
            (Ok(Ok(())), true, Verdict::Ended),
            (Ok(Ok(())), false, failed("returned before the drain")),
            (error(), false, failed("failed: purge log: disk is full")),
            (panic(), false, failed("panicked: index out of range")),
            (panic(), true, failed("panicked: index out of range")),
        ];
        for (ended, draining, expected) in table {
            assert_eq!(verdict("feed", ended, draining), expected);
        }
        assert!(matches!(verdict("feed", error(), true), Verdict::EndedBadly(_)));
    }

    #[tokio::test]
    async fn the_first_failure_starts_the_drain_and_is_kept() {
        let process = Process::for_test();
        process.spawn("first", async { panic!("by design {}", 1) });
        let failure = process.failed().await;
        assert_eq!(failure.to_string(), "task first panicked: by design 1");
        assert!(process.drain().is_started());

        process.spawn("second", async { panic!("by design 2") });
        process.finish_tasks().await;
        assert_eq!(process.failure(), Some(failure));
    }

    #[tokio::test]
    async fn a_task_that_ends_in_the_drain_is_no_failure() {
        let process = Process::for_test();
        let drain = process.drain();
        process.spawn("listener", async move {
            drain.started().await;
            Ok(())
        });
        let part = process.ready("listener");
        part.set(true);
        assert!(process.is_ready());

        process.drain().begin();
        process.finish_tasks().await;
        assert!(process.0.tasks.is_empty());
        assert_eq!(process.failure(), None);
        assert!(!process.is_ready(), "a draining process takes no new work");
    }
}
