//! Hours of mixed traffic on the edge, and whether its memory grows: a leak shows as a slope, not as a size.
//!
//! Objects come and go (a working set larger than the cache), connections are opened and dropped on all protocols, some
//! clients leave in the middle of a body, some read slowly, some ask for what upstream fails to answer, and everything is
//! purged now and then, by URL and whole. Memory is sampled all the time; the slope is that of the second half, when
//! caches and pools have filled. A short soak sees the noise of the allocator more than a leak, so a rise of
//! [`NOISE_BYTES`] in all is let pass, whatever slope that is.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

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
    // Until the cache is full its growth is none of a leak.
    for n in 0..FILLING {
        let size = material::SIZES[material::SIZES.len() - 1];
        let path = format!("/{size}.bin?fill={n}");
        let target = Target { addr: peer.https, path, size };
        load::once(Protocol::H1, &target, &material).await?;
    }
    let start = Instant::now();
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let mut requests = 0;
    let mut turn = 0_usize;
    let mut purges = 0;
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
        load::read_slowly(protocol, &target, &material, SLOW_PIECES, SLOW_PAUSE).await?;
        let nothing = Target { path: format!("/missing?turn={turn}"), ..target.clone() };
        load::ask_in_vain(protocol, &nothing, &material).await?;
        if turn.is_multiple_of(PURGE_EVERY) {
            let is_all = (turn / PURGE_EVERY).is_multiple_of(PURGE_ALL_EVERY);
            purge(peer.admin.context("the edge has an admin port")?, &target, is_all).await?;
            purges += 1;
        }
        #[allow(clippy::cast_precision_loss)]
        samples.push((start.elapsed().as_secs_f64(), usage::memory_bytes(peer.pid())? as f64));
        turn += 1;
    }
    let half = &samples[samples.len() / 2..];
    let per_second = slope(half);
    let seconds = half.last().zip(half.first()).map_or(0.0, |(last, first)| last.0 - first.0);
    let (rise, per_hour) = (per_second * seconds, per_second * 3600.0);
    let (_, last) = samples.last().copied().context("the time was too short for a sample")?;
    println!(
        "{requests} requests and {purges} purges in {:.0} s; {:.1} MiB at the end; in the second half, {seconds:.0} s, \
         {:+.2} MiB, which is {:+.2} MiB an hour",
        start.elapsed().as_secs_f64(),
        last / MIB,
        rise / MIB,
        per_hour / MIB,
    );
    #[allow(clippy::cast_precision_loss)]
    let allowed = growth_max as f64;
    ensure!(
        per_hour <= allowed || rise <= NOISE_BYTES,
        "memory grows: {per_hour:.0} bytes an hour, {allowed:.0} allowed"
    );
    Ok(())
}

/// Purges an object, or everything, as an operator would.
async fn purge(admin: SocketAddr, target: &Target, is_all: bool) -> Result<()> {
    let path = &target.path;
    let order = if is_all {
        r#"{"kind":"all"}"#.to_owned()
    } else {
        format!(r#"{{"kind":"url","host":"{}","path":"{path}"}}"#, target.addr.ip())
    };
    let mut connection = TcpStream::connect(admin).await?;
    let request = format!(
        "POST /purge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{order}",
        order.len()
    );
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "a purge was answered: {answer}");
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
/// Pieces that a slow client takes, and the pause behind each.
const SLOW_PIECES: usize = 10;
const SLOW_PAUSE: Duration = Duration::from_millis(20);
/// Turns between two purges, and purges between two of everything.
const PURGE_EVERY: usize = 4;
const PURGE_ALL_EVERY: usize = 16;
/// What memory may rise and fall by without being a leak: the allocator keeps about so much more or less.
const NOISE_BYTES: f64 = 6.0 * MIB;
/// Objects of the largest size that fill the cache of the soak, which has 128 MiB, one and a half times.
const FILLING: usize = 192;
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
