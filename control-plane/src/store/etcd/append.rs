//! The task that appends purges: those that wait go into one transaction.
//!
//! A purge is answered when the transaction that holds it is durable and the tail shows it. A purge whose transaction
//! broke off is looked for before it is written again, so that none is in the log twice.

use std::{collections::HashSet, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::{
    log::{Shared, read_head},
    log_entry::{Stored, body_to_bytes, number},
    wire::{Compare, RequestOp, get, op, put, unchanged},
};
use crate::store::{
    error::StoreError,
    log::{AppendError, Appended, Entry, NewPurge},
};

/// One purge that waits.
pub(super) struct Job {
    pub(super) purge: NewPurge,
    pub(super) reply: oneshot::Sender<Result<Appended, AppendError>>,
}

/// Appends until nobody can ask for it any more.
pub(super) async fn append_all(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    let mut appender = Appender { shared, head: None };
    let mut waiting: Vec<Job> = Vec::new();
    loop {
        if waiting.is_empty() {
            let Some(first) = jobs.recv().await else { return };
            waiting.push(first);
        }
        while waiting.len() < BATCH_PURGES_MAX
            && let Ok(next) = jobs.try_recv()
        {
            waiting.push(next);
        }
        let (batch, later) = split(waiting);
        waiting = later;
        appender.append(batch).await;
    }
}

struct Appender {
    shared: Arc<Shared>,
    /// The head as this replica wrote it last, with its revision.
    head: Option<(u64, i64)>,
}

impl Appender {
    async fn append(&mut self, batch: Vec<Job>) {
        let outcome = async {
            let fresh = self.answer_known(batch).await?;
            if fresh.is_empty() { Ok(()) } else { self.write(fresh).await }
        };
        if let Err((error, batch)) = outcome.await {
            self.head = None;
            let text = error.to_string();
            for job in batch {
                let _ = job.reply.send(Err(StoreError::Etcd(text.clone()).into()));
            }
        }
    }

    /// Answers those whose idempotency key was used before; returns the others.
    async fn answer_known(&self, batch: Vec<Job>) -> Result<Vec<Job>, (StoreError, Vec<Job>)> {
        let mut fresh = Vec::with_capacity(batch.len());
        let mut batch = batch.into_iter();
        while let Some(job) = batch.next() {
            let found = match &job.purge.idempotency_key {
                Some(key) => self.known(key).await,
                None => Ok(None),
            };
            match found {
                Ok(None) => fresh.push(job),
                Ok(Some((offset, first))) => answer(job, offset, first),
                Err(error) => {
                    fresh.push(job);
                    fresh.extend(batch);
                    return Err((error, fresh));
                }
            }
        }
        Ok(fresh)
    }

    async fn known(&self, key: &str) -> Result<Option<(u64, Stored)>, StoreError> {
        let Shared { client, names, .. } = self.shared.as_ref();
        let Some(kv) = client.get(&names.idempotency(key)).await? else { return Ok(None) };
        let offset = number(&kv.value)?;
        let entry = client.get(&names.entry(offset)).await?;
        entry.map(|kv| Ok((offset, Stored::read(&kv.value)?))).transpose()
    }

    async fn write(&mut self, batch: Vec<Job>) -> Result<(), (StoreError, Vec<Job>)> {
        let mut batch = batch;
        loop {
            let plan = match self.plan(&batch).await {
                Ok(plan) => plan,
                Err(error) => return Err((error, batch)),
            };
            match self.carry_out(&plan).await {
                Ok(Outcome::Done) => {
                    let pushed = self.shared.push(plan.entries.clone()).await;
                    if let Err(error) = pushed {
                        // Durable all the same; the tail follows when etcd answers again.
                        tracing::warn!(%error, "cannot follow the purge log");
                    }
                    for (job, entry) in batch.into_iter().zip(plan.entries) {
                        let _ = job.reply.send(Ok(Appended { entry, is_new: true }));
                    }
                    return Ok(());
                }
                Ok(Outcome::Again) => {
                    self.head = None;
                    batch = self.answer_known(batch).await?;
                    if batch.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) => return Err((error, batch)),
            }
        }
    }

    async fn plan(&mut self, batch: &[Job]) -> Result<Plan, StoreError> {
        let Shared { client, names, .. } = self.shared.as_ref();
        let (head, revision) = match self.head {
            Some(known) => known,
            None => read_head(client, names).await?,
        };
        let mut plan = Plan {
            head: head + batch.len() as u64,
            entries: Vec::with_capacity(batch.len()),
            compare: vec![unchanged(&names.head(), revision)],
            puts: Vec::new(),
        };
        for (job, offset) in batch.iter().zip(head + 1..) {
            let stored = Stored::new(&job.purge);
            plan.puts.push(put(&names.entry(offset), stored.to_bytes()));
            plan.puts.push(put(&names.id(&stored.id), offset.to_string()));
            if let Some(key) = &job.purge.idempotency_key {
                let key = names.idempotency(key);
                plan.compare.push(unchanged(&key, 0));
                plan.puts.push(put(&key, offset.to_string()));
            }
            if let Some(replacement) = &job.purge.replacement {
                plan.puts.push(put(&names.body(offset), body_to_bytes(replacement)));
            }
            let entry = stored.into_entry(offset, job.purge.replacement.clone())?;
            plan.entries.push(Arc::new(entry));
        }
        plan.puts.push(put(&names.head(), plan.head.to_string()));
        Ok(plan)
    }

    async fn carry_out(&mut self, plan: &Plan) -> Result<Outcome, StoreError> {
        let Shared { client, names, .. } = self.shared.as_ref();
        let first = &plan.entries[0];
        let look = vec![op(get(&names.id(first.id.as_str())))];
        let txn = client.txn(plan.compare.clone(), plan.puts.clone(), look).await?;
        if txn.response.succeeded {
            self.head = Some((plan.head, txn.response.revision()));
            return Ok(Outcome::Done);
        }
        self.head = None;
        // Ids are new: one that is there was written by a try of this batch that broke off.
        let found = txn.response.ranges().next().and_then(|kvs| kvs.into_iter().next());
        match found {
            Some(kv) if number(&kv.value)? == first.offset => Ok(Outcome::Done),
            Some(_) => Err(StoreError::damaged("purge log", "an id was given twice")),
            None => Ok(Outcome::Again),
        }
    }
}

enum Outcome {
    /// It is in the log.
    Done,
    /// Another replica appended in between.
    Again,
}

struct Plan {
    head: u64,
    entries: Vec<Arc<Entry>>,
    compare: Vec<Compare>,
    puts: Vec<RequestOp>,
}

/// Takes as many as fit into one transaction from the front; of those with one idempotency key the first.
fn split(waiting: Vec<Job>) -> (Vec<Job>, Vec<Job>) {
    let (mut batch, mut later) = (Vec::new(), Vec::new());
    let (mut keys, mut bytes, mut writes) = (HashSet::new(), 0, 1);
    for job in waiting {
        let purge = &job.purge;
        let body = purge.replacement.as_ref();
        writes += 2 + usize::from(purge.idempotency_key.is_some()) + usize::from(body.is_some());
        bytes += PURGE_BYTES + body.map_or(0, |body| body.body.len());
        let fits = writes <= TXN_WRITES_MAX && (bytes <= TXN_BYTES_MAX || batch.is_empty());
        let is_first = purge.idempotency_key.as_ref().is_none_or(|key| keys.insert(key.clone()));
        // Behind the first that does not fit everything waits: the order of arrival stays.
        if fits && is_first && later.is_empty() { batch.push(job) } else { later.push(job) }
    }
    (batch, later)
}

fn answer(job: Job, offset: u64, first: Stored) {
    let is_same = first.is_same(&Stored::new(&job.purge));
    let answer = first.into_entry(offset, None).map_err(AppendError::from).and_then(|entry| {
        if is_same {
            Ok(Appended { entry: Arc::new(entry), is_new: false })
        } else {
            Err(AppendError::KeyReused(entry.id))
        }
    });
    let _ = job.reply.send(answer);
}

/// Purges of one round; more than fit into one transaction is of no use.
const BATCH_PURGES_MAX: usize = 64;
/// Writes of one transaction; etcd takes 128 as it comes.
const TXN_WRITES_MAX: usize = 124;
/// Bytes of one transaction; etcd takes 1.5 MiB as it comes.
const TXN_BYTES_MAX: usize = 1024 * 1024;
/// About what a purge takes without its body, with the longest URL.
const PURGE_BYTES: usize = 10 * 1024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_contract::{
        id::PurgeId,
        purge::{PurgeOrder, PurgeTarget},
    };

    use super::*;
    use crate::store::log::Replacement;

    fn job(n: usize, key: Option<&str>, body: usize) -> Job {
        let purge = NewPurge {
            id: PurgeId::parse(format!("p{n}")).expect("good"),
            order: PurgeOrder { target: PurgeTarget::All, soft: false },
            replacement: (body > 0)
                .then(|| Replacement { headers: [].into(), body: Bytes::from(vec![0; body]) }),
            replacement_digest: None,
            accepted_unix_ms: 0,
            idempotency_key: key.map(str::to_owned),
        };
        Job { purge, reply: oneshot::channel().0 }
    }

    fn ids(jobs: &[Job]) -> Vec<&str> {
        jobs.iter().map(|job| job.purge.id.as_str()).collect()
    }

    #[test]
    fn a_round_takes_what_fits_in_the_order_of_arrival() {
        let (batch, later) = split((0..64).map(|n| job(n, None, 0)).collect());
        assert_eq!((batch.len(), later.len()), (61, 3), "2 writes each, and the head");
        let large = 400 * 1024;
        let (batch, later) = split(vec![
            job(1, None, large),
            job(2, None, large),
            job(3, None, large),
            job(4, None, 0),
        ]);
        assert_eq!((ids(&batch), ids(&later)), (vec!["p1", "p2"], vec!["p3", "p4"]));
        let (batch, later) =
            split(vec![job(1, Some("k"), 0), job(2, Some("k"), 0), job(3, None, 0)]);
        assert_eq!((ids(&batch), ids(&later)), (vec!["p1"], vec!["p2", "p3"]));
    }
}
