//! The lab's Internet as a program: it makes the namespaces of a list, says `ready`, and forwards until its standard
//! input ends; then everything that it made is gone.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tidegate_wan::{
    city::CITIES,
    internet::{Host, Internet, Ways},
    matrix::Matrix,
    namespace::Namespace,
};

/// Forwards packets between network namespaces as slowly as between cities.
#[derive(Parser)]
#[command(name = "tidegate-wan", version)]
struct Cli {
    /// Round trips in milliseconds, as a table with names; without it they are modelled
    #[arg(long, global = true, value_name = "FILE")]
    matrix: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the names of all places
    Places,
    /// Make the namespaces of a list and forward between them until standard input ends
    Run {
        /// Lines of: namespace, address in 10.0.0.0/8, place, and perhaps the place from where its news come first
        #[arg(long, value_name = "FILE")]
        hosts: PathBuf,
        /// How many of a hundred packets get lost
        #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
        loss: f64,
        /// Bits a second of each line; absent: no limit
        #[arg(long, value_name = "BITS")]
        line: Option<u64>,
        /// Decides which packets get lost
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let matrix = match &cli.matrix {
        Some(file) => Matrix::read(file)?,
        None => Matrix::modelled(CITIES),
    };
    let mut out = io::stdout();
    match cli.command {
        Command::Places => {
            for name in matrix.names() {
                writeln!(out, "{name}")?;
            }
            Ok(())
        }
        Command::Run { hosts, loss, line, seed } => {
            let lost_per_million = (loss.clamp(0.0, 100.0) * 10_000.0).round() as u32;
            let ways = Ways { lost_per_million, line_bits_per_second: line, seed };
            let list = read_hosts(&hosts, &matrix)?;
            // Namespaces go when this is dropped.
            let _made = start(list, matrix, ways)?;
            writeln!(out, "ready")?;
            out.flush()?;
            io::stdin().read_to_end(&mut Vec::new())?;
            Ok(())
        }
    }
}

/// A namespace and its addresses.
struct Site {
    name: String,
    addresses: Vec<(Ipv4Addr, usize, Option<usize>)>,
}

fn start(sites: Vec<Site>, matrix: Matrix, ways: Ways) -> anyhow::Result<Vec<Namespace>> {
    let (mut made, mut devices, mut hosts) = (Vec::new(), Vec::new(), HashMap::new());
    for (device, site) in sites.into_iter().enumerate() {
        let addresses: Vec<_> = site.addresses.iter().map(|(address, ..)| *address).collect();
        let (namespace, opened) = Namespace::make(&site.name, &addresses)?;
        made.push(namespace);
        devices.push(opened);
        for (address, place, news_from) in site.addresses {
            hosts.insert(address, Host { device, place, news_from });
        }
    }
    Internet::new(matrix, hosts, devices, ways).start()?;
    Ok(made)
}

fn read_hosts(path: &Path, matrix: &Matrix) -> anyhow::Result<Vec<Site>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut sites: Vec<Site> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [name, address, place, rest @ ..] = words.as_slice() else {
            anyhow::bail!("{line:?} is no: namespace address place [news-from]");
        };
        let address = address.parse().with_context(|| format!("the address of {line:?}"))?;
        let news_from = rest.first().map(|place| matrix.place(place)).transpose()?;
        let host = (address, matrix.place(place)?, news_from);
        match sites.iter_mut().find(|site| site.name == *name) {
            Some(site) => site.addresses.push(host),
            None => sites.push(Site { name: (*name).to_owned(), addresses: vec![host] }),
        }
    }
    Ok(sites)
}
