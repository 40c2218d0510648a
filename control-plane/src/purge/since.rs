//! Where in the log a time is.
//!
//! Times of acceptance grow along the log but for steps of the clock, so that halving finds the place in forty reads,
//! whatever the size of the log. Below what is trimmed there is nothing to be found.

use crate::store::{Log, Page, StoreError};

/// The offset behind which the purges stand that were accepted at this time or later.
///
/// # Errors
/// [`StoreError`]
pub async fn first_since(log: &dyn Log, since_unix_ms: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, *log.head().borrow());
    // Everything up to `low` is older or gone; what follows `high` is not.
    while low < high {
        let middle = low + (high - low) / 2;
        let is_older = match log.read(middle, 1).await? {
            Page::Gone { .. } => true,
            Page::Entries(entries) => {
                entries.first().is_some_and(|entry| entry.accepted_unix_ms < since_unix_ms)
            }
        };
        if is_older {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::{PurgeId, StreamId},
        purge::{PurgeOrder, PurgeTarget},
    };

    use super::*;
    use crate::store::{MemoryLog, NewPurge};

    #[tokio::test]
    async fn a_time_is_found_by_halving_also_where_the_log_was_trimmed_or_restored() {
        let log = MemoryLog::new(StreamId::parse("main").expect("good"), 16);
        let append = async |n: u64| {
            let purge = NewPurge {
                id: PurgeId::parse(format!("p{n}")).expect("good"),
                order: PurgeOrder { target: PurgeTarget::All, soft: false },
                replacement: None,
                replacement_digest: None,
                accepted_unix_ms: n * 10,
                idempotency_key: None,
            };
            log.append(purge).await.expect("memory").entry.offset
        };
        for n in 1..=100 {
            append(n).await;
        }
        for (since, expected) in [(0, 0), (10, 0), (11, 1), (505, 50), (1000, 99), (1001, 100)] {
            assert_eq!(first_since(&log, since).await.expect("memory"), expected, "{since}");
        }
        log.trim_to(60);
        assert_eq!(first_since(&log, 505).await.expect("memory"), 60);
        log.restore(&log.backup());
        let head = append(200).await;
        assert_eq!(first_since(&log, 0).await.expect("memory"), head - 1);
    }
}
