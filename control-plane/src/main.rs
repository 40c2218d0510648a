//! `tidegate-control`: the control plane, and what is done on its machine.
//!
//! Standard output carries data alone; messages go to standard error.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand};
use tidegate_chassis::ConfigArgs;
use tidegate_control::{
    access::{Grant, NewGrant},
    config::{Config, PROGRAM},
    offline::{self, Home},
    server,
    unix_time::unix_ms,
};

/// Messages of all sizes come and go on every lane of a fleet; the system's allocator spends a good part of a lane's time on
/// joining what was freed.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The Tidegate control plane.
#[derive(Parser)]
#[command(name = "tidegate-control", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the control plane
    Serve(ServeArgs),
    /// Make, list and revoke API tokens, on this machine
    #[command(subcommand)]
    Token(TokenCommand),
    /// The authority that signs identities
    #[command(subcommand)]
    Ca(CaCommand),
    /// Write a backup of the state, also while the control plane runs
    Backup {
        /// The file to write; it appears when it is whole
        file: PathBuf,
        /// Leave the key files out; without them nodes have to be enrolled again after a restore
        #[arg(long)]
        without_keys: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Put a backup back, while no control plane runs
    Restore {
        /// The backup
        file: PathBuf,
        /// Replace the state that is there; it is kept beside
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Check a backup, or the state of a data folder
    Verify {
        /// The backup; without, the data folder's database
        file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Lift what only grows, once, after etcd was restored from a snapshot of its own
    Raise {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where operators and programs connect, over listen.api
    #[arg(long, value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// Where nodes connect, over listen.sync
    #[arg(long, value_name = "ADDR")]
    sync: Option<SocketAddr>,
    /// The data folder, over data_dir
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Which control plane's data folder a command works on.
#[derive(Args)]
struct Place {
    /// The data folder, over data_dir of the config
    #[arg(long, value_name = "DIR", env = "TIDEGATE_CONTROL__DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The control plane's config file, for its data_dir and its store
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONTROL_CONFIG")]
    config: Option<PathBuf>,
    /// Where the state lies, over store.url of the config
    #[arg(long, value_name = "URL", env = "TIDEGATE_CONTROL__STORE__URL")]
    store: Option<String>,
    /// One key of the config, as for serve: --set store.etcd.ca_file=ca.pem
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token and print it; it is shown this once
    Create {
        /// What its bearer may do, such as admin, purge, read, config:write or pop:drain:pop/eu-*; may be given
        /// several times
        #[arg(long, required_unless_present = "role", value_name = "SCOPE")]
        scope: Vec<Grant>,
        /// A role whose scopes it has, such as operator or approver; may be given several times
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
        /// How long it is good; without, until it is revoked
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        lifetime: Option<Duration>,
        /// Whose it is; stands in the audit lines
        #[arg(long, default_value = "")]
        label: String,
        #[command(flatten)]
        place: Place,
    },
    /// List tokens: id, scopes, label
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Make a token worthless
    Revoke {
        /// Its id, the part between the underscores
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
enum CaCommand {
    /// Print the CA's certificate as PEM
    Show {
        #[command(flatten)]
        place: Place,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => {
            let overrides = args.overrides();
            tidegate_chassis::run::<Config, _, _>(&PROGRAM, &args.config, overrides, server::run)
        }
        Command::Token(command) => finish(token(command)),
        Command::Ca(CaCommand::Show { place }) => {
            finish(place.data_dir().and_then(|data_dir| offline::ca_pem(&data_dir)))
        }
        Command::Backup { file, without_keys, place } => {
            finish(wait(async { offline::backup(&place.home()?, &file, !without_keys).await }))
        }
        Command::Restore { file, replace, place } => {
            finish(wait(async { offline::restore(&place.home()?, &file, replace, "").await }))
        }
        Command::Verify { file, place } => {
            finish(place.home().and_then(|home| offline::verify(&home, file.as_deref())))
        }
        Command::Raise { place } => finish(wait(async { offline::raise(place.home()?).await })),
    }
}

impl ServeArgs {
    fn overrides(&self) -> toml::Table {
        let mut listen = toml::Table::new();
        for (key, addr) in [("api", self.api), ("sync", self.sync)] {
            if let Some(addr) = addr {
                listen.insert(key.to_owned(), addr.to_string().into());
            }
        }
        let mut table = toml::Table::from_iter([("listen".to_owned(), listen.into())]);
        if let Some(data_dir) = &self.data_dir {
            table.insert("data_dir".to_owned(), data_dir.to_string_lossy().as_ref().into());
        }
        table
    }
}

impl Place {
    fn data_dir(&self) -> anyhow::Result<PathBuf> {
        Ok(self.home()?.data_dir)
    }

    /// Where the state lies, as serve would find it.
    fn home(&self) -> anyhow::Result<Home> {
        let mut overrides = toml::Table::new();
        if let Some(data_dir) = &self.data_dir {
            overrides.insert("data_dir".to_owned(), data_dir.to_string_lossy().as_ref().into());
        }
        if let Some(url) = &self.store {
            let store = toml::Table::from_iter([("url".to_owned(), url.as_str().into())]);
            overrides.insert("store".to_owned(), store.into());
        }
        let (config, set) = (self.config.clone(), self.set.clone());
        let args = ConfigArgs { config, set, ..ConfigArgs::default() };
        let config: Config = tidegate_chassis::config::load(&PROGRAM, &args, overrides)?;
        Ok(Home { data_dir: config.data_dir, store: config.store })
    }
}

fn token(command: TokenCommand) -> anyhow::Result<String> {
    wait(async {
        match command {
            TokenCommand::Create { scope, role, lifetime, label, place } => {
                let expires = lifetime.map(|lifetime| unix_ms(SystemTime::now() + lifetime));
                let grant = NewGrant {
                    label,
                    scopes: scope,
                    roles: role,
                    expires_unix_ms: expires,
                    created_by: None,
                };
                offline::make_token(place.home()?, grant).await
            }
            TokenCommand::List { place } => {
                Ok(offline::list_tokens(place.home()?).await?.join("\n"))
            }
            TokenCommand::Revoke { id, place } => {
                offline::revoke_token(place.home()?, &id).await?;
                Ok(String::new())
            }
        }
    })
}

fn wait(work: impl Future<Output = anyhow::Result<String>>) -> anyhow::Result<String> {
    tidegate_chassis::init_crypto();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Prints data to standard output, or the failure to standard error.
fn finish(outcome: anyhow::Result<String>) -> ExitCode {
    let written = outcome.and_then(|text| {
        let text = text.trim_end();
        if !text.is_empty() {
            writeln!(io::stdout(), "{text}")?;
        }
        Ok(())
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tidegate-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}
