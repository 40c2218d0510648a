//! Tokens as stored: their SHA-256 alone, never the token.
//!
//! A token is high entropy, so a plain hash is enough; it is found by its public id, and the caller compares the
//! hash in constant time. A one-time token is used up in the same transaction that writes what it was used for.

use rusqlite::{Connection, OptionalExtension, params};
use tidegate_contract::id::PopId;

use super::{
    Store,
    error::StoreError,
    nodes::{self, NodeName},
};

/// An API token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenRow {
    /// Its public id.
    pub id: String,
    /// Whose it is, in the words of who made it.
    pub label: String,
    /// What it may do, by name, separated by spaces.
    pub scopes: String,
    /// SHA-256 of its secret part.
    pub hash: Vec<u8>,
    /// When it was made.
    pub created_unix_ms: u64,
}

/// A one-time enrolment token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentTokenRow {
    /// Its public id.
    pub id: String,
    /// The PoP that it enrols nodes of.
    pub pop: PopId,
    /// SHA-256 of its secret part.
    pub hash: Vec<u8>,
    /// When it ends.
    pub expires_unix_ms: u64,
    /// Whether it was used.
    pub is_used: bool,
}

/// How an enrolment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolled {
    /// The node is written down and the token used up.
    Done,
    /// Another call used the token first, or it or its PoP is gone.
    TokenGone,
    /// The PoP has as many nodes as it may.
    TooManyNodes,
}

impl Store {
    /// Keeps an API token.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn add_api_token(&self, token: ApiTokenRow) -> Result<(), StoreError> {
        self.write(
            move |connection| {
                connection.execute(
                    "INSERT INTO api_token VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![token.id, token.label, token.scopes, token.hash, token.created_unix_ms],
                )?;
                Ok(())
            },
            |()| {},
        )
        .await
    }

    /// An API token by its public id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn api_token(&self, id: &str) -> Result<Option<ApiTokenRow>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT * FROM api_token WHERE id = ?1")?
                .query_row([id], read_api_token)
                .optional()?)
        })
        .await
    }

    /// Every API token.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn api_tokens(&self) -> Result<Vec<ApiTokenRow>, StoreError> {
        self.read(|connection| {
            let mut sql = connection.prepare_cached("SELECT * FROM api_token ORDER BY id")?;
            let rows = sql.query_map([], read_api_token)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Forgets an API token; false when it was not known.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_api_token(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(
            move |connection| {
                Ok(connection.execute("DELETE FROM api_token WHERE id = ?1", [id])? > 0)
            },
            |_| {},
        )
        .await
    }

    /// Keeps an enrolment token of an existing PoP and forgets those that have ended; false when there is no such
    /// PoP.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn add_enrolment_token(
        &self,
        token: EnrolmentTokenRow,
        now_unix_ms: u64,
    ) -> Result<bool, StoreError> {
        self.write(
            move |connection| {
                let sql = "DELETE FROM enrolment_token WHERE expires_unix_ms < ?1";
                connection.execute(sql, [now_unix_ms])?;
                let added = connection.execute(
                    "INSERT INTO enrolment_token
                     SELECT ?1, id, ?3, ?4, NULL FROM pop WHERE id = ?2",
                    params![token.id, token.pop.as_str(), token.hash, token.expires_unix_ms],
                )?;
                Ok(added > 0)
            },
            |_| {},
        )
        .await
    }

    /// An enrolment token by its public id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn enrolment_token(&self, id: &str) -> Result<Option<EnrolmentTokenRow>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| find_enrolment_token(connection, &id)).await
    }

    /// Uses an enrolment token up and writes the node down that it was used for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn enrol(
        &self,
        token_id: String,
        name: NodeName,
        serial: Vec<u8>,
        expires_unix_ms: u64,
        now_unix_ms: u64,
        nodes_max: usize,
    ) -> Result<Enrolled, StoreError> {
        self.write(
            move |connection| {
                if nodes::count_others(connection, &name)? >= nodes_max {
                    return Ok(Enrolled::TooManyNodes);
                }
                let used = connection.execute(
                    "UPDATE enrolment_token SET used_unix_ms = ?2
                     WHERE id = ?1 AND used_unix_ms IS NULL AND pop = ?3",
                    params![token_id, now_unix_ms, name.pop.as_str()],
                )?;
                if used == 0 {
                    return Ok(Enrolled::TokenGone);
                }
                nodes::enrol(connection, &name, &serial, expires_unix_ms, now_unix_ms)?;
                Ok(Enrolled::Done)
            },
            |_| {},
        )
        .await
    }
}

fn read_api_token(row: &rusqlite::Row<'_>) -> Result<ApiTokenRow, rusqlite::Error> {
    Ok(ApiTokenRow {
        id: row.get(0)?,
        label: row.get(1)?,
        scopes: row.get(2)?,
        hash: row.get(3)?,
        created_unix_ms: row.get(4)?,
    })
}

fn find_enrolment_token(
    connection: &Connection,
    id: &str,
) -> Result<Option<EnrolmentTokenRow>, StoreError> {
    let sql = "SELECT pop, hash, expires_unix_ms, used_unix_ms FROM enrolment_token WHERE id = ?1";
    let row = connection
        .prepare_cached(sql)?
        .query_row([id], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<u64>>(3)?))
        })
        .optional()?;
    row.map(|(pop, hash, expires_unix_ms, used)| {
        let pop = PopId::parse(pop).map_err(|error| StoreError::damaged("pop id", error))?;
        Ok(EnrolmentTokenRow {
            id: id.to_owned(),
            pop,
            hash,
            expires_unix_ms,
            is_used: used.is_some(),
        })
    })
    .transpose()
}
