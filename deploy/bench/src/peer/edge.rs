//! The edge as a one-line reverse proxy.

use std::process::Stdio;

use anyhow::{Context, Result};

use super::{Peer, Programs, free_address};
use crate::{core::Cores, material::Material};

pub(super) fn start(programs: &Programs, material: &Material, cores: Cores) -> Result<Peer> {
    let (http, https, admin) = (free_address()?, free_address()?, free_address()?);
    let program = programs.bin_dir.join("tidegate-edge");
    let process = cores
        .server(&program.to_string_lossy())
        .arg("serve")
        .args(["--origin", &format!("http://{}", material.origin)])
        .args(["--http", &http.to_string()])
        .args(["--https", &https.to_string()])
        .arg("--set")
        .arg(format!("listen.tls.certificate={:?}", material.certificate))
        .arg("--set")
        .arg(format!("listen.tls.key={:?}", material.key))
        .arg("--set")
        .arg(format!("process.admin=\"{admin}\""))
        .args(["--set", "process.log_level=\"warn\""])
        .args(["--set", "access_log=false"])
        .args(["--set", "cache.memory=\"128MiB\""])
        .args(["--set", "listen.limits.requests_per_connection_max=100000000"])
        // All clients have one address here.
        .args(["--set", "listen.limits.connections_per_client_max=16384"])
        .stderr(Stdio::inherit())
        .spawn()
        .context("starting tidegate-edge")?;
    Ok(Peer { name: "edge", https, admin: Some(admin), speaks_h3: true, process })
}
