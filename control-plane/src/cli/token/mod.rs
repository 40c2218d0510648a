//! `tidegate token`: API tokens, over the API; playback tokens and keys for them, made on this machine alone.
//!
//! A shop makes its playback tokens itself; these are for tests and for operators. Invariant: keys are read
//! from files, so that they stand in no list of processes and in no history.

mod api;
mod encode;
mod sign;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use self::{encode::Claims, sign::Signer};
use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::Output,
};

/// What is done with tokens.
#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make an API token and print it; it is shown this once
    Create(api::CreateArgs),
    /// List API tokens: whose, what for, until when
    List,
    /// Make an API token worthless
    Revoke {
        /// Its id, the part between the underscores
        id: String,
    },
    /// Make a playback token; no server is asked
    Sign(SignArgs),
    /// Make a key for playback tokens: the private part into a file, what a property needs on standard output
    Key {
        /// The file to make; must not exist
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// What it is for
        #[arg(short, long, value_enum, default_value_t = Algorithm::Hs256)]
        algorithm: Algorithm,
        /// Its id
        #[arg(long, value_name = "ID", default_value = "k1")]
        id: String,
    },
}

/// What a token says.
#[derive(Args)]
pub(super) struct SignArgs {
    /// The key: base64url of a shared secret, or PEM of a private key on P-256; as `token key` writes it
    #[arg(short, long, value_name = "FILE")]
    key: PathBuf,
    /// The key's id in the property
    #[arg(long, value_name = "ID", default_value = "k1")]
    key_id: String,
    /// Common Access Token, or JSON Web Token
    #[arg(long, value_enum, default_value_t = Kind::Cat)]
    kind: Kind,
    /// What the path must begin with
    #[arg(short, long, value_name = "PREFIX")]
    path: Option<String>,
    /// For how long it is good
    #[arg(short, long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Who issues it
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Whom it is for
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Its id; logs and rates know it by this
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// Methods that it is for
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Countries that it is for
    #[arg(long, value_name = "CODE")]
    country: Vec<String>,
    /// Let the edge renew it, for so long each time; a Common Access Token alone
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    renew: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Cat,
    Jwt,
}

/// How tokens are signed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Algorithm {
    /// A shared secret
    Hs256,
    /// A private key here, its public part at the edge
    Es256,
}

#[derive(Serialize)]
struct Made {
    token: String,
    expires: u64,
}

/// Runs a command on tokens.
pub(super) async fn run(
    command: TokenCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create(args) => return api::create(args, &client()?, consent, out).await,
        TokenCommand::List => return api::list(&client()?, out).await,
        TokenCommand::Revoke { id } => return api::revoke(&id, &client()?, consent, out).await,
        TokenCommand::Sign(args) => {
            let made = make(&args, now())?;
            out.print_line(&made, &made.token, |made| made.token.clone())?;
        }
        TokenCommand::Key { file, algorithm, id } => {
            let (private, public) = sign::new_key(algorithm)?;
            write_private(&file, &private)?;
            out.print_json(&sign::as_config(&id, algorithm, &public))?;
        }
    }
    Ok(Exit::Ok)
}

fn make(args: &SignArgs, now: u64) -> Result<Made, Failure> {
    let name = args.key.display();
    let text = fs::read_to_string(&args.key)
        .map_err(|error| Failure::new(Exit::Usage, format!("{name}: {error}")))?;
    let signer = Signer::read(&text)
        .ok_or_else(|| Failure::new(Exit::Invalid, format!("{name}: not a key")))?;
    if args.renew.is_some() && (args.kind == Kind::Jwt || !signer.is_shared()) {
        let text =
            "--renew needs a Common Access Token and a shared secret: the edge signs the new one";
        return Err(Failure::new(Exit::Usage, text));
    }
    let claims = Claims {
        expires: now.saturating_add(args.expires.as_secs()),
        issued: now,
        issuer: args.issuer.as_deref(),
        audience: args.audience.as_deref(),
        id: args.id.as_deref(),
        path: args.path.as_deref(),
        methods: &args.method,
        countries: &args.country,
        renew_s: args.renew.map(|time| time.as_secs()),
    };
    let token = match args.kind {
        Kind::Cat => encode::cat(&claims, &signer, &args.key_id),
        Kind::Jwt => encode::jwt(&claims, &signer, &args.key_id),
    };
    let token = token.ok_or_else(|| Failure::new(Exit::Failed, "the key cannot sign"))?;
    Ok(Made { token, expires: claims.expires })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A new file that its owner alone may read.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
