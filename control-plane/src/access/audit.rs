//! The writer of the audit log: rows come from everywhere, one task chains and commits them.
//!
//! Rows that wait share one commit, so that thousands of calls a second cost few fsyncs. The head is swapped by its
//! revision: two replicas never give one number to two rows. A caller is answered only after its row is durable.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    AccessError,
    chain::{Entry, Head, Link, Row},
    decode, encode,
};
use crate::store::{
    AUDIT_FOLDER, COMMIT_ENTRIES_MAX, Commit, CommitError, Expect, Key, Records, Revision,
    StoreError,
};

/// The audit log. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    records: Arc<dyn Records>,
    rows: mpsc::Sender<Waiting>,
    head: watch::Receiver<Head>,
}

/// Ends when the writer does.
pub struct AuditEnd(JoinHandle<()>);

struct Waiting {
    row: Row,
    done: oneshot::Sender<bool>,
}

struct Writer {
    records: Arc<dyn Records>,
    rows_max: u64,
    known: Option<(Head, Expect)>,
    published: watch::Sender<Head>,
}

impl AuditLog {
    /// Starts the writer.
    #[must_use]
    pub fn start(
        records: Arc<dyn Records>,
        queue_rows_max: usize,
        rows_max: u64,
    ) -> (Self, AuditEnd) {
        let (sender, waiting) = mpsc::channel(queue_rows_max.max(1));
        let (published, head) = watch::channel(Head::default());
        let writer = Writer { records: Arc::clone(&records), rows_max, known: None, published };
        let end = AuditEnd(tokio::spawn(writer.run(waiting)));
        (Self { records, rows: sender, head }, end)
    }

    /// Writes a row; durable when it returns.
    ///
    /// # Errors
    /// [`AccessError::Audit`] when too many wait or the store cannot take it.
    pub async fn write(&self, row: Row) -> Result<(), AccessError> {
        let (done, is_done) = oneshot::channel();
        self.rows.try_send(Waiting { row, done }).map_err(|_| AccessError::Audit)?;
        if is_done.await.unwrap_or(false) { Ok(()) } else { Err(AccessError::Audit) }
    }

    /// The newest row that this process knows of, for witnesses: nodes hear it in every heartbeat.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    /// The newest row as stored.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn stored_head(&self) -> Result<Head, AccessError> {
        Ok(read_head(self.records.as_ref()).await?.0)
    }

    /// Rows after a number, in order, at most `rows_max` of them.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn page(&self, after: u64, rows_max: usize) -> Result<Vec<Entry>, AccessError> {
        let head = self.stored_head().await?;
        let mut next = after.saturating_add(1).max(head.first.max(1));
        let mut page = Vec::new();
        while next <= head.number && page.len() < rows_max {
            // All rows whose numbers differ in their last digits alone.
            let block = next / BLOCK_ROWS;
            let prefix = format!("{AUDIT_FOLDER}{block:017}");
            for record in self.records.list(&prefix).await?.records {
                let number = record.key.as_str().strip_prefix(AUDIT_FOLDER);
                let number = number.and_then(|number| number.parse::<u64>().ok());
                let number = number.ok_or_else(|| StoreError::damaged("audit key", &record.key))?;
                if number >= next && page.len() < rows_max {
                    let link: Link = decode("audit row", &record.value)?;
                    page.push(Entry { number, link });
                }
            }
            next = (block + 1) * BLOCK_ROWS;
        }
        Ok(page)
    }
}

impl AuditEnd {
    /// Waits for the writer's end.
    pub async fn wait(self) {
        let _ = self.0.await;
    }
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        if let Ok((head, _)) = read_head(self.records.as_ref()).await {
            self.published.send_replace(head);
        }
        let mut batch = Vec::with_capacity(BATCH_ROWS_MAX);
        while waiting.recv_many(&mut batch, self.batch_rows_max()).await > 0 {
            let rows: Vec<_> = batch.iter().map(|waiting| waiting.row.clone()).collect();
            let written = self.write(&rows).await;
            if let Err(error) = &written {
                tracing::error!(%error, rows = rows.len(), "audit rows could not be written");
                self.known = None;
            }
            for waiting in batch.drain(..) {
                // Whoever asked may have gone.
                let _ = waiting.done.send(written.is_ok());
            }
        }
    }

    /// What is far above its limit gets as much room in a commit as what is new, so that it shrinks under any load.
    fn batch_rows_max(&self) -> usize {
        let head = self.published.borrow();
        let kept = head.number + 1 - head.first.min(head.number + 1);
        let is_far_above = kept > self.rows_max.saturating_add(FAR_ABOVE_ROWS);
        if is_far_above { BATCH_ROWS_MAX / 2 } else { BATCH_ROWS_MAX }
    }

    async fn write(&mut self, rows: &[Row]) -> Result<(), CommitError> {
        for _ in 0..TRIES_MAX {
            let (before, expect) = match self.known.take() {
                Some(known) => known,
                None => read_head(self.records.as_ref()).await?,
            };
            match commit(self.records.as_ref(), &before, expect, rows, self.rows_max).await {
                Ok((head, revision)) => {
                    self.published.send_replace(head.clone());
                    self.known = Some((head, Expect::At(revision)));
                    return Ok(());
                }
                // Another replica, or a command on the machine, wrote in between.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::TooLarge("others write all the time"))
    }
}

/// Writes one row without a writer of its own, for a command on the machine itself.
///
/// # Errors
/// [`CommitError`]
pub async fn append_once(records: &dyn Records, row: &Row) -> Result<(), CommitError> {
    for _ in 0..TRIES_MAX {
        let (before, expect) = read_head(records).await?;
        match commit(records, &before, expect, std::slice::from_ref(row), u64::MAX).await {
            Err(CommitError::Conflict { .. }) => {}
            other => return other.map(|_| ()),
        }
    }
    Err(CommitError::TooLarge("others write all the time"))
}

async fn read_head(records: &dyn Records) -> Result<(Head, Expect), StoreError> {
    match records.get(&head_key()).await? {
        Some(record) => Ok((decode("audit head", &record.value)?, Expect::At(record.revision))),
        None => Ok((Head::default(), Expect::Absent)),
    }
}

async fn commit(
    records: &dyn Records,
    before: &Head,
    expect: Expect,
    rows: &[Row],
    rows_max: u64,
) -> Result<(Head, Revision), CommitError> {
    let mut head = before.clone();
    let mut puts = Vec::with_capacity(rows.len() + 1);
    for row in rows {
        let (next, Entry { number, link }) = head.append(row);
        head = next;
        puts.push((row_key(number), encode(&link)));
    }
    let room = (COMMIT_ENTRIES_MAX - 1).saturating_sub(rows.len()) as u64;
    let surplus = (head.number + 1 - head.first).saturating_sub(rows_max.max(1));
    let first = head.first + surplus.min(room);
    let deletes = (head.first..first).map(row_key).collect();
    head.first = first;
    puts.push((head_key(), encode(&head)));
    let commit = Commit { expect: vec![(head_key(), expect)], puts, deletes };
    let revision = records.commit(commit).await?;
    Ok((head, revision))
}

fn head_key() -> Key {
    Key::parse("audit/head").expect("a good key")
}

fn row_key(number: u64) -> Key {
    Key::parse(&format!("{AUDIT_FOLDER}{number:020}")).expect("a good key")
}

/// Rows of one commit; what room they leave is for rows that are forgotten, and one entry is the head.
const BATCH_ROWS_MAX: usize = COMMIT_ENTRIES_MAX - 4;
const FAR_ABOVE_ROWS: u64 = 1000;
const TRIES_MAX: usize = 16;
const BLOCK_ROWS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::chain::verify,
        metrics::Metrics,
        store::{self, SqliteRecords, Store},
    };

    async fn records(folder: &tempfile::TempDir) -> Arc<dyn Records> {
        let metrics = Metrics::new(&prometheus::Registry::new());
        let (store, _) =
            Store::open(folder.path(), &store::Config::default(), metrics).expect("writable");
        Arc::new(SqliteRecords::open(store).await.expect("readable"))
    }

    fn row(number: usize) -> Row {
        Row {
            at_unix_ms: 1,
            token: format!("t{number}"),
            label: String::new(),
            action: "PUT /v1/pops/fra".into(),
            status: 200,
            reason: String::new(),
            notes: vec![],
        }
    }

    #[tokio::test]
    async fn rows_of_many_callers_and_two_writers_make_one_chain() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = records(&folder).await;
        let (first, _end) = AuditLog::start(Arc::clone(&records), 512, u64::MAX);
        let (second, _end) = AuditLog::start(Arc::clone(&records), 512, u64::MAX);
        let calls = (0..100).map(|number| {
            let log = if number % 2 == 0 { first.clone() } else { second.clone() };
            tokio::spawn(async move { log.write(row(number)).await })
        });
        for call in futures::future::join_all(calls).await {
            call.expect("no panic").expect("written");
        }
        append_once(records.as_ref(), &row(100)).await.expect("written");
        let page = first.page(0, 1000).await.expect("readable");
        assert_eq!(page.len(), 101);
        let head = first.stored_head().await.expect("readable");
        assert_eq!((head.number, verify(Some((0, "")), &page)), (101, Ok(head.hash)));
        let rest = first.page(95, 3).await.expect("readable");
        assert_eq!(rest.iter().map(|entry| entry.number).collect::<Vec<_>>(), [96, 97, 98]);
    }

    #[tokio::test]
    async fn old_rows_are_forgotten_and_the_rest_is_still_a_chain() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = records(&folder).await;
        let (log, _end) = AuditLog::start(Arc::clone(&records), 8, 3);
        for number in 0..10 {
            log.write(row(number)).await.expect("written");
        }
        let head = log.stored_head().await.expect("readable");
        assert_eq!((head.first, head.number), (8, 10));
        let page = log.page(0, 1000).await.expect("readable");
        assert_eq!(page.first().map(|entry| entry.number), Some(8));
        assert_eq!(verify(None, &page), Ok(head.hash));
        assert_eq!(log.head().borrow().number, 10);
    }
}
