//! After etcd itself was restored from a snapshot: everything that only grows goes on above what may have been given out.
//!
//! Purges go on in the next epoch of their offsets, so that nodes treat what can change as purged; epochs of leases go on
//! behind a jump. To be run once, while no replica lives.

use tidegate_contract::{id::StreamId, purge_offset::head_after_restore};

use super::{
    client::Client,
    log::read_head,
    log_entry::Names,
    records::RECORDS,
    wire::{delete, prefix_end, put, range, unchanged},
};
use crate::store::{error::StoreError, sqlite_lease::read_epoch};

/// Lifts one stream of purges and all leases; returns the stream's new head.
///
/// # Errors
/// [`StoreError`]; a replica that lives is one.
pub async fn raise(client: &Client, stream: &StreamId) -> Result<u64, StoreError> {
    let leases = client.key(&format!("{RECORDS}lease/"));
    if !client.range(range(&leases, prefix_end(&leases), 1)).await?.kvs.is_empty() {
        return Err(StoreError::Etcd("replicas live: stop them, and wait for their leases".into()));
    }
    let names = Names::new(client, stream);
    let (head, revision) = read_head(client, &names).await?;
    let head = head_after_restore(head)
        .ok_or_else(|| StoreError::damaged("purge log", "it was restored too often"))?;
    let mut compare = vec![unchanged(&names.head(), revision)];
    let mut writes =
        vec![put(&names.head(), head.to_string()), put(&names.trimmed(), head.to_string())];
    for part in names.parts() {
        writes.push(delete(&part, prefix_end(&part)));
    }
    let epochs = client.key(&format!("{RECORDS}epoch/"));
    for kv in client.range(range(&epochs, prefix_end(&epochs), LEASES_MAX)).await?.kvs {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        compare.push(unchanged(&key, kv.mod_revision));
        writes.push(put(&key, (read_epoch(&kv.value)? + JUMP).to_string()));
    }
    let txn = client.txn(compare, writes, Vec::new()).await?;
    if txn.response.succeeded {
        Ok(head)
    } else {
        Err(StoreError::Etcd("others wrote meanwhile: is a replica running?".into()))
    }
}

/// The most leases that are lifted in one transaction; those of replicas that are long gone may stay.
const LEASES_MAX: i64 = 50;
/// More holders than there are between a snapshot and the loss.
const JUMP: u64 = 1_000_000_000;
