//! The one thread that writes, with group commit.
//!
//! Writes that arrive while a commit runs share the next one, so a single fsync pays for all of them and nobody
//! waits for a timer. Each write stands in a savepoint: one that fails takes nothing else with it. A write's
//! caller hears of it only after the commit.

use std::thread;

use rusqlite::Connection;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Config, Store, error::StoreError};
use crate::metrics::Metrics;

/// The way to the writer thread.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Write>>,
}

/// Ends when the writer thread does.
pub struct WriterEnd(oneshot::Receiver<()>);

impl WriterEnd {
    /// Waits until the writer has ended: every store handle is gone, or it failed.
    pub async fn wait(self) {
        let _ = self.0.await;
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        config: &Config,
        metrics: Metrics,
    ) -> Result<(Self, WriterEnd), StoreError> {
        let (queue, writes) = mpsc::channel(config.queue_writes_max.max(1));
        let (alive, end) = oneshot::channel();
        let commit_writes_max = config.commit_writes_max.max(1);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let _alive = alive;
                write_all(&connection, writes, commit_writes_max, &metrics);
            })
            .map_err(|source| StoreError::File { path: "store-writer".into(), source })?;
        Ok((Self { queue }, WriterEnd(end)))
    }
}

impl Store {
    /// Runs `work` in the next commit and returns when that is on disk. `after` runs in the writer thread between
    /// the commit and the answer: the order of its calls is the order of the writes.
    pub(super) async fn write<T, E, F, A>(&self, work: F, after: A) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Some(work), after, outcome: None, reply };
        self.writer.queue.try_send(Box::new(job)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// One write in the queue.
trait Write: Send {
    /// Runs inside of the transaction; false when it failed and its savepoint is to be rolled back.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Answers the caller.
    fn settle(self: Box<Self>, commit: Result<(), &rusqlite::Error>);
}

struct Job<T, E, F, A> {
    work: Option<F>,
    after: A,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F, A> Write for Job<T, E, F, A>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    A: FnOnce(&T) + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = self.work.take().map(|work| work(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn settle(self: Box<Self>, commit: Result<(), &rusqlite::Error>) {
        let Self { after, outcome, reply, .. } = *self;
        let outcome = match (commit, outcome) {
            (Ok(()), Some(Ok(value))) => {
                after(&value);
                Ok(value)
            }
            (_, Some(Err(error))) => Err(error),
            (Err(error), _) => Err(StoreError::Commit(error.to_string()).into()),
            (Ok(()), None) => Err(StoreError::Closed.into()),
        };
        // The caller may have gone; what was committed stays committed.
        let _ = reply.send(outcome);
    }
}

fn write_all(
    connection: &Connection,
    mut writes: mpsc::Receiver<Box<dyn Write>>,
    commit_writes_max: usize,
    metrics: &Metrics,
) {
    while let Some(first) = writes.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < commit_writes_max {
            match writes.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        let started = Instant::now();
        let commit = commit(connection, &mut batch);
        metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        metrics.commit_writes.observe(batch.len() as f64);
        if let Err(error) = &commit {
            tracing::error!(%error, writes = batch.len(), "a commit failed");
        }
        for job in batch {
            job.settle(commit.as_ref().copied());
        }
    }
}

fn commit(connection: &Connection, batch: &mut [Box<dyn Write>]) -> Result<(), rusqlite::Error> {
    run(connection, "BEGIN IMMEDIATE")?;
    let outcome = batch
        .iter_mut()
        .try_for_each(|job| {
            run(connection, "SAVEPOINT one")?;
            if !job.run(connection) {
                run(connection, "ROLLBACK TO one")?;
            }
            run(connection, "RELEASE one")
        })
        .and_then(|()| run(connection, "COMMIT"));
    if outcome.is_err() && !connection.is_autocommit() {
        run(connection, "ROLLBACK")?;
    }
    outcome
}

fn run(connection: &Connection, statement: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}
