//! Leases in etcd: the record hangs on a lease of etcd's and vanishes with it.
//!
//! The epoch is counted in a record of its own, in the transaction that takes the lease. A holder that could not renew
//! for the lease's time, counted from before its last good renewal was sent, takes itself for no holder: never later
//! than etcd does.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use super::{
    client::{Client, failed},
    records::RECORDS,
    unsigned,
    wire::{
        LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, lease_client::LeaseClient,
        put, put_with_lease, unchanged,
    },
};
use crate::store::{
    error::StoreError,
    lease::{Held, Lease, epoch_key, lease_key},
    records::Expect,
    sqlite_lease::{read_epoch, value},
};

/// The leases of an etcd cluster.
pub struct EtcdLease {
    client: Client,
}

impl EtcdLease {
    /// The leases of a cluster.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn grant(&self, ttl: Duration) -> Result<i64, StoreError> {
        // Whole seconds, and not a second longer than was asked for.
        let ttl = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let ask = |channel| async move {
            let request = LeaseGrantRequest { ttl };
            Ok(LeaseClient::new(channel).lease_grant(request).await?.into_inner().id)
        };
        Ok(self.client.call(ask).await?.0)
    }
}

#[async_trait]
impl Lease for EtcdLease {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Held>, StoreError> {
        let damaged = |error| StoreError::damaged("lease name", error);
        let (record, counter) =
            (lease_key(name).map_err(damaged)?, epoch_key(name).map_err(damaged)?);
        let lease = self.client.key(&format!("{RECORDS}{record}"));
        let counter = self.client.key(&format!("{RECORDS}{counter}"));
        if self.client.get(&lease).await?.is_some() {
            return Ok(None);
        }
        let before = self.client.get(&counter).await?;
        let (epoch, counted) = match before {
            Some(kv) => (read_epoch(&kv.value)? + 1, kv.mod_revision),
            None => (1, 0),
        };
        let sent = Instant::now();
        let id = self.grant(ttl).await?;
        let compare = vec![unchanged(&lease, 0), unchanged(&counter, counted)];
        // The id makes the value this holding's alone, to be known again after a try that broke off.
        let value = value(&format!("{holder} {id:x}"), epoch);
        let puts =
            vec![put_with_lease(&lease, value.clone(), id), put(&counter, epoch.to_string())];
        let txn = self.client.txn(compare, puts, Vec::new()).await?;
        let revision = if txn.response.succeeded {
            txn.response.revision()
        } else {
            match self.client.get(&lease).await? {
                Some(found) if txn.is_repeated && found.value == value => found.mod_revision,
                _ => {
                    revoke(&self.client, id).await;
                    return Ok(None);
                }
            }
        };
        let (lost, release) = (CancellationToken::new(), CancellationToken::new());
        let keeper = Keeper { client: self.client.clone(), id, ttl, lost: lost.clone() };
        tokio::spawn(keeper.run(sent, release.clone()));
        Ok(Some(Held::new(epoch, (record, Expect::At(unsigned(revision))), lost, release)))
    }
}

struct Keeper {
    client: Client,
    id: i64,
    ttl: Duration,
    lost: CancellationToken,
}

impl Keeper {
    async fn run(self, sent: Instant, release: CancellationToken) {
        tokio::select! {
            () = self.keep(sent) => self.lost.cancel(),
            () = release.cancelled() => revoke(&self.client, self.id).await,
        }
    }

    /// Renews until that did not succeed in time, or etcd knows the lease no more.
    async fn keep(&self, mut sent: Instant) {
        loop {
            let until = sent + self.ttl;
            if Instant::now() >= until {
                return;
            }
            sleep((self.ttl / 3).min(until - Instant::now())).await;
            let asked = Instant::now();
            let left = until.saturating_duration_since(asked).min(self.ttl / 3);
            let member = self.client.member();
            match timeout(left, renew(member.channel.clone(), self.id)).await {
                Ok(Ok(ttl)) if ttl > 0 => sent = asked,
                Ok(Ok(_)) => return,
                Ok(Err(_)) | Err(_) => self.client.turn(&member),
            }
        }
    }
}

/// How many seconds the lease has from now on; none when etcd does not know it.
async fn renew(channel: Channel, id: i64) -> Result<i64, Status> {
    let asked = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = LeaseClient::new(channel).lease_keep_alive(asked).await?.into_inner();
    Ok(answers.message().await?.map_or(0, |answer| answer.ttl))
}

/// Gives a lease back. If that fails it ends by itself.
async fn revoke(client: &Client, id: i64) {
    let request = LeaseRevokeRequest { id };
    let asked = LeaseClient::new(client.member().channel).lease_revoke(request).await;
    if let Err(status) = asked {
        tracing::debug!(error = %failed(&status), "a lease was not given back");
    }
}
