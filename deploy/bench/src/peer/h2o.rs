//! h2o as a file server: it has no cache, so its figures are a bar to look up to and not like for like.

use std::{net::SocketAddr, process::Stdio};

use anyhow::{Context, Result};

use super::{Peer, Programs, free_address, version, write};
use crate::{core::Cores, material::Material};

pub(super) fn start(
    programs: &Programs,
    material: &Material,
    cores: Cores,
) -> Result<Option<Peer>> {
    if version(&programs.h2o, "--version").is_none() {
        return Ok(None);
    }
    let https = free_address()?;
    let config = write(material, "h2o.conf", &config(https, material))?;
    let process = cores
        .server(&programs.h2o)
        .arg("-c")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting h2o")?;
    Ok(Some(Peer { name: "h2o", https, admin: None, speaks_h3: false, process }))
}

fn config(https: SocketAddr, material: &Material) -> String {
    let dir = material.dir.path().display();
    let (certificate, key) = (material.certificate.display(), material.key.display());
    format!(
        "num-threads: 1
max-connections: 20000
http1-request-timeout: 600
http2-idle-timeout: 600
listen:
  host: {}
  port: {}
  ssl:
    certificate-file: {certificate}
    key-file: {key}
    minimum-version: TLSv1.3
hosts:
  default:
    paths:
      /:
        file.dir: {dir}/objects
",
        https.ip(),
        https.port(),
    )
}
