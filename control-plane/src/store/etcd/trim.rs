//! Forgetting old purges.
//!
//! What goes is a range of the log from its begin. The mark up to which nothing is kept moves in the transaction that
//! removes the entries, so that a reader finds either the entries or the mark.

use super::{
    log::{Shared, read_head},
    log_entry::{Stored, number, offset},
    wire::{KeyValue, RequestOp, delete, put, range, unchanged},
};
use crate::{
    store::{error::StoreError, log::TrimPolicy},
    unix_time::millis,
};

/// Forgets a step of what the policy does not keep; returns how many entries.
pub(super) async fn trim(
    shared: &Shared,
    policy: TrimPolicy,
    replacements_max: u64,
    now_unix_ms: u64,
) -> Result<u64, StoreError> {
    let Shared { client, names, .. } = shared;
    let trimmed = client.get(&names.trimmed()).await?;
    let (mark, revision) = match &trimmed {
        Some(kv) => (number(&kv.value)?, kv.mod_revision),
        None => (0, 0),
    };
    let head = read_head(client, names).await?.0;
    let page = range(&names.entry(mark + 1), names.entry(head + 1).into(), STEP_ENTRIES);
    let oldest_unix_ms = now_unix_ms.saturating_sub(millis(policy.keep));
    let by_count = head.saturating_sub(policy.entries_max);
    let mut going = Vec::new();
    for kv in client.range(page).await?.kvs {
        let (offset, stored) = (offset(&kv)?, Stored::read(&kv.value)?);
        if stored.accepted_unix_ms >= oldest_unix_ms && offset > by_count {
            break;
        }
        going.push((offset, stored));
    }
    let Some((up_to, _)) = going.last() else {
        forget_bodies(shared, replacements_max).await?;
        return Ok(0);
    };
    let up_to = *up_to;
    let key = |key: String| delete(&key, bytes::Bytes::new());
    let names_of = going.iter().flat_map(|(_, stored)| {
        let idempotency = stored.idempotency_key.as_ref();
        [Some(key(names.id(&stored.id))), idempotency.map(|text| key(names.idempotency(text)))]
    });
    let names_of: Vec<RequestOp> = names_of.flatten().collect();
    for some in names_of.chunks(STEP_WRITES) {
        client.txn(Vec::new(), some.to_vec(), Vec::new()).await?;
    }
    let writes = vec![
        put(&names.trimmed(), up_to.to_string()),
        delete(&names.entry(0), names.entry(up_to + 1).into()),
        delete(&names.body(0), names.body(up_to + 1).into()),
    ];
    let txn = client.txn(vec![unchanged(&names.trimmed(), revision)], writes, Vec::new()).await?;
    // Refused: another replica trimmed, which is as good.
    Ok(if txn.response.succeeded || txn.is_repeated { going.len() as u64 } else { 0 })
}

/// Keeps the newest so many bodies.
async fn forget_bodies(shared: &Shared, replacements_max: u64) -> Result<(), StoreError> {
    let Shared { client, names, .. } = shared;
    let mut keys = range(&names.body(0), names.body(u64::MAX).into(), 0);
    keys.keys_only = true;
    let bodies: Vec<KeyValue> = client.range(keys).await?.kvs;
    let keep = usize::try_from(replacements_max).unwrap_or(usize::MAX);
    let Some(last) = bodies.len().checked_sub(keep + 1).and_then(|index| bodies.get(index)) else {
        return Ok(());
    };
    let end = names.body(offset(last)? + 1);
    client.txn(Vec::new(), vec![delete(&names.body(0), end.into())], Vec::new()).await?;
    Ok(())
}

const STEP_ENTRIES: i64 = 500;
const STEP_WRITES: usize = 100;
