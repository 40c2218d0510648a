//! Hours of mixed traffic on the edge, and whether its memory grows: a leak shows as a slope, not as a size.
//!
//! Objects come and go (a working set larger than the cache), connections are opened and dropped on all protocols, and
//! some clients leave in the middle of a body. Memory is sampled all the time; the slope is that of the second half,
//! when caches and pools have filled.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    core::Cores,
    load::{self, Protocol, Target},
    material::{self, Material},
    peer::{self, Programs},
    usage,
};

/// Soaks the edge for a time.
///
/// # Errors
/// When it stops answering, or its memory grows by more than `growth_max` bytes an hour.
pub(crate) async fn run(
    programs: &Programs,
    cores: Cores,
    time: Duration,
    growth_max: u64,
) -> Result<()> {
    let material = Material::create()?;
    let peer = peer::start_edge(programs, &material, cores).await?;
    let start = Instant::now();
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let mut requests = 0;
    let mut turn = 0_usize;
    while start.elapsed() < time {
        let protocol = Protocol::ALL[turn % Protocol::ALL.len()];
        let size = material::SIZES[turn / 3 % material::SIZES.len()];
        // A name of its own in every turn: a new object for the cache, and an old one to give up.
        let path = format!("/{size}.bin?turn={}", turn % OBJECTS);
        let target = Target { addr: peer.https, path, size };
        requests += load::repeat(protocol, &target, &material, TURN).await.with_context(|| {
            format!("after {:.0} s, over {}", start.elapsed().as_secs_f64(), protocol.name())
        })?;
        requests += load::connect_again(protocol, &target, &material, TURN).await?;
        load::leave_early(protocol, &target, &material).await?;
        #[allow(clippy::cast_precision_loss)]
        samples.push((start.elapsed().as_secs_f64(), usage::memory_bytes(peer.pid())? as f64));
        turn += 1;
    }
    let slope = slope(&samples[samples.len() / 2..]) * 3600.0;
    let (_, last) = samples.last().copied().context("the time was too short for a sample")?;
    println!(
        "{requests} requests in {:.0} s; {:.1} MiB at the end; {:+.2} MiB an hour in the second half",
        start.elapsed().as_secs_f64(),
        last / MIB,
        slope / MIB,
    );
    #[allow(clippy::cast_precision_loss)]
    let allowed = growth_max as f64;
    ensure!(slope <= allowed, "memory grows: {slope:.0} bytes an hour, {allowed:.0} allowed");
    Ok(())
}

/// The slope of the straight line through points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut above, mut below) = (0.0, 0.0);
    for point in points {
        above += (point.0 - x) * (point.1 - y);
        below += (point.0 - x).powi(2);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

const MIB: f64 = 1024.0 * 1024.0;
/// Time of one kind of traffic in one turn.
const TURN: Duration = Duration::from_millis(500);
/// Names in use; with the largest size more than the cache that the soak gives the edge.
const OBJECTS: usize = 512;

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_is_that_of_the_line_through_the_points() {
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-9);
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]) - 0.5).abs() < 1e-9);
        assert!(slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }
}
