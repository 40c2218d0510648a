//! The purge log in etcd: any replica appends, in one order.
//!
//! An append compares the head's revision in the transaction that writes entries and the new head; of two replicas that
//! append at once one reads the head again and puts its entries behind. Purges that wait share a transaction. Each
//! replica holds the newest entries in memory, in the log's order, and knows how long ago it saw the true head.

use std::{
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tidegate_contract::{
    id::{PurgeId, StreamId},
    purge_offset::epoch,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    append::{Job, append_all},
    client::Client,
    log_entry::{Names, Stored, number, offset, read_body},
    signed,
    trim::trim,
    watch::follow,
    wire::{get, op, range},
};
use crate::store::{
    error::StoreError,
    log::{AppendError, Appended, Entry, Log, NewPurge, PAGE_BYTES_MAX, Page, TrimPolicy},
    tail::Tail,
};

/// One stream of the purge log in etcd.
pub struct EtcdLog {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
    _tasks: DropGuard,
}

/// What the log's tasks and its readers share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) names: Names,
    stream: StreamId,
    tail: Tail,
    /// Held by whoever adds to the tail.
    order: Mutex<()>,
    /// When the head was asked for that the tail has reached.
    confirmed: StdMutex<Option<Instant>>,
    replacements_max: u64,
}

impl EtcdLog {
    /// Opens a stream and begins to follow it. At most `queue_max` purges wait to be appended.
    ///
    /// # Errors
    /// [`StoreError`] when the cluster cannot be reached.
    pub async fn open(
        client: Client,
        stream: StreamId,
        tail_entries_max: usize,
        replacements_max: u64,
        queue_max: usize,
    ) -> Result<Self, StoreError> {
        let names = Names::new(&client, &stream);
        let head = read_head(&client, &names).await?.0;
        let shared = Arc::new(Shared {
            client: client.clone(),
            names,
            stream,
            tail: Tail::new(head, tail_entries_max),
            order: Mutex::new(()),
            confirmed: StdMutex::new(None),
            replacements_max,
        });
        let (queue, jobs) = mpsc::channel(queue_max.max(1));
        let stop = CancellationToken::new();
        let append = append_all(Arc::clone(&shared), jobs);
        tokio::spawn(stop.clone().run_until_cancelled_owned(append));
        let following = Arc::clone(&shared);
        let follow = async move {
            let key = following.names.head();
            let look = async || following.look().await;
            follow(&following.client, &key, LOOK_EVERY, look).await;
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow));
        Ok(Self { shared, queue, _tasks: stop.drop_guard() })
    }
}

#[async_trait]
impl Log for EtcdLog {
    fn stream(&self) -> &StreamId {
        &self.shared.stream
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.shared.tail.watch()
    }

    fn may_lag(&self) -> bool {
        true
    }

    fn is_current(&self) -> bool {
        let confirmed = *self.shared.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.is_some_and(|at| at.elapsed() < CURRENT_FOR)
    }

    async fn append(&self, purge: NewPurge) -> Result<Appended, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Job { purge, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn read(&self, after: u64, entries_max: usize) -> Result<Page, StoreError> {
        match self.shared.tail.page(after, entries_max) {
            Some(page) => Ok(page),
            None => self.shared.page(after, self.shared.tail.head(), entries_max).await,
        }
    }

    async fn find(&self, id: &PurgeId) -> Result<Option<Arc<Entry>>, StoreError> {
        let Shared { client, names, .. } = self.shared.as_ref();
        let Some(found) = client.get(&names.id(id.as_str())).await? else { return Ok(None) };
        let offset = number(&found.value)?;
        let ops = vec![op(get(&names.entry(offset))), op(get(&names.body(offset)))];
        let txn = client.txn(Vec::new(), ops, Vec::new()).await?;
        let mut ranges = txn.response.ranges().map(|kvs| kvs.into_iter().next());
        let (entry, body) = (ranges.next().flatten(), ranges.next().flatten());
        let Some(entry) = entry else { return Ok(None) };
        let body = body.map(|body| read_body(&body.value)).transpose()?;
        Ok(Some(Arc::new(Stored::read(&entry.value)?.into_entry(offset, body)?)))
    }

    async fn trim(&self, policy: TrimPolicy, now_unix_ms: u64) -> Result<u64, StoreError> {
        trim(&self.shared, policy, self.shared.replacements_max, now_unix_ms).await
    }
}

impl Shared {
    /// Adds entries that were just appended to the tail; what others appended before them comes first.
    pub(super) async fn push(&self, entries: Vec<Arc<Entry>>) -> Result<(), StoreError> {
        let _order = self.order.lock().await;
        let first = entries.first().map_or(0, |entry| entry.offset);
        if first > self.tail.head() + 1 {
            return self.catch_up().await;
        }
        let head = self.tail.head();
        entries.into_iter().filter(|entry| entry.offset > head).for_each(|e| self.tail.push(e));
        Ok(())
    }

    /// Looks at the head and takes what is new.
    async fn look(&self) {
        let _order = self.order.lock().await;
        if let Err(error) = self.catch_up().await {
            tracing::warn!(%error, "cannot follow the purge log");
        }
    }

    /// Brings the tail to the head that is true now.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let (head, _) = read_head(&self.client, &self.names).await?;
        if epoch(head) != epoch(self.tail.head()) {
            // Restored beneath this process: nothing that it says of the log is true any more.
            return Err(StoreError::damaged(
                "purge log",
                "it was restored: start this replica anew",
            ));
        }
        while self.tail.head() < head {
            match self.page(self.tail.head(), head, CATCH_UP_ENTRIES).await? {
                Page::Entries(entries) => entries.into_iter().for_each(|e| self.tail.push(e)),
                Page::Gone { head } => self.tail.reset(head),
            }
        }
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        Ok(())
    }

    /// The page after an offset, from etcd; nothing above `head`.
    async fn page(&self, after: u64, head: u64, entries_max: usize) -> Result<Page, StoreError> {
        let Self { client, names, .. } = self;
        let entries_max = entries_max.clamp(1, CATCH_UP_ENTRIES);
        let entries = range(
            &names.entry(after + 1),
            names.entry(head + 1).into(),
            signed(entries_max as u64),
        );
        let ops = vec![op(get(&names.trimmed())), op(entries)];
        let mut ranges = client.txn(Vec::new(), ops, Vec::new()).await?.response.ranges();
        let trimmed = ranges.next().unwrap_or_default();
        let trimmed = trimmed.first().map(|kv| number(&kv.value)).transpose()?.unwrap_or(0);
        if after < trimmed {
            return Ok(Page::Gone { head });
        }
        let (mut page, mut bytes) = (Vec::new(), 0);
        for kv in ranges.next().unwrap_or_default() {
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
            let (offset, stored) = (offset(&kv)?, Stored::read(&kv.value)?);
            if offset != after + 1 + page.len() as u64 {
                return Err(StoreError::damaged("purge log", format!("no entry before {offset}")));
            }
            let body = match &stored.replacement_digest {
                Some(_) => client.get(&names.body(offset)).await?,
                None => None,
            };
            let body = body.map(|kv| read_body(&kv.value)).transpose()?;
            let entry = stored.into_entry(offset, body)?;
            bytes += entry.bytes();
            page.push(Arc::new(entry));
        }
        if page.is_empty() && after < head {
            return Err(StoreError::damaged("purge log", format!("no entry behind {after}")));
        }
        Ok(Page::Entries(page))
    }
}

/// The newest offset and the revision of its last change; both are 0 in an empty log.
pub(super) async fn read_head(client: &Client, names: &Names) -> Result<(u64, i64), StoreError> {
    match client.get(&names.head()).await? {
        Some(kv) => Ok((number(&kv.value)?, kv.mod_revision)),
        None => Ok((0, 0)),
    }
}

const CATCH_UP_ENTRIES: usize = 500;
/// How often the head is asked for though no change of it was told.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How old the knowledge of the head may be; part of `purge.lease_margin`, 1 s. Nodes get no heartbeat from a replica that
/// knows less: their leases run out as if they were cut off themselves.
const CURRENT_FOR: Duration = Duration::from_secs(1);
