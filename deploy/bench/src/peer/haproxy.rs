//! HAProxy with its cache.

use std::{net::SocketAddr, process::Stdio};

use anyhow::{Context, Result};

use super::{CIPHER, Peer, Programs, free_address, version, write};
use crate::{core::Cores, material::Material};

pub(super) fn start(
    programs: &Programs,
    material: &Material,
    cores: Cores,
) -> Result<Option<Peer>> {
    let Some(built) = version(&programs.haproxy, "-vv") else { return Ok(None) };
    let https = free_address()?;
    let speaks_h3 = built.contains("+QUIC");
    let both = [std::fs::read(&material.certificate)?, std::fs::read(&material.key)?].concat();
    write(material, "haproxy.pem", &String::from_utf8(both)?)?;
    let config = write(material, "haproxy.cfg", &config(https, speaks_h3, material))?;
    let process = cores
        .server(&programs.haproxy)
        .arg("-db")
        .arg("-f")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting haproxy")?;
    Ok(Some(Peer { name: "haproxy", https, admin: None, speaks_h3, process }))
}

fn config(https: SocketAddr, speaks_h3: bool, material: &Material) -> String {
    let (dir, origin) = (material.dir.path().display(), material.origin);
    let quic = if speaks_h3 {
        format!("bind quic4@{https} ssl crt {dir}/haproxy.pem alpn h3 ciphersuites {CIPHER}")
    } else {
        String::new()
    };
    let limited = if speaks_h3 { "limited-quic" } else { "" };
    format!(
        "global
  nbthread 1
  maxconn 15000
  no strict-limits
  {limited}
defaults
  mode http
  timeout client 600s
  timeout server 30s
  timeout connect 5s
  timeout http-keep-alive 600s
cache hits
  total-max-size 64
  max-object-size 2000000
  max-age 3600
frontend in
  bind {https} ssl crt {dir}/haproxy.pem alpn h2,http/1.1 ciphersuites {CIPHER} ssl-min-ver TLSv1.3
  {quic}
  default_backend origin
backend origin
  http-request cache-use hits
  http-response cache-store hits
  server origin {origin}
"
    )
}
