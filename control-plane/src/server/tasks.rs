//! What runs beside the ports until the drain: the store, the leader, notes about nodes, certificates.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::bail;
use tidegate_chassis::{Drain, Process};
use tidegate_contract::id::PopId;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    access::AuditEnd,
    ca::ServerIdentity,
    health::Historian,
    leader::{Candidate, Term},
    listener::{Connection, Port},
    release,
    replica::Replica,
    store::StoreEnd,
    sync,
    unix_time::unix_ms,
};

/// Takes connections of a port.
pub(super) fn accept(
    process: &Process,
    name: &'static str,
    port: Port,
) -> mpsc::Receiver<Connection> {
    let (sender, connections) = mpsc::channel(ACCEPTED_MAX);
    let drain = process.drain();
    process.spawn(name, async move {
        port.run(sender, drain).await;
        Ok(())
    });
    connections
}

/// Starts what runs beside the ports.
pub(super) fn supervise(
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
    process.spawn("node orders", {
        let (errands, drain) = (parts.errands.clone(), drain.clone());
        async move {
            errands.follow(&drain).await;
            Ok(())
        }
    });
    process.spawn("node questions", {
        let (questions, drain) = (parts.questions.clone(), drain.clone());
        async move {
            questions.follow(&drain).await;
            Ok(())
        }
    });
    process.spawn("health history", {
        let (parts, drain) = (parts.clone(), drain.clone());
        async move {
            let mut historian = Historian::new(Arc::clone(parts.store.records()));
            while !slept(HISTORY_EVERY, &drain).await {
                if let Some(term) = parts.leader.term()
                    && let Err(error) = note_verdicts(&mut historian, &term, &parts).await
                {
                    tracing::warn!(%error, "cannot write down how PoPs are");
                }
            }
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
                parts.demand.retain(|name| known.contains(name));
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
pub(super) fn lead(
    process: &Process,
    parts: &sync::Parts,
    candidate: Candidate,
    replica: Option<Replica>,
) {
    let (releases, fleet, registry, leader) =
        (parts.releases.clone(), parts.fleet.clone(), parts.store.clone(), parts.leader.clone());
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
        release::conduct(releases, fleet, registry, move || leader.is_leader(), drain).await;
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
pub(super) async fn note_nodes(parts: &sync::Parts) -> anyhow::Result<()> {
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

/// Writes down which verdicts changed.
async fn note_verdicts(
    historian: &mut Historian,
    term: &Term,
    parts: &sync::Parts,
) -> anyhow::Result<()> {
    let head = parts.releases.head()?;
    let verdict = |pop: PopId| {
        let verdict = parts.reports.state(&pop);
        (pop, verdict)
    };
    let verdicts: Vec<_> = head.state.pops().map(verdict).collect();
    Ok(historian.note(term, &verdicts, unix_ms(parts.clock.now())).await?)
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

/// Connections whose handshake is done and that wait to be served.
const ACCEPTED_MAX: usize = 64;
/// As often as verdicts are made.
const HISTORY_EVERY: Duration = Duration::from_secs(1);
const NOTE_EVERY: Duration = Duration::from_secs(10);
