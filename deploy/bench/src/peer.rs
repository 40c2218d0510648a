//! Starts and stops the proxies that are compared.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{load::Protocol, material::Material};

/// How long a proxy may take until it accepts connections.
const START_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) https: SocketAddr,
    speaks_h3: bool,
    process: Child,
}

impl Peer {
    /// The edge as a one-line reverse proxy.
    pub(crate) async fn edge(bin_dir: &Path, material: &Material) -> Result<Self> {
        let https = free_address()?;
        let process = Command::new(bin_dir.join("tidegate-edge"))
            .arg("serve")
            .args(["--origin", &format!("http://{}", material.origin)])
            .args(["--https", &https.to_string()])
            .arg("--set")
            .arg(format!("listen.tls.certificate={:?}", material.certificate))
            .arg("--set")
            .arg(format!("listen.tls.key={:?}", material.key))
            .args(["--set", "process.log_level=\"warn\""])
            .args(["--set", "listen.limits.requests_per_connection_max=1000000"])
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting tidegate-edge")?;
        Self { name: "edge", https, speaks_h3: true, process }.once_listening().await
    }

    /// nginx with `proxy_cache`, TLS and, when it was built with it, HTTP/3.
    pub(crate) async fn nginx(program: &str, material: &Material) -> Result<Self> {
        let https = free_address()?;
        let built = Command::new(program).arg("-V").output().context("running nginx -V")?;
        let speaks_h3 = String::from_utf8_lossy(&built.stderr).contains("http_v3_module");
        let config = material.dir.path().join("nginx.conf");
        std::fs::write(&config, nginx_config(https, speaks_h3, material))?;
        let process = Command::new(program)
            .arg("-p")
            .arg(material.dir.path())
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .context("starting nginx")?;
        Self { name: "nginx", https, speaks_h3, process }.once_listening().await
    }

    pub(crate) fn speaks(&self, protocol: Protocol) -> bool {
        protocol != Protocol::H3 || self.speaks_h3
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    async fn once_listening(mut self) -> Result<Self> {
        let end = Instant::now() + START_MAX;
        while tokio::net::TcpStream::connect(self.https).await.is_err() {
            if let Some(status) = self.process.try_wait()? {
                anyhow::bail!("{} ended with {status} before it listened", self.name);
            }
            anyhow::ensure!(Instant::now() < end, "{} does not listen", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(self)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // both end cleanly on SIGTERM; std can only send SIGKILL, which nginx's workers notice
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn nginx_config(https: SocketAddr, speaks_h3: bool, material: &Material) -> String {
    let quic = if speaks_h3 {
        format!("listen {https} quic reuseport; http3 on; quic_gso on;")
    } else {
        String::new()
    };
    // 1.25 moved http2 from `listen` to a directive of its own, with HTTP/3
    let h2 = if speaks_h3 {
        format!("listen {https} ssl; http2 on;")
    } else {
        format!("listen {https} ssl http2;")
    };
    let (dir, origin) = (material.dir.path().display(), material.origin);
    let (certificate, key) = (material.certificate.display(), material.key.display());
    format!(
        "daemon off; pid {dir}/nginx.pid; error_log /dev/null crit; worker_processes 2;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000; sendfile on; tcp_nopush on;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  proxy_cache_path {dir}/cache keys_zone=hits:10m;
  server {{
    {h2} {quic}
    ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
    location / {{ proxy_pass http://{origin}; proxy_cache hits; proxy_cache_lock on; }}
  }}
}}
"
    )
}
