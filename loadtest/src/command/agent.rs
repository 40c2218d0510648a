//! `agent`: lends this machine to the runs of others.
//!
//! Invariant: it listens only with a token, and prints the fingerprint by which a controller knows it.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use tokio::net::TcpListener;

use super::{
    exit::{Exit, Failure},
    run::{in_runtime, read_token, stop_by_signal},
    say::{note, print},
};
use crate::fleet::{Agent, Identity, serve};

#[derive(Args)]
pub(super) struct AgentArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4700")]
    listen: SocketAddr,
    /// A file with the token that a controller must show, 16 characters or more
    #[arg(long, value_name = "FILE", env = "TIDEGATE_LOAD_TOKEN_FILE")]
    token_file: PathBuf,
    /// PEM of a certificate, so that the fingerprint stays; else one is made at each start
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM of its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub(super) fn agent(args: &AgentArgs) -> Result<Exit, Failure> {
    let token = read_token(&args.token_file)?;
    let identity = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            Identity::read(certificate, key).map_err(Failure::usage)?
        }
        _ => Identity::generate().map_err(Failure::failed)?,
    };
    in_runtime(async {
        let bound = TcpListener::bind(args.listen).await;
        let listener =
            bound.map_err(|error| Failure::usage(format!("--listen {}: {error}", args.listen)))?;
        let addr = listener.local_addr().map_err(Failure::failed)?;
        let stop = stop_by_signal()?;
        // What a controller is told, for `run --agents`.
        print(&format!("{addr}={}\n", identity.fingerprint()));
        serve(Agent { listener, identity, token }, &stop, note).await.map_err(Failure::failed)?;
        Ok(Exit::Ok)
    })
}
