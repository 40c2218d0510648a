//! What is measured, in which order: round by round, within a round every cell on every peer in turn.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{
    core::Cores,
    load::{self, Protocol, Target},
    material::{self, Material},
    peer::{self, Peer, Programs},
    report::{Cell, Figures},
    usage,
};

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Measure {
    /// Requests per server CPU second on warm connections.
    Hits,
    /// New connections with one request each per server CPU second, nothing resumed.
    Handshakes,
    /// Time to the first byte at a fixed rate that keeps servers at about half load.
    FirstByte,
    /// Memory per idle connection.
    Idle,
}

impl Measure {
    pub(crate) const ALL: [Self; 4] = [Self::Hits, Self::Handshakes, Self::FirstByte, Self::Idle];
}

pub(crate) struct Settings {
    pub(crate) programs: Programs,
    pub(crate) h2load: Option<String>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) measures: Vec<Measure>,
    pub(crate) idle: usize,
    pub(crate) cores: Cores,
}

/// Runs everything and gives back every figure.
pub(crate) async fn run(settings: &Settings) -> Result<Figures> {
    let material = Material::create()?;
    let peers = peer::start_all(&settings.programs, &material, settings.cores).await?;
    let mut figures = Figures::of(peers.iter().map(|peer| peer.name).collect());
    warm(&peers, &material).await?;
    for _ in 0..settings.rounds {
        if settings.measures.contains(&Measure::Hits) {
            hits(settings, &peers, &material, &mut figures).await?;
        }
        if settings.measures.contains(&Measure::Handshakes) {
            handshakes(settings, &peers, &material, &mut figures).await?;
        }
        if settings.measures.contains(&Measure::FirstByte) {
            first_bytes(settings, &peers, &material, &mut figures).await?;
        }
    }
    if settings.measures.contains(&Measure::Idle) {
        idle(settings, &peers, &material, &mut figures).await?;
    }
    Ok(figures)
}

/// Every object once over every protocol, so that all are stored everywhere.
async fn warm(peers: &[Peer], material: &Material) -> Result<()> {
    for peer in peers {
        for protocol in Protocol::ALL.into_iter().filter(|protocol| peer.speaks(*protocol)) {
            for size in material::SIZES {
                load::repeat(protocol, &target(peer, size), material, Duration::from_millis(200))
                    .await
                    .with_context(|| format!("warming {} over {protocol:?}", peer.name))?;
            }
        }
    }
    Ok(())
}

async fn hits(
    settings: &Settings,
    peers: &[Peer],
    material: &Material,
    figures: &mut Figures,
) -> Result<()> {
    let time = Duration::from_secs_f64(settings.seconds);
    for protocol in Protocol::ALL {
        for size in material::SIZES {
            for peer in peers.iter().filter(|peer| peer.speaks(protocol)) {
                let target = target(peer, size);
                let before = usage::cpu_seconds(peer.pid())?;
                let requests = match (&settings.h2load, protocol) {
                    (Some(program), Protocol::H1 | Protocol::H2) => {
                        load::h2load::run(program, settings.cores, protocol, &target, time)
                    }
                    _ => load::repeat(protocol, &target, material, time).await,
                }
                .with_context(|| format!("{} over {protocol:?}", peer.name))?;
                let rate = per_second(requests, before, peer)?;
                figures.add(Cell::hits(protocol, size), peer.name, rate);
            }
        }
    }
    Ok(())
}

async fn handshakes(
    settings: &Settings,
    peers: &[Peer],
    material: &Material,
    figures: &mut Figures,
) -> Result<()> {
    let time = Duration::from_secs_f64(settings.seconds);
    for protocol in Protocol::ALL {
        for peer in peers.iter().filter(|peer| peer.speaks(protocol)) {
            let before = usage::cpu_seconds(peer.pid())?;
            let connections =
                load::connect_again(protocol, &target(peer, material::SIZES[0]), material, time)
                    .await
                    .with_context(|| format!("new {protocol:?} connections to {}", peer.name))?;
            figures.add(
                Cell::handshakes(protocol),
                peer.name,
                per_second(connections, before, peer)?,
            );
        }
    }
    Ok(())
}

async fn first_bytes(
    settings: &Settings,
    peers: &[Peer],
    material: &Material,
    figures: &mut Figures,
) -> Result<()> {
    let time = Duration::from_secs_f64(settings.seconds);
    for protocol in Protocol::ALL {
        for (size, rate) in [(material::SIZES[0], SMALL_RATE), (material::SIZES[1], LARGE_RATE)] {
            for peer in peers.iter().filter(|peer| peer.speaks(protocol)) {
                let waited = waiting(peer)?;
                let mut times = load::at_rate(protocol, &target(peer, size), material, rate, time)
                    .await
                    .with_context(|| format!("{} over {protocol:?}", peer.name))?;
                times.sort_by(f64::total_cmp);
                for (name, share) in [("p50", 0.50), ("p99", 0.99)] {
                    let cell = Cell::first_byte(protocol, size, name);
                    figures.add(cell, peer.name, quantile(&times, share)?);
                }
                let waited = (waiting(peer)? - waited) / time.as_secs_f64();
                figures.add(Cell::waited(protocol, size), peer.name, waited * 1e3);
            }
        }
    }
    Ok(())
}

/// Last, because it leaves a process larger than it was.
async fn idle(
    settings: &Settings,
    peers: &[Peer],
    material: &Material,
    figures: &mut Figures,
) -> Result<()> {
    for peer in peers {
        let before = usage::memory_bytes(peer.pid())?;
        let target = target(peer, material::SIZES[0]);
        let opening = load::open(Protocol::H1, &target, material, settings.idle);
        let Ok(open) = tokio::time::timeout(IDLE_OPEN_MAX, opening).await else {
            println!("{} does not hold {} connections", peer.name, settings.idle);
            continue;
        };
        let open = open.with_context(|| format!("idle connections to {}", peer.name))?;
        let after = usage::memory_bytes(peer.pid())?;
        drop(open);
        #[allow(clippy::cast_precision_loss)]
        let each = after.saturating_sub(before) as f64 / settings.idle as f64;
        figures.add(Cell::IDLE, peer.name, each / 1024.0);
        #[allow(clippy::cast_precision_loss)]
        figures.add(Cell::RESIDENT, peer.name, after as f64 / f64::from(1 << 20));
    }
    Ok(())
}

/// How long server and client have waited for a CPU since they began.
fn waiting(peer: &Peer) -> Result<f64> {
    Ok(usage::waiting_seconds(peer.pid())? + usage::waiting_seconds(std::process::id())?)
}

fn target(peer: &Peer, size: usize) -> Target {
    Target { addr: peer.https, path: format!("/{size}.bin"), size }
}

fn per_second(count: u64, cpu_before: f64, peer: &Peer) -> Result<f64> {
    let spent = usage::cpu_seconds(peer.pid())? - cpu_before;
    ensure!(spent > 0.02, "{}: only {spent:.3} s of CPU were used", peer.name);
    #[allow(clippy::cast_precision_loss)]
    Ok(count as f64 / spent)
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn quantile(sorted: &[f64], share: f64) -> Result<f64> {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().context("nothing was measured")
}

/// Requests per second for time to first byte: below half of what the slowest peer holds on one core.
const SMALL_RATE: f64 = 1000.0;
const LARGE_RATE: f64 = 300.0;
/// How long it may take to open the idle connections.
const IDLE_OPEN_MAX: Duration = Duration::from_secs(120);
