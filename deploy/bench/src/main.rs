//! Measures the edge against nginx: what a hit costs in server CPU time over TLS H1, H2 and H3.
//!
//! Both proxies stand in front of one origin on this machine and are filled once; then one client asks each of
//! them for the same objects in turn, round after round, and the server's CPU time is read from the kernel. Speed
//! on the wall says little on a shared machine; bytes and requests per CPU second of the server, compared within
//! one run, say what a core buys. Both run with as many workers as they start with.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // the result is the output

mod load; // the client: requests over H1, H2 and H3
mod peer; // starts and stops the proxies
mod material; // certificate, objects, origin
mod cpu; // CPU time of a process tree

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;

use crate::{
    load::{Protocol, Target},
    material::Material,
    peer::Peer,
};

#[derive(Parser)]
#[command(about = "Edge against nginx: server CPU time per hit over TLS")]
struct Cli {
    /// Folder of the release binaries.
    #[arg(long, default_value = "target/release")]
    bin_dir: PathBuf,
    /// nginx to compare with; its HTTP/3 is measured when it was built with it.
    #[arg(long, default_value = "nginx")]
    nginx: String,
    /// Rounds; every figure is the median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per cell and round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("another crypto provider was installed first")?;
    let material = Material::create().await?;
    let peers =
        [Peer::edge(&cli.bin_dir, &material).await?, Peer::nginx(&cli.nginx, &material).await?];
    let mut cells: BTreeMap<(Protocol, usize, &str), Vec<f64>> = BTreeMap::new();
    for round in 0..=cli.rounds {
        for size in material::SIZES {
            for protocol in Protocol::ALL {
                for peer in peers.iter().filter(|peer| peer.speaks(protocol)) {
                    let cost = measure(peer, protocol, size, &material, cli.seconds).await?;
                    if round > 0 {
                        // round 0 fills the caches and warms everything
                        cells.entry((protocol, size, peer.name)).or_default().push(cost);
                    }
                }
            }
        }
    }
    print_table(&mut cells);
    Ok(())
}

/// Requests per CPU second of the server.
async fn measure(
    peer: &Peer,
    protocol: Protocol,
    size: usize,
    material: &Material,
    seconds: f64,
) -> Result<f64> {
    let target = Target { addr: peer.https, path: format!("/{size}.bin"), size };
    let before = cpu::seconds_of(peer.pid())?;
    let requests =
        load::run(protocol, &target, material.client_tls(), Duration::from_secs_f64(seconds))
            .await
            .with_context(|| format!("{} over {protocol:?}", peer.name))?;
    let spent = cpu::seconds_of(peer.pid())? - before;
    anyhow::ensure!(spent > 0.05, "{}: only {spent:.3} s of CPU were used", peer.name);
    #[allow(clippy::cast_precision_loss)]
    Ok(requests as f64 / spent)
}

fn print_table(cells: &mut BTreeMap<(Protocol, usize, &str), Vec<f64>>) {
    let mut medians = BTreeMap::new();
    for (key, values) in cells.iter_mut() {
        values.sort_by(f64::total_cmp);
        medians.insert(*key, values[values.len() / 2]);
    }
    println!("requests per server CPU second, median; and GB per server CPU second");
    println!("{:<6}{:>10}{:>22}{:>22}{:>9}", "", "object", "edge", "nginx", "ratio");
    for protocol in Protocol::ALL {
        for size in material::SIZES {
            let Some(edge) = medians.get(&(protocol, size, "edge")) else { continue };
            let nginx = medians.get(&(protocol, size, "nginx"));
            let ratio =
                nginx.map_or_else(|| "–".to_owned(), |nginx| format!("{:.2}", edge / nginx));
            let show =
                |value: Option<&f64>| value.map_or_else(|| "–".to_owned(), |v| cell(*v, size));
            println!(
                "{:<6}{:>10}{:>22}{:>22}{:>9}",
                protocol.name(),
                format!("{} KiB", size / 1024),
                show(Some(edge)),
                show(nginx),
                ratio
            );
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn cell(per_second: f64, size: usize) -> String {
    format!("{per_second:.0} ({:.2} GB)", per_second * size as f64 / 1e9)
}
