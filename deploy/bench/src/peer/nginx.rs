//! nginx with `proxy_cache`, as an operator would set it for this load.

use std::{net::SocketAddr, process::Stdio};

use anyhow::{Context, Result};

use super::{CIPHER, Peer, Programs, free_address, version, write};
use crate::{core::Cores, material::Material};

pub(super) fn start(
    programs: &Programs,
    material: &Material,
    cores: Cores,
) -> Result<Option<Peer>> {
    let Some(built) = version(&programs.nginx, "-V") else { return Ok(None) };
    let https = free_address()?;
    let speaks_h3 = built.contains("http_v3_module");
    let config = write(material, "nginx.conf", &config(https, speaks_h3, material))?;
    let process = cores
        .server(&programs.nginx)
        .arg("-p")
        .arg(material.dir.path())
        .arg("-c")
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .context("starting nginx")?;
    Ok(Some(Peer { name: "nginx", https, admin: None, speaks_h3, process }))
}

fn config(https: SocketAddr, speaks_h3: bool, material: &Material) -> String {
    // 1.25 moved http2 from `listen` to a directive of its own, with HTTP/3
    let listen = if speaks_h3 {
        format!(
            "listen {https} ssl; http2 on; listen {https} quic reuseport; http3 on; quic_gso on;"
        )
    } else {
        format!("listen {https} ssl http2;")
    };
    let (dir, origin) = (material.dir.path().display(), material.origin);
    let (certificate, key) = (material.certificate.display(), material.key.display());
    format!(
        "daemon off; pid {dir}/nginx.pid; error_log /dev/null crit; worker_processes 1;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on; tcp_nopush on;
  output_buffers 2 256k; http2_chunk_size 16k; open_file_cache max=1000; http2_max_concurrent_streams 128;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  proxy_cache_path {dir}/cache keys_zone=hits:10m;
  server {{
    {listen}
    ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites {CIPHER}; ssl_session_tickets off;
    location / {{ proxy_pass http://{origin}; proxy_cache hits; proxy_cache_lock on; }}
  }}
}}
"
    )
}
