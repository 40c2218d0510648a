//! An entry of the purge log as it lies in etcd.
//!
//! The body that came with a purge lies beside the entry, so that the log can be read without it. Keys end in the offset
//! with 20 digits: their order is the order of the log.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_contract::id::{PurgeId, StreamId};

use super::{client::Client, wire::KeyValue};
use crate::store::{
    error::StoreError,
    log::{Entry, NewPurge, Replacement},
};

/// The names of one stream's keys.
#[derive(Clone)]
pub(super) struct Names {
    stream: String,
}

/// An entry as stored; readers skip fields that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) id: String,
    /// JSON of the order, byte for byte as it travels.
    pub(super) order: String,
    pub(super) accepted_unix_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replacement_digest: Option<String>,
    /// What the entry's name of its own is made of, to be removed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) idempotency_key: Option<String>,
}

impl Names {
    pub(super) fn new(client: &Client, stream: &StreamId) -> Self {
        Self { stream: client.key(&format!("p/{stream}")) }
    }

    pub(super) fn head(&self) -> String {
        format!("{}/head", self.stream)
    }

    /// The offset up to which nothing is kept.
    pub(super) fn trimmed(&self) -> String {
        format!("{}/trimmed", self.stream)
    }

    /// Where entries, bodies, ids and idempotency keys lie.
    pub(super) fn parts(&self) -> [String; 4] {
        ["e", "b", "i", "k"].map(|part| format!("{}/{part}/", self.stream))
    }

    pub(super) fn entry(&self, offset: u64) -> String {
        format!("{}/e/{offset:020}", self.stream)
    }

    pub(super) fn body(&self, offset: u64) -> String {
        format!("{}/b/{offset:020}", self.stream)
    }

    pub(super) fn id(&self, id: &str) -> String {
        format!("{}/i/{id}", self.stream)
    }

    /// Hashed: whoever calls the API chooses the key.
    pub(super) fn idempotency(&self, key: &str) -> String {
        format!("{}/k/{}", self.stream, hex::encode(Sha256::digest(key.as_bytes())))
    }
}

impl Stored {
    /// A purge as it will lie in the log.
    pub(super) fn new(purge: &NewPurge) -> Self {
        Self {
            id: purge.id.to_string(),
            order: serde_json::to_string(&purge.order).expect("an order is plain data"),
            accepted_unix_ms: purge.accepted_unix_ms,
            replacement_digest: purge.replacement_digest.map(hex::encode),
            idempotency_key: purge.idempotency_key.clone(),
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data").into()
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(value).map_err(|error| StoreError::damaged("purge", error))
    }

    /// Whether a second purge with the same idempotency key is the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.order, &self.replacement_digest) == (&other.order, &other.replacement_digest)
    }

    pub(super) fn into_entry(
        self,
        offset: u64,
        replacement: Option<Replacement>,
    ) -> Result<Entry, StoreError> {
        let digest = self.replacement_digest.map(|text| {
            let mut digest = [0; 32];
            hex::decode_to_slice(text, &mut digest)
                .map(|()| digest)
                .map_err(|error| StoreError::damaged("replacement digest", error))
        });
        Ok(Entry {
            offset,
            id: PurgeId::parse(self.id).map_err(|error| StoreError::damaged("purge id", error))?,
            order_json: self.order.into(),
            accepted_unix_ms: self.accepted_unix_ms,
            replacement_digest: digest.transpose()?,
            replacement,
        })
    }
}

/// The offset that a key ends in.
pub(super) fn offset(kv: &KeyValue) -> Result<u64, StoreError> {
    let digits = kv.key.len().checked_sub(20).and_then(|begin| kv.key.get(begin..));
    number(digits.unwrap_or_default())
}

/// A number that is a value.
pub(super) fn number(value: &[u8]) -> Result<u64, StoreError> {
    let text = std::str::from_utf8(value).map_err(|error| StoreError::damaged("offset", error))?;
    text.parse().map_err(|error| StoreError::damaged("offset", error))
}

/// Headers and body in one value: the length of the headers in 4 bytes, the headers as JSON, the body.
pub(super) fn body_to_bytes(replacement: &Replacement) -> Bytes {
    let headers = serde_json::to_vec(&replacement.headers).expect("texts are plain data");
    let mut value = BytesMut::with_capacity(4 + headers.len() + replacement.body.len());
    value.put_u32(u32::try_from(headers.len()).expect("headers are bounded where they come in"));
    value.put_slice(&headers);
    value.put_slice(&replacement.body);
    value.freeze()
}

pub(super) fn read_body(value: &Bytes) -> Result<Replacement, StoreError> {
    let damaged = || StoreError::damaged("replacement", "cut off");
    let length = value.first_chunk::<4>().ok_or_else(damaged)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let end = length.checked_add(4).filter(|end| *end <= value.len()).ok_or_else(damaged)?;
    let headers = serde_json::from_slice(&value[4..end])
        .map_err(|error| StoreError::damaged("headers of a replacement", error))?;
    Ok(Replacement { headers, body: value.slice(end..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_reads_as_it_was_written_and_a_cut_one_is_refused() {
        let headers = [("content-type".to_owned(), "a/b".to_owned())].into();
        let replacement = Replacement { headers, body: Bytes::from_static(b"body") };
        let value = body_to_bytes(&replacement);
        assert_eq!(read_body(&value).expect("whole"), replacement);
        for cut in 0..value.len() - replacement.body.len() {
            assert!(read_body(&value.slice(..cut)).is_err(), "{cut}");
        }
        assert!(read_body(&Bytes::from_static(&[0xff; 4])).is_err());
    }
}
