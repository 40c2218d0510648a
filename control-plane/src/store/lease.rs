//! The face of a lease: one holder at a time, and a number that tells holders apart.
//!
//! Whoever holds a lease may lose it without noticing at once. So what only a holder may write expects the lease's
//! record in the same commit, see [`Held::fence`]: a write of a holder that lost its lease fails, however late it
//! arrives. Epochs only grow.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    error::StoreError,
    records::{Expect, Key, KeyError},
};

/// The leases of one control plane.
#[async_trait]
pub trait Lease: Send + Sync {
    /// Takes a lease that nobody holds; `None` while somebody does. It is kept until the [`Held`] is dropped, or until
    /// the store was out of reach for `ttl`.
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Held>, StoreError>;
}

/// A lease that is held, until this is dropped.
#[derive(Debug)]
pub struct Held {
    epoch: u64,
    fence: (Key, Expect),
    lost: CancellationToken,
    _release: DropGuard,
}

impl Held {
    /// `release` is cancelled when this is dropped; whoever keeps the lease cancels `lost`.
    pub(super) fn new(
        epoch: u64,
        fence: (Key, Expect),
        lost: CancellationToken,
        release: CancellationToken,
    ) -> Self {
        Self { epoch, fence, lost, _release: release.drop_guard() }
    }

    /// The number of this holding; the next one has a greater one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What a commit expects that only the holder may make.
    #[must_use]
    pub fn fence(&self) -> &(Key, Expect) {
        &self.fence
    }

    /// Waits until the lease is lost, or may be.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

/// The record of a lease.
pub(super) fn lease_key(name: &str) -> Result<Key, KeyError> {
    Key::parse(&format!("lease/{name}"))
}

/// The record of its newest epoch, which outlives the lease.
pub(super) fn epoch_key(name: &str) -> Result<Key, KeyError> {
    Key::parse(&format!("epoch/{name}"))
}
