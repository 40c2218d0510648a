//! The outbox: purge orders that are not accepted yet, oldest first.

use sqlx::Row;
use tidegate_contract::purge::{PurgeOrder, PurgeTarget};

use crate::{
    app::App,
    database::{Database, Write},
};

/// An order that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingOrder {
    /// Its id; also its idempotency key at the control plane.
    pub id: String,
    /// What is to be purged.
    pub order: PurgeOrder,
}

/// Puts an order into the outbox, as part of the change that needs it.
///
/// # Errors
/// The database.
pub async fn add(tx: &mut Write, target: PurgeTarget, now_ms: i64) -> sqlx::Result<()> {
    let order = PurgeOrder { target, soft: false };
    let text = serde_json::to_string(&order).expect("plain data");
    sqlx::query("INSERT INTO purge_outbox (id, purge, created_ms) VALUES (?, ?, ?)")
        .bind(App::new_id())
        .bind(text)
        .bind(now_ms)
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// The oldest orders.
///
/// # Errors
/// The database.
pub async fn oldest(database: &Database, limit: u32) -> sqlx::Result<Vec<WaitingOrder>> {
    let rows = sqlx::query("SELECT id, purge FROM purge_outbox ORDER BY id LIMIT ?")
        .bind(limit)
        .fetch_all(database.read())
        .await?;
    rows.iter()
        .map(|row| {
            let text: String = row.try_get("purge")?;
            let order =
                serde_json::from_str(&text).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
            Ok(WaitingOrder { id: row.try_get("id")?, order })
        })
        .collect()
}

/// How many orders wait.
///
/// # Errors
/// The database.
pub async fn count(database: &Database) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT COUNT(*) FROM purge_outbox").fetch_one(database.read()).await
}

/// Takes orders out.
///
/// # Errors
/// The database; then none is taken out.
pub async fn remove(database: &Database, ids: &[String]) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    for id in ids {
        sqlx::query("DELETE FROM purge_outbox WHERE id = ?").bind(id).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Replaces all orders by one purge of everything, which covers them.
///
/// # Errors
/// The database; then nothing changed.
pub async fn collapse(database: &Database, now_ms: i64) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    sqlx::query("DELETE FROM purge_outbox").execute(&mut *tx).await?;
    add(&mut tx, PurgeTarget::All, now_ms).await?;
    tx.commit().await
}
