//! Enrolment tokens as stored: their SHA-256 alone, never the token.
//!
//! A token is high entropy, so a plain hash is enough; it is found by its public id, and the caller compares the
//! hash in constant time. A one-time token is used up in the same commit that writes what it was used for.

use serde::{Deserialize, Serialize};
use tidegate_contract::id::PopId;

use super::{
    error::StoreError,
    nodes::{NodeName, NodeRecord, node_key, seen_key},
    records::{Commit, Expect, Key},
    registry::{Hex, Kept, Registry, TRIES, contended, key, put},
};

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

/// An enrolment token under `enrolment/<id>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct EnrolmentRecord {
    pop: PopId,
    hash: Hex,
    expires_unix_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_unix_ms: Option<u64>,
}

impl Registry {
    /// Keeps an enrolment token and forgets those that have ended.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn add_enrolment_token(
        &self,
        token: EnrolmentTokenRow,
        now_unix_ms: u64,
    ) -> Result<(), StoreError> {
        let ended = self.list::<EnrolmentRecord>(ENROLMENTS).await?.into_iter();
        let ended = ended.filter(|kept| kept.value.expires_unix_ms < now_unix_ms);
        let EnrolmentTokenRow { id, pop, hash, expires_unix_ms, .. } = token;
        let record = EnrolmentRecord { pop, hash: Hex(hash), expires_unix_ms, used_unix_ms: None };
        let commit = Commit {
            puts: vec![put(&format!("{ENROLMENTS}{id}"), &record)],
            deletes: ended.map(|kept| kept.key).take(FORGOTTEN_AT_ONCE).collect(),
            expect: Vec::new(),
        };
        // It expects nothing, so that nothing stands against it.
        self.try_commit(commit).await.map(drop)
    }

    /// An enrolment token by its public id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn enrolment_token(&self, id: &str) -> Result<Option<EnrolmentTokenRow>, StoreError> {
        let found = self.get::<EnrolmentRecord>(&format!("{ENROLMENTS}{id}")).await?;
        Ok(found.map(|Kept { value, .. }| EnrolmentTokenRow {
            id: id.to_owned(),
            pop: value.pop,
            hash: value.hash.0,
            expires_unix_ms: value.expires_unix_ms,
            is_used: value.used_unix_ms.is_some(),
        }))
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
        let token_key = format!("{ENROLMENTS}{token_id}");
        let node = NodeRecord {
            serial: Hex(serial),
            serial_previous: None,
            expires_unix_ms,
            enrolled_unix_ms: now_unix_ms,
        };
        // Rewritten by every enrolment of the PoP, so that two at once do not both take the last place.
        let turn = format!("{TURNS}{}", name.pop);
        for _ in 0..TRIES {
            let last = self.get::<String>(&turn).await?;
            if self.count_others(&name).await? >= nodes_max {
                return Ok(Enrolled::TooManyNodes);
            }
            let Some(token) = self.get::<EnrolmentRecord>(&token_key).await? else {
                return Ok(Enrolled::TokenGone);
            };
            if token.value.used_unix_ms.is_some() || token.value.pop != name.pop {
                return Ok(Enrolled::TokenGone);
            }
            let used = EnrolmentRecord { used_unix_ms: Some(now_unix_ms), ..token.value };
            let last = last.map_or(Expect::Absent, |kept| Expect::At(kept.revision));
            let commit = Commit {
                expect: vec![(token.key, Expect::At(token.revision)), (key(&turn), last)],
                puts: vec![
                    put(&token_key, &used),
                    put(&node_key(&name), &node),
                    put(&turn, &name.node.as_str()),
                ],
                deletes: vec![key(&seen_key(&name))],
            };
            if self.try_commit(commit).await? {
                return Ok(Enrolled::Done);
            }
        }
        Err(contended())
    }

    /// The records of a PoP's enrolments.
    pub(super) async fn enrolments_of(&self, pop: &PopId) -> Result<Vec<Key>, StoreError> {
        let tokens = self.list::<EnrolmentRecord>(ENROLMENTS).await?.into_iter();
        let mut gone: Vec<_> =
            tokens.filter(|kept| kept.value.pop == *pop).map(|kept| kept.key).collect();
        gone.push(key(&format!("{TURNS}{pop}")));
        Ok(gone)
    }
}

const ENROLMENTS: &str = "enrolment/";
const TURNS: &str = "enrolled/";
const FORGOTTEN_AT_ONCE: usize = 64;
