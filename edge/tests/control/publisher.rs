//! Makes releases as a control plane does, and wrong ones as nobody should.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rcgen::{KeyPair, SigningKey};
use tidegate_contract::{
    id::Generation,
    release::{Hash, Header, KeyStatement, hash_of, root_of},
    release_compile::TIER_KEY_SECRET,
    resource::ResourceKey,
};

use super::fake::wire;

/// Signs with a release key that the authority vouches for.
pub(crate) struct Publisher {
    pair: Ed25519KeyPair,
    key: wire::ReleaseKey,
}

/// What is released.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) version: u64,
    pub(crate) created_unix_ms: u64,
    pub(crate) expires_unix_ms: u64,
    pub(crate) build_min: &'static str,
    pub(crate) specs: BTreeMap<String, String>,
}

impl Content {
    /// PoP `fra` with one property.
    pub(crate) fn new(version: u64, host: &str) -> Self {
        let property =
            format!(r#"{{"hosts":["{host}"],"origins":[{{"authority":"127.0.0.1:1"}}]}}"#);
        let tier = format!(r#"{{"salt":"","value":"{}"}}"#, "07".repeat(32));
        let specs = [
            ("property/demo".to_owned(), property),
            ("pop/fra".to_owned(), r#"{"role":"edge"}"#.to_owned()),
            (format!("secret/{TIER_KEY_SECRET}"), tier),
        ];
        Self {
            version,
            created_unix_ms: 1,
            expires_unix_ms: u64::MAX,
            build_min: "0.0.0",
            specs: specs.into(),
        }
    }

    /// The same with one resource more, or another one in its place.
    pub(crate) fn with(mut self, key: &str, spec: &str) -> Self {
        self.specs.insert(key.to_owned(), spec.to_owned());
        self
    }

    fn leaves(&self) -> BTreeMap<ResourceKey, Hash> {
        let leaf = |(key, spec): (&String, &String)| {
            (ResourceKey::parse(key).unwrap(), hash_of(spec.as_bytes()))
        };
        self.specs.iter().map(leaf).collect()
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        root_of(&self.leaves()).to_vec()
    }
}

impl Publisher {
    pub(crate) fn new(authority: &KeyPair, number: u64) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public_key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let statement = KeyStatement { number, public_key };
        let signature = authority.sign(&statement.to_sign()).unwrap();
        let key = wire::ReleaseKey { number, public_key: public_key.to_vec(), signature };
        Self { pair, key }
    }

    /// A whole release.
    pub(crate) fn whole(&self, content: &Content) -> wire::Release {
        let item = |(key, spec): (&String, &String)| wire::ReleaseItem {
            key: key.clone(),
            hash: hash_of(spec.as_bytes()).to_vec(),
            body: Some(spec.clone().into_bytes()),
            sealed: None,
        };
        let header = Header {
            version: Generation(content.version),
            root: root_of(&content.leaves()),
            created_unix_ms: content.created_unix_ms,
            expires_unix_ms: content.expires_unix_ms,
            build_min: content.build_min.parse().unwrap(),
        };
        wire::Release {
            nonce: content.version,
            header: Some(wire::ReleaseHeader {
                version: content.version,
                root: header.root.to_vec(),
                created_unix_ms: header.created_unix_ms,
                expires_unix_ms: header.expires_unix_ms,
                build_min: content.build_min.to_owned(),
            }),
            signature: self.pair.sign(&header.to_sign()).as_ref().to_vec(),
            key: Some(self.key.clone()),
            from_root: Vec::new(),
            put: content.specs.iter().map(item).collect(),
            del: Vec::new(),
        }
    }

    /// The difference between two.
    pub(crate) fn difference(&self, from: &Content, to: &Content) -> wire::Release {
        let mut release = self.whole(to);
        release.from_root = from.root();
        release.put.retain(|item| from.specs.get(&item.key) != to.specs.get(&item.key));
        let gone = from.specs.keys().filter(|key| !to.specs.contains_key(*key));
        release.del = gone.cloned().collect();
        release
    }
}
