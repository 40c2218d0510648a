//! A release as this node holds it: every resource by its hash, and the bodies that caches read.
//!
//! Whatever arrives, whole or as a difference, only becomes a held release when its root is the one that was signed
//! and every body has the hash that the root is over. Secrets stay sealed in it.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message as _;
use tidegate_contract::{
    id::PopId,
    release::{DeltaError, Hash, RELEASE_BYTES_MAX, apply, hash_of, root_of},
    release_compile::{CompileError, Specs, compile},
    resource::{RESOURCES_MAX, ResourceKey, SPEC_BYTES_MAX},
    resource_spec::{Spec, SpecError},
    snapshot::Snapshot,
};

use super::{
    sealing_key::{OpenError, SealingKey},
    trust::Signed,
    wire,
};

/// A release.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) signed: Signed,
    items: BTreeMap<ResourceKey, Item>,
}

#[derive(Debug, Clone)]
struct Item {
    hash: Hash,
    content: Content,
}

/// What is here of a resource. Bodies are shared between releases.
#[derive(Debug, Clone)]
enum Content {
    Body(Arc<[u8]>),
    Sealed(Arc<[u8]>),
    /// Caches have no use for it.
    HashAlone,
}

/// Why what arrived is no release.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeldError {
    #[error(transparent)]
    Delta(#[from] DeltaError),
    #[error("a release has at most {RELEASE_BYTES_MAX} bytes and {RESOURCES_MAX} resources: {0}")]
    TooLarge(String),
    #[error("{0:?} is not the key of a resource")]
    Key(String),
    #[error("{0} has another hash than was said, or none")]
    Hash(ResourceKey),
    #[error("{0} came without its body")]
    Bodiless(ResourceKey),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Compile(#[from] CompileError),
}

impl HeldError {
    /// Whether the whole release may fit where the difference did not.
    pub(super) fn wants_whole(&self) -> bool {
        matches!(self, Self::Delta(_))
    }
}

impl Held {
    /// What results from a message whose signature was verified, on top of what is held.
    pub(super) fn assemble(
        signed: Signed,
        release: wire::Release,
        base: Option<&Self>,
    ) -> Result<Self, HeldError> {
        let empty = BTreeMap::new();
        let base = match (&release.from_root[..], base) {
            ([], _) => &empty,
            (root, Some(base)) if base.signed.header.root == root => &base.items,
            _ => return Err(DeltaError::From.into()),
        };
        let (puts, dels) = (release.put.len(), release.del.len());
        if puts > RESOURCES_MAX || dels > RESOURCES_MAX {
            return Err(HeldError::TooLarge(format!("{puts} put, {dels} taken away")));
        }
        let key = |text: &str| {
            let shown = || HeldError::Key(text.chars().take(64).collect());
            ResourceKey::parse(text).ok_or_else(shown)
        };
        let put = release.put.into_iter().map(|item| Ok((key(&item.key)?, read(key, item)?)));
        let put = put.collect::<Result<Vec<_>, HeldError>>()?;
        let del = release.del.iter().map(|text| key(text)).collect::<Result<Vec<_>, _>>()?;
        let items = apply(base, put, &del)?;
        let bytes: usize = items.values().map(Item::bytes).sum();
        if items.len() > RESOURCES_MAX || bytes > RELEASE_BYTES_MAX {
            return Err(HeldError::TooLarge(format!("{} with {bytes} bytes", items.len())));
        }
        if root_of(items.iter().map(|(key, item)| (key, &item.hash))) != signed.header.root {
            return Err(DeltaError::Root.into());
        }
        let bodiless = |(key, item): &(&ResourceKey, &Item)| {
            key.kind.is_for_caches() && !matches!(item.content, Content::Body(_))
        };
        match items.iter().find(bodiless) {
            Some((key, _)) => Err(HeldError::Bodiless(key.clone())),
            None => Ok(Self { signed, items }),
        }
    }

    /// The whole release as it travels and lies on disk; with a key, secrets are opened in it.
    pub(super) fn to_wire(&self, opened_with: Option<&SealingKey>) -> Result<Vec<u8>, HeldError> {
        let Signed { header, signature, key } = &self.signed;
        let item = |(key, item): (&ResourceKey, &Item)| {
            let (mut body, mut sealed) = (None, None);
            match (&item.content, opened_with) {
                (Content::Body(bytes), _) => body = Some(bytes.to_vec()),
                (Content::Sealed(bytes), None) => sealed = Some(bytes.to_vec()),
                (Content::Sealed(bytes), Some(with)) => {
                    body = Some(with.unseal(key, &item.hash, bytes)?);
                }
                (Content::HashAlone, _) => {}
            }
            Ok(wire::ReleaseItem { key: key.to_string(), hash: item.hash.to_vec(), body, sealed })
        };
        let release = wire::Release {
            nonce: 0,
            header: Some(wire::ReleaseHeader {
                version: header.version.0,
                root: header.root.to_vec(),
                created_unix_ms: header.created_unix_ms,
                expires_unix_ms: header.expires_unix_ms,
                build_min: header.build_min.to_string(),
            }),
            signature: signature.clone(),
            key: Some(key.clone()),
            from_root: Vec::new(),
            put: self.items.iter().map(item).collect::<Result<_, HeldError>>()?,
            del: Vec::new(),
        };
        Ok(release.encode_to_vec())
    }

    /// What a PoP runs under this release.
    pub(super) fn compile(
        &self,
        pop: &PopId,
        sealing_key: Option<&SealingKey>,
    ) -> Result<Snapshot, HeldError> {
        let mut specs = Specs::new();
        for (key, item) in &self.items {
            let opened;
            let body = match (&item.content, sealing_key) {
                (Content::Body(body), _) => &body[..],
                (Content::Sealed(sealed), Some(with)) => {
                    opened = with.unseal(key, &item.hash, sealed)?;
                    &opened[..]
                }
                _ => continue,
            };
            specs.insert(key.clone(), Spec::parse(key.kind, &key.name, body)?);
        }
        Ok(compile(&specs, pop, self.signed.header.version)?)
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match &self.content {
            Content::Body(bytes) | Content::Sealed(bytes) => bytes.len(),
            Content::HashAlone => 0,
        }
    }
}

fn read(
    key: impl Fn(&str) -> Result<ResourceKey, HeldError>,
    item: wire::ReleaseItem,
) -> Result<Item, HeldError> {
    let key = key(&item.key)?;
    let hash = item.hash.as_slice().try_into().map_err(|_| HeldError::Hash(key.clone()))?;
    let content = match (item.body, item.sealed) {
        (Some(body), _) => {
            if body.len() > SPEC_BYTES_MAX {
                return Err(HeldError::TooLarge(format!("{key} has {} bytes", body.len())));
            }
            if hash_of(&body) != hash {
                return Err(HeldError::Hash(key));
            }
            Content::Body(body.into())
        }
        (None, Some(sealed)) if sealed.len() <= SPEC_BYTES_MAX => Content::Sealed(sealed.into()),
        (None, Some(sealed)) => {
            return Err(HeldError::TooLarge(format!("{key} has {} bytes", sealed.len())));
        }
        (None, None) => Content::HashAlone,
    };
    Ok(Item { hash, content })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn release(specs: &[(&str, &str)]) -> wire::Release {
        let item = |(key, spec): &(&str, &str)| wire::ReleaseItem {
            key: (*key).to_owned(),
            hash: hash_of(spec.as_bytes()).to_vec(),
            body: Some(spec.as_bytes().to_vec()),
            sealed: None,
        };
        let leaves: BTreeMap<_, _> = specs
            .iter()
            .map(|(key, spec)| (ResourceKey::parse(key).unwrap(), hash_of(spec.as_bytes())))
            .collect();
        wire::Release {
            nonce: 1,
            header: Some(wire::ReleaseHeader {
                version: 7,
                root: root_of(&leaves).to_vec(),
                created_unix_ms: 0,
                expires_unix_ms: 9,
                build_min: "0.0.0".to_owned(),
            }),
            signature: vec![1; 64],
            key: Some(wire::ReleaseKey::default()),
            from_root: Vec::new(),
            put: specs.iter().map(item).collect(),
            del: Vec::new(),
        }
    }

    fn fleet() -> wire::Release {
        let tier = format!(r#"{{"salt":"","value":"{}"}}"#, "07".repeat(32));
        release(&[
            ("property/demo", r#"{"hosts":["*"],"origins":["main"]}"#),
            ("origin/main", r#"{"authority":"127.0.0.1:1"}"#),
            ("pop/fra", r#"{"role":"edge"}"#),
            ("secret/tidegate-tier-key", &tier),
        ])
    }

    fn assemble(release: wire::Release) -> Result<Held, HeldError> {
        let signed = Signed::unverified(&release).map_err(|_| DeltaError::From)?;
        Held::assemble(signed, release, None)
    }

    #[test]
    fn what_is_held_survives_the_disk_and_compiles_the_same() {
        let pop = PopId::parse("fra").unwrap();
        let held = assemble(fleet()).unwrap();
        let bytes = held.to_wire(None).unwrap();
        let again = assemble(wire::Release::decode(&bytes[..]).unwrap()).unwrap();
        assert_eq!(again.compile(&pop, None).unwrap(), held.compile(&pop, None).unwrap());
        assert!(held.compile(&PopId::parse("lax").unwrap(), None).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic_and_a_changed_release_is_none_or_the_same(
            at in any::<prop::sample::Index>(),
            bits in 1u8..,
            cut in any::<prop::sample::Index>(),
        ) {
            let good = fleet().encode_to_vec();
            let mut bytes = good.clone();
            let place = at.index(bytes.len());
            bytes[place] ^= bits;
            let pop = PopId::parse("fra").unwrap();
            let whole = assemble(fleet()).unwrap().compile(&pop, None).unwrap();
            for bytes in [&bytes[..], &good[..cut.index(good.len())]] {
                let Ok(release) = wire::Release::decode(bytes) else { continue };
                let Ok(held) = assemble(release) else { continue };
                // Whatever the root covers is as it was; the rest is covered by the signature.
                if let Ok(mut snapshot) = held.compile(&pop, None) {
                    snapshot.generation = whole.generation;
                    prop_assert_eq!(&snapshot, &whole);
                }
            }
        }
    }
}
