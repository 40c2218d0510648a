//! The command line: serves DNS, makes files of places, says where an address is and which PoP it gets.
//!
//! Data goes to standard output, messages to standard error. Exit codes: 0 done, 1 it failed, 2 usage. Invariant: no command
//! but `serve` asks or answers anybody.

use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Parser, Subcommand};
use tidegate_chassis::{ConfigArgs, Program};

use crate::{
    explain::explain,
    fleet::Fleet,
    key_command::Keys,
    latency::Latency,
    locate::{self, File, write::from_lines},
    map::{Inputs, Round},
    node,
    place::Place,
    unit::Units,
};

/// Where a client is, and which PoP is best for it.
#[derive(Debug, Parser)]
#[command(name = "tidegate-geo", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer DNS queries until told to stop
    Serve {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Make and replace the keys of signed zones
    Keys(Box<Keys>),
    /// Make a file of places (MaxMind DB) from lines PREFIX,COUNTRY,LATITUDE,LONGITUDE[,CITY]
    MakePlaces {
        /// The lines
        lines: PathBuf,
        /// The file to be made; what is there is replaced in one step
        file: PathBuf,
    },
    /// Say where addresses are
    Locate {
        #[command(flatten)]
        files: Files,
        /// The addresses
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
    /// Say which PoP clients get, and why
    Explain {
        #[command(flatten)]
        files: Files,
        /// The PoPs: a TOML file of [[pop]] tables with id, latitude, longitude, capacity, addresses
        #[arg(long, value_name = "FILE")]
        fleet: PathBuf,
        /// Print JSON, a line for each client
        #[arg(long)]
        json: bool,
        /// The clients' addresses
        #[arg(required = true)]
        clients: Vec<IpAddr>,
    },
}

#[derive(Debug, Args)]
struct Files {
    /// A file of cities or countries, MaxMind DB
    #[arg(long, value_name = "FILE")]
    places: PathBuf,
    /// A file of networks (autonomous systems), MaxMind DB
    #[arg(long, value_name = "FILE")]
    networks: Option<PathBuf>,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Cli::parse().command {
        Command::Serve { config } => {
            return tidegate_chassis::run(&PROGRAM, &config, toml::Table::new(), node::run);
        }
        command => command,
    };
    match run(command) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            // Nobody reads on.
            Err(_) => ExitCode::FAILURE,
        },
        Err(message) => {
            let _ = writeln!(io::stderr(), "tidegate-geo: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, String> {
    match command {
        Command::Serve { .. } => unreachable!("it has been run"),
        Command::Keys(keys) => keys.run(&PROGRAM),
        Command::MakePlaces { lines, file } => make_places(&lines, &file),
        Command::Locate { files, addresses } => locate_all(&files, &addresses),
        Command::Explain { files, fleet, json, clients } => {
            explain_all(&files, &fleet, json, &clients)
        }
    }
}

fn make_places(lines: &Path, file: &Path) -> Result<String, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let bytes = from_lines(&read(lines)?, now).map_err(|error| named(lines, error))?;
    let beside = file.with_extension("new");
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, file))
        .map_err(|error| named(file, error))?;
    Ok(String::new())
}

fn locate_all(files: &Files, addresses: &[IpAddr]) -> Result<String, String> {
    let places = open(&files.places)?;
    let networks = files.networks.as_deref().map(open).transpose()?;
    let mut text = String::new();
    for address in addresses {
        let located = places.locate(*address).map_err(|error| error.to_string())?;
        let asn = networks.as_ref().map_or(Ok(0), |file| file.asn(*address));
        let asn = asn.map_err(|error| error.to_string())?;
        let line = match located {
            None => format!("{address}: nobody knows\n"),
            Some(found) => {
                let (latitude, longitude) = found.place.degrees();
                let country = String::from_utf8_lossy(&found.country).into_owned();
                let city = found.city.as_deref().unwrap_or("--");
                let prefix = found.prefix;
                format!(
                    "{address}/{prefix}: {country}, {city}, {latitude:.2} {longitude:.2}, network {asn}\n"
                )
            }
        };
        text.push_str(&line);
    }
    Ok(text)
}

fn explain_all(
    files: &Files,
    fleet: &Path,
    is_json: bool,
    clients: &[IpAddr],
) -> Result<String, String> {
    let fleet_text = read(fleet)?;
    let fleet = Arc::new(Fleet::from_toml(&fleet_text).map_err(|error| named(fleet, error))?);
    let places = open(&files.places)?;
    let networks = files.networks.as_deref().map(open).transpose()?;
    let units: Arc<Units> =
        Arc::new(locate::units(&places, networks.as_ref()).map_err(|error| error.to_string())?);
    let latency = Latency::default();
    // Nobody has told how much anybody asks for: every unit the same, and in sum what fits.
    let demand = vec![0.0; units.all().len()];
    let home = fleet.pops().first().map_or_else(|| Place::new(0.0, 0.0), |pop| Ok(pop.place));
    let home = home.map_err(|error| error.to_string())?;
    let inputs = Inputs {
        units: &units,
        demand: &demand,
        fleet: &fleet,
        latency: &latency,
        home,
        previous: None,
    };
    let map = Round::make(inputs).map;
    let mut text = String::new();
    for client in clients {
        let explanation = explain(&map, &latency, *client, 0);
        if is_json {
            text.push_str(&serde_json::to_string(&explanation).expect("plain data"));
        } else {
            text.push_str(&explanation.to_string());
        }
        text.push('\n');
    }
    Ok(text)
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| named(path, error))
}

fn named(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

const PROGRAM: Program = Program { name: "tidegate-geo", env_prefix: "TIDEGATE_GEO" };

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
