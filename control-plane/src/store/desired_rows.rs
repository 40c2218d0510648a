//! The desired state as rows: reading them, and the generation.
//!
//! Nothing is checked here but the form; what a state may be is decided where it is changed.

use rusqlite::{Connection, OptionalExtension};
use tidegate_contract::{
    id::{Generation, PopId, PropertyId},
    property::Property,
    snapshot::PopRole,
    tier::TierKey,
};

use super::{
    desired::{Desired, Pop},
    error::StoreError,
};

pub(super) fn generation(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = 'generation'";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

pub(super) fn set_generation(connection: &Connection, to: u64) -> Result<(), StoreError> {
    connection.execute("UPDATE meta SET value = ?1 WHERE name = 'generation'", [to])?;
    Ok(())
}

pub(super) fn raise(connection: &Connection) -> Result<Generation, StoreError> {
    let next = generation(connection)? + 1;
    set_generation(connection, next)?;
    Ok(Generation(next))
}

pub(super) fn desired(connection: &Connection) -> Result<Desired, StoreError> {
    Ok(Desired {
        generation: Generation(generation(connection)?),
        properties: properties(connection)?,
        pops: pops(connection)?,
        tier_key: tier_key(connection)?,
    })
}

pub(super) fn tier_key(connection: &Connection) -> Result<TierKey, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = 'tier_key'";
    let text: String = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    TierKey::try_from(text).map_err(|error| StoreError::damaged("tier key", error))
}

fn properties(connection: &Connection) -> Result<Vec<(Property, Generation)>, StoreError> {
    let mut sql = connection.prepare_cached("SELECT body, generation FROM property ORDER BY id")?;
    let mut rows = sql.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push((read_property(&row.get::<_, Vec<u8>>(0)?)?, Generation(row.get(1)?)));
    }
    Ok(all)
}

pub(super) fn property_row(
    connection: &Connection,
    id: &PropertyId,
) -> Result<Option<(Property, Generation)>, StoreError> {
    let row: Option<(Vec<u8>, u64)> = connection
        .prepare_cached("SELECT body, generation FROM property WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(body, generation)| Ok((read_property(&body)?, Generation(generation)))).transpose()
}

fn read_property(body: &[u8]) -> Result<Property, StoreError> {
    serde_json::from_slice(body).map_err(|error| StoreError::damaged("property", error))
}

pub(super) fn pops(connection: &Connection) -> Result<Vec<Pop>, StoreError> {
    let sql = "SELECT id, role, shield_upstream FROM pop ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let upstream: Option<Vec<u8>> = row.get(2)?;
        let upstream = upstream.map(|body| serde_json::from_slice(&body)).transpose();
        all.push(Pop {
            id: PopId::parse(row.get::<_, String>(0)?)
                .map_err(|error| StoreError::damaged("pop id", error))?,
            role: read_role(&row.get::<_, String>(1)?)?,
            shield_upstream: upstream
                .map_err(|error| StoreError::damaged("shield upstream", error))?,
        });
    }
    Ok(all)
}

fn read_role(text: &str) -> Result<PopRole, StoreError> {
    [PopRole::Edge, PopRole::Shield]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| StoreError::damaged("pop role", text))
}
