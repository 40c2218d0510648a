//! Builds the parts, binds the sockets, serves, drains.
//!
//! Both sockets are bound before anything is said to be ready. One process alone uses a data folder: a second one
//! is refused, since two writers would give one offset to two purges.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use rustls::ServerConfig;
use tidegate_chassis::{Clock, Drain, Process};
use tidegate_contract::{id::StreamId, tier::TierKey};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    access::{Access, AuditEnd},
    anycast::Anycast,
    api,
    ca::{Authority, ServerIdentity, client_verifier},
    config::Config,
    drain::Drains,
    fleet::{Fleet, Readers},
    geo::{self, Geo},
    health::Reports,
    keys,
    leader::{self, Candidate, Leader},
    listener::Port,
    metrics::Metrics,
    purge::Purges,
    release::{self, Releases},
    replica::Replica,
    rotation::{self, Rotation},
    store::{Registry, StoreEnd, Stores, make_private_folder},
    sync,
    unix_time::unix_ms,
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
        let store = Registry::open(Arc::clone(&stores.records)).await?;
        store.keep_tier_key(TierKey::new(rand::random())).await?;
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
            Replica::new(id, holder, ttl, lease, store, fleet, parts.reports.clone())
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
        let Self {
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
            _lock,
        } = self;

        let api_connections = accept(&process, "api port", api_port);
        let sync_connections = accept(&process, "sync port", sync_port);
        supervise(&process, &parts, identity, store_end, audit_end);
        let replica_is_alone = replica.is_none();
        lead(&process, &parts, candidate, replica);
        ready.set(true);

        let api = api::serve(
            config.api.clone(),
            api_parts(&parts, &config, replica_is_alone),
            api_connections,
        );
        let sync = sync::serve(config.sync.clone(), parts.clone(), sync_connections);
        let (served, ()) = tokio::join!(sync, api);
        served?;
        if !drain.is_started() {
            bail!("a port stopped serving");
        }
        note_nodes(&parts).await?;
        Ok(())
    }
}

#[expect(clippy::too_many_arguments, reason = "what is opened once is put together here")]
async fn parts(
    config: &Config,
    stores: &Stores,
    store: Registry,
    access: Access,
    leader: Leader,
    authority: Arc<Authority>,
    identity: &Arc<ServerIdentity>,
    clock: Clock,
    metrics: Metrics,
    drain: Drain,
) -> anyhow::Result<sync::Parts> {
    let stream = StreamId::parse(STREAM).expect("a good id");
    let (tail_entries_max, replacements_max) =
        (config.purge.tail_entries_max, config.purge.keep_replacements_max);
    let log = stores.log(stream, tail_entries_max, replacements_max).await?;
    let fleet = Fleet::new(store.nodes().await?, clock.clone(), metrics.clone());
    let purges =
        Purges::new(log, fleet.clone(), config.purge.clone(), clock.clone(), metrics.clone());
    let release_parts = release::Parts {
        records: Arc::clone(&stores.records),
        data_dir: &config.data_dir,
        authority: &authority,
        clock: clock.clone(),
        rollout: config.rollout.clone(),
    };
    let first = store.desired().await?;
    let releases = Releases::open(release_parts, config.release.clone(), &first).await?;
    let rotation = rotation::Parts {
        records: Arc::clone(&stores.records),
        authority: Arc::clone(&authority),
        identity: Arc::clone(identity),
        releases: releases.clone(),
        fleet: fleet.clone(),
        clock: clock.clone(),
    };
    let rotation = Rotation::new(rotation, &config.data_dir)?;
    let reports = Reports::default();
    let declared = {
        let releases = releases.clone();
        Arc::new(move || releases.head().map(|head| Arc::clone(&head.sites)).unwrap_or_default())
    };
    let anycast =
        Anycast::new(Arc::clone(&stores.records), declared, reports.clone(), clock.clone());
    let drains = Drains::new(anycast, Readers::default(), config.drain.clone());
    let geo = Geo::new(geo::Parts {
        releases: releases.clone(),
        drains: drains.clone(),
        fleet: fleet.clone(),
        records: Arc::clone(&stores.records),
        clock: clock.clone(),
        metrics: metrics.clone(),
    });
    Ok(sync::Parts {
        purges,
        releases,
        access,
        fleet,
        leader,
        reports,
        drains,
        geo,
        store,
        authority,
        rotation,
        clock,
        metrics,
        drain,
    })
}

fn api_parts(parts: &sync::Parts, config: &Config, is_alone: bool) -> api::Parts {
    api::Parts {
        database_dir: is_alone.then(|| config.data_dir.clone()),
        store: parts.store.clone(),
        purges: parts.purges.clone(),
        releases: parts.releases.clone(),
        access: parts.access.clone(),
        fleet: parts.fleet.clone(),
        drains: parts.drains.clone(),
        geo: parts.geo.clone(),
        rotation: parts.rotation.clone(),
        clock: parts.clock.clone(),
        metrics: parts.metrics.clone(),
        drain: parts.drain.clone(),
    }
}

fn accept(
    process: &Process,
    name: &'static str,
    port: Port,
) -> mpsc::Receiver<crate::listener::Connection> {
    let (sender, connections) = mpsc::channel(ACCEPTED_MAX);
    let drain = process.drain();
    process.spawn(name, async move {
        port.run(sender, drain).await;
        Ok(())
    });
    connections
}

/// Starts what runs beside the ports.
fn supervise(
    process: &Process,
    parts: &sync::Parts,
    identity: Arc<ServerIdentity>,
    store_end: StoreEnd,
    audit_end: AuditEnd,
) {
    let drain = process.drain();
    process.spawn("audit log", {
        let drain = drain.clone();
        async move {
            tokio::select! {
                () = audit_end.wait() => bail!("the audit log's writer has ended"),
                () = drain.started() => Ok(()),
            }
        }
    });
    process.spawn("store", {
        let drain = drain.clone();
        async move {
            tokio::select! {
                () = store_end.wait() => bail!("the store has ended"),
                () = drain.started() => Ok(()),
            }
        }
    });
    process.spawn("purge trim", {
        let (purges, leader, drain) = (parts.purges.clone(), parts.leader.clone(), drain.clone());
        async move { Ok(purges.trim_until(&leader, &drain).await?) }
    });
    process.spawn("drains", {
        let (drains, leads, drain) = (parts.drains.clone(), parts.leader.leads(), drain.clone());
        async move {
            drains.run(leads, &drain).await;
            Ok(())
        }
    });
    process.spawn("geo", {
        let (geo, drain) = (parts.geo.clone(), drain.clone());
        async move {
            geo.run(&drain).await;
            Ok(())
        }
    });
    process.spawn("node notes", {
        let (parts, drain) = (parts.clone(), drain.clone());
        async move {
            while !slept(NOTE_EVERY, &drain).await {
                if parts.leader.is_leader()
                    && let Err(error) = note_nodes(&parts).await
                {
                    tracing::warn!(%error, "cannot write down how far the nodes are");
                }
                if let Err(error) = note_ends(&parts).await {
                    tracing::warn!(%error, "cannot tell what ends next");
                }
                let known: BTreeSet<_> = parts.fleet.sights().into_iter().map(|s| s.name).collect();
                parts.reports.retain(|name| known.contains(name));
            }
            Ok(())
        }
    });
    process.spawn("authorities", {
        let (rotation, drain) = (parts.rotation.clone(), drain.clone());
        async move {
            rotation.follow(&drain).await;
            Ok(())
        }
    });
    process.spawn("server certificate", {
        let (authority, clock) = (Arc::clone(&parts.authority), parts.clock.clone());
        async move {
            while !slept(ServerIdentity::renew_after(&authority), &drain).await {
                identity.renew(&authority, clock.now())?;
            }
            Ok(())
        }
    });
}

/// Leads when it may, and then conducts roll-outs; lives among other replicas where there may be some.
fn lead(process: &Process, parts: &sync::Parts, candidate: Candidate, replica: Option<Replica>) {
    let (releases, fleet, leader) =
        (parts.releases.clone(), parts.fleet.clone(), parts.leader.clone());
    let drain = process.drain();
    process.spawn("leader", {
        let drain = drain.clone();
        async move {
            candidate.run(&drain).await;
            Ok(())
        }
    });
    if let Some(replica) = replica {
        let drain = drain.clone();
        process.spawn("replica", async move {
            replica.run(&drain).await;
            Ok(())
        });
    }
    process.spawn("roll-outs", async move {
        release::conduct(releases, fleet, move || leader.is_leader(), drain).await;
        Ok(())
    });
}

/// Waits; true when the drain began first.
async fn slept(time: Duration, drain: &Drain) -> bool {
    tokio::select! {
        () = sleep(time) => false,
        () = drain.started() => true,
    }
}

/// Writes down how far the nodes are that were heard of.
async fn note_nodes(parts: &sync::Parts) -> anyhow::Result<()> {
    let heard = parts.fleet.sights().into_iter().filter_map(|sight| {
        let is_connected = sight.has_purge_lane() || sight.has_config_lane;
        let heard_unix_ms = sight.heard_unix_ms.filter(|_| is_connected)?;
        Some((sight.name, sight.applied, heard_unix_ms))
    });
    let notes: Vec<_> = heard.collect();
    if !notes.is_empty() {
        parts.store.note_nodes(notes).await?;
    }
    Ok(())
}

/// Shows how long the first authority, certificate and token still last. A token that has ended says nothing any more.
async fn note_ends(parts: &sync::Parts) -> anyhow::Result<()> {
    let now_unix_ms = unix_ms(parts.clock.now());
    let authority = parts.authority.believed().all.iter().map(|one| unix_ms(one.ends)).min();
    let node = parts.fleet.sights().into_iter().map(|sight| sight.expires_unix_ms).min();
    let tokens = parts.access.tokens().await?.into_iter();
    let tokens = tokens.filter(|token| !token.has_ended(now_unix_ms));
    let token = tokens.filter_map(|token| token.expires_unix_ms).min();
    for (what, end) in [("authority", authority), ("node", node), ("token", token)] {
        let Some(end) = end else { continue };
        let left_ms =
            i64::try_from(end).unwrap_or(i64::MAX) - i64::try_from(now_unix_ms).unwrap_or(i64::MAX);
        parts.metrics.ends.with_label_values(&[what]).set(left_ms / 1000);
    }
    Ok(())
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
/// Connections whose handshake is done and that wait to be served.
const ACCEPTED_MAX: usize = 64;
const NOTE_EVERY: Duration = Duration::from_secs(10);
