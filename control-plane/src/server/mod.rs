//! Builds the parts, binds the sockets, serves, drains.
//!
//! Both sockets are bound before anything is said to be ready. One process alone uses a data folder: a second one
//! is refused, since two writers would give one offset to two purges.

mod tasks;
mod parts;

use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use rustls::ServerConfig;
use tidegate_chassis::{Clock, Process};

use self::{
    parts::{api_parts, parts},
    tasks::{accept, lead, note_nodes, supervise},
};
use crate::{
    access::{Access, AuditEnd},
    api,
    ca::{Authority, ServerIdentity, client_verifier},
    config::Config,
    keys,
    leader::{self, Candidate},
    listener::Port,
    metrics::Metrics,
    replica::Replica,
    store::{Registry, StoreEnd, Stores, make_private_folder},
    sync,
};

/// A control plane with its sockets bound.
pub struct Control {
    config: Arc<Config>,
    process: Process,
    parts: sync::Parts,
    identity: Arc<ServerIdentity>,
    api_port: Port,
    sync_port: Port,
    store_end: StoreEnd,
    audit_end: AuditEnd,
    candidate: Candidate,
    replica: Option<Replica>,
    _lock: File,
}

/// Runs the control plane until the drain.
///
/// # Errors
/// It cannot start, or a part of it failed.
pub async fn run(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    Control::bind(config, process, Clock::system()).await?.serve().await
}

impl Control {
    /// Opens the store and the authority and binds the sockets.
    ///
    /// # Errors
    /// What cannot be opened or bound.
    pub async fn bind(config: Arc<Config>, process: Process, clock: Clock) -> anyhow::Result<Self> {
        let lock = lock(&config.data_dir)?;
        let metrics = Metrics::new(process.registry());
        let (stores, store_end) =
            Stores::open(&config.data_dir, &config.store, metrics.clone()).await?;
        let store = Registry::new(Arc::clone(&stores.records));
        keys::check(&config.data_dir, &stores).await?;
        let names = config.listen.names.clone();
        let authority = Authority::open(&config.data_dir, names, config.ca.clone(), clock.now())?;
        let authority = Arc::new(authority);
        keys::keep(&config.data_dir, &stores, &authority).await?;
        let identity = Arc::new(ServerIdentity::new(&authority, clock.now())?);
        let api_tls = ServerConfig::builder().with_no_client_auth();
        let api_tls = with_alpn(api_tls.with_cert_resolver(identity.clone()), &["h2", "http/1.1"]);
        let sync_tls =
            ServerConfig::builder().with_client_cert_verifier(client_verifier(&authority)?);
        let sync_tls = with_alpn(sync_tls.with_cert_resolver(identity.clone()), &["h2"]);

        let port = async |name: &'static str, addr: SocketAddr, tls| {
            let failures = metrics.handshake_failures.with_label_values(&[name]);
            let port = Port::bind(addr, tls, &config.listen, failures).await;
            port.with_context(|| format!("cannot listen on {addr} ({name})"))
        };
        let api_port = port("api", config.listen.api, api_tls).await?;
        let sync_port = port("sync", config.listen.sync, sync_tls).await?;

        let id = hex::encode(rand::random::<[u8; 8]>());
        let holder = format!("api {} sync {}", api_port.local_addr()?, sync_port.local_addr()?);
        let (candidate, leader) = leader::stand(
            Arc::clone(&stores.lease),
            format!("{id} {holder}"),
            config.leader.clone(),
            metrics.clone(),
        );
        let records = Arc::clone(&stores.records);
        let (access, audit_end) = Access::open(records, config.access.clone(), clock.clone());
        let parts = parts(
            &config,
            &stores,
            store,
            access,
            leader,
            authority,
            &identity,
            clock,
            metrics,
            process.drain(),
        )
        .await?;
        let replica = stores.is_shared().then(|| {
            let (lease, ttl) = (Arc::clone(&stores.lease), config.leader.ttl);
            let (store, fleet) = (parts.store.clone(), parts.fleet.clone());
            let said = (parts.reports.clone(), parts.demand.clone());
            Replica::new(id, holder, ttl, lease, store, fleet, said)
        });
        Ok(Self {
            config,
            process,
            parts,
            identity,
            api_port,
            sync_port,
            store_end,
            audit_end,
            candidate,
            replica,
            _lock: lock,
        })
    }

    /// Where the HTTP API listens.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn api_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.api_port.local_addr()?)
    }

    /// Where nodes connect.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn sync_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.sync_port.local_addr()?)
    }

    /// The parts, for a harness that looks inside.
    #[must_use]
    pub fn parts(&self) -> &sync::Parts {
        &self.parts
    }

    /// Serves until the drain, then finishes what has begun.
    ///
    /// # Errors
    /// A part ended by itself.
    pub async fn serve(self) -> anyhow::Result<()> {
        let ready = self.process.ready("control");
        self.process.announce("api", self.api_addr()?);
        self.process.announce("sync", self.sync_addr()?);
        let drain = self.process.drain();

        // The lock goes with the rest of this, at the end.
        let api_connections = accept(&self.process, "api port", self.api_port);
        let sync_connections = accept(&self.process, "sync port", self.sync_port);
        supervise(&self.process, &self.parts, self.identity, self.store_end, self.audit_end);
        let replica_is_alone = self.replica.is_none();
        lead(&self.process, &self.parts, self.candidate, self.replica);
        ready.set(true);

        let api = api::serve(
            self.config.api.clone(),
            api_parts(&self.parts, &self.config, replica_is_alone),
            api_connections,
        );
        let sync = sync::serve(self.config.sync.clone(), self.parts.clone(), sync_connections);
        let (served, ()) = tokio::join!(sync, api);
        served?;
        if !drain.is_started() {
            bail!("a port stopped serving");
        }
        note_nodes(&self.parts).await?;
        Ok(())
    }
}

/// Takes a data folder for this process alone.
///
/// # Errors
/// Another process has it, or it cannot be used.
pub(crate) fn lock(folder: &Path) -> anyhow::Result<File> {
    make_private_folder(folder)?;
    let path = folder.join(LOCK_FILE);
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another control plane runs on {}", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn with_alpn(mut tls: ServerConfig, protocols: &[&str]) -> ServerConfig {
    tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    tls
}

/// The stream of purges.
pub(crate) const STREAM: &str = "main";
const LOCK_FILE: &str = "control.lock";
