//! What the ports need, put together once.

use std::sync::Arc;

use tidegate_chassis::{Clock, Drain};
use tidegate_contract::id::StreamId;

use super::STREAM;
use crate::{
    access::Access,
    anycast::Anycast,
    api,
    ca::{Authority, ServerIdentity},
    config::Config,
    demand::Demand,
    drain::Drains,
    errands::Errands,
    fleet::{Fleet, Readers},
    geo::{self, Geo},
    health::Reports,
    leader::Leader,
    metrics::Metrics,
    purge::Purges,
    questions::Questions,
    release::{self, Releases},
    rotation::{self, Rotation},
    store::{Registry, Stores},
    sync,
};

/// What the port for nodes needs.
#[expect(clippy::too_many_arguments, reason = "what is opened once is put together here")]
pub(super) async fn parts(
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
    let releases = Releases::open(release_parts, config.release.clone()).await?;
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
    let errands = Errands::new(Arc::clone(&stores.records), clock.clone());
    let questions = Questions::new(Arc::clone(&stores.records), stores.is_shared(), clock.clone());
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
        demand: Demand::default(),
        errands,
        questions,
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

/// What the API needs of that.
pub(super) fn api_parts(parts: &sync::Parts, config: &Config, is_alone: bool) -> api::Parts {
    api::Parts {
        database_dir: is_alone.then(|| config.data_dir.clone()),
        store: parts.store.clone(),
        purges: parts.purges.clone(),
        releases: parts.releases.clone(),
        access: parts.access.clone(),
        fleet: parts.fleet.clone(),
        demand: parts.demand.clone(),
        errands: parts.errands.clone(),
        questions: parts.questions.clone(),
        drains: parts.drains.clone(),
        geo: parts.geo.clone(),
        rotation: parts.rotation.clone(),
        clock: parts.clock.clone(),
        metrics: parts.metrics.clone(),
        drain: parts.drain.clone(),
    }
}
