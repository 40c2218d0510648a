//! A release as one node gets it: whole, or as the difference from what the node has.
//!
//! Specs that caches read travel as they are, the secrets among them sealed for the node; of all others the hash
//! alone, so that the node can recompute the root. What is sent follows from the releases and the node's key alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_contract::{
    release::difference,
    release_compile::secrets_for_caches,
    resource::{Kind, ResourceKey},
};

use super::{
    Made,
    seal::{SealError, seal_for},
};
use crate::{resource::Entry, wire};

/// A release for a node that has another one, or none.
///
/// # Errors
/// [`SealError`] when the node's key is none.
pub fn travelling(
    to: &Made,
    from: Option<&Made>,
    sealing_key: &[u8],
    nonce: u64,
) -> Result<wire::Release, SealError> {
    let secrets = secrets_for_caches(&to.state.specs());
    let secrets_before = from.map(|from| secrets_for_caches(&from.state.specs()));
    let (keys, del) = match from {
        None => (to.state.entries.keys().collect(), Vec::new()),
        Some(from) => {
            let (put, del) = difference(&from.state.entries, &to.state.entries);
            let mut put: BTreeSet<_> = put.into_iter().collect();
            // A secret that caches had no use for before they know by its hash alone.
            put.extend(
                secrets
                    .difference(secrets_before.as_ref().unwrap_or(&secrets))
                    .filter(|key| to.state.entries.contains_key(key)),
            );
            (put, del)
        }
    };
    let put = keys.into_iter().map(|key| {
        let entry = &to.state.entries[key];
        item(key, entry, secrets.contains(key), sealing_key)
    });
    let header = &to.record.header;
    Ok(wire::Release {
        nonce,
        header: Some(wire::ReleaseHeader {
            version: header.version.0,
            root: Bytes::copy_from_slice(&header.root),
            created_unix_ms: header.created_unix_ms,
            expires_unix_ms: header.expires_unix_ms,
            build_min: header.build_min.to_string(),
        }),
        signature: unhex(&to.record.signature),
        key: Some(wire::ReleaseKey {
            number: to.record.key.number,
            public_key: unhex(&to.record.key.public_key),
            signature: unhex(&to.record.key.signature),
        }),
        from_root: from
            .map(|from| Bytes::copy_from_slice(&from.record.header.root))
            .unwrap_or_default(),
        put: put.collect::<Result<_, _>>()?,
        del: del.into_iter().map(ToString::to_string).collect(),
    })
}

fn item(
    key: &ResourceKey,
    entry: &Entry,
    is_wanted: bool,
    sealing_key: &[u8],
) -> Result<wire::ReleaseItem, SealError> {
    let sealed = if key.kind == Kind::Secret && is_wanted {
        Some(seal_for(sealing_key, key, &entry.hash, &entry.body)?.into())
    } else {
        None
    };
    Ok(wire::ReleaseItem {
        key: key.to_string(),
        hash: Bytes::copy_from_slice(&entry.hash),
        body: key.kind.is_for_caches().then(|| entry.body.clone()),
        sealed,
    })
}

/// Hex that this program wrote; what is damaged makes a signature that no node accepts.
fn unhex(text: &str) -> Bytes {
    hex::decode(text).unwrap_or_default().into()
}
