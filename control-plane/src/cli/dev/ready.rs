//! What the person at the terminal, and scripts, are told when everything runs.
//!
//! `ready.json` is written whole and last: whoever finds it finds a system that plays.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::Serialize;

/// Everything that is needed to use the system. The field names are stable.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// The watch page of the video, through a PoP.
    pub(super) watch_url: Option<String>,
    /// The authority that signed the PoPs' certificate.
    pub(super) ca_cert: PathBuf,
    /// Origin's public side.
    pub(super) origin: String,
    /// Where tus clients upload.
    pub(super) upload_url: String,
    /// Holds the token for uploads and the API.
    pub(super) api_token_file: PathBuf,
    /// The control plane's HTTP API.
    pub(super) control_plane: String,
    /// For `tidegate --context-file`.
    pub(super) cli_context: PathBuf,
    /// The uploaded video.
    pub(super) video_id: Option<String>,
    /// Path of its HLS multivariant playlist.
    pub(super) hls_path: Option<String>,
    /// Path of its MPD.
    pub(super) dash_path: Option<String>,
    /// Where the DNS is, `host:port`, over UDP and TCP.
    pub(super) dns: SocketAddr,
    /// A name that leads each client to its PoP.
    pub(super) dns_name: String,
    /// A subnet near each PoP, for queries that say for whom they ask.
    pub(super) dns_clients: Vec<String>,
    /// The steering manifest that playlists and MPDs name.
    pub(super) steering_url: String,
    /// The PoPs.
    pub(super) pops: Vec<Pop>,
}

/// One PoP.
#[derive(Debug, Serialize)]
pub(super) struct Pop {
    pub(super) name: String,
    /// `edge` or `shield`.
    pub(super) role: &'static str,
    /// `host:port` that serves HTTP/1.1, 2 and 3 over TLS.
    pub(super) authority: String,
    /// `host:port` in clear text.
    pub(super) http_authority: String,
    pub(super) admin: Option<SocketAddr>,
}

/// The text for the terminal.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ca = self.ca_cert.display();
        writeln!(f, "Tidegate runs. Ctrl-C stops it; the data stays.\n")?;
        writeln!(
            f,
            "  upload      {} (tus; token in {})",
            self.upload_url,
            self.api_token_file.display()
        )?;
        writeln!(f, "  origin      {}", self.origin)?;
        writeln!(f, "  control     {}", self.control_plane)?;
        for pop in &self.pops {
            writeln!(f, "  {:<11} https://{} ({})", pop.name, pop.authority, pop.role)?;
        }
        writeln!(f, "  {:<11} {} (name {})", "dns", self.dns, self.dns_name)?;
        writeln!(f, "\nask the DNS which PoP a client gets:")?;
        let (ip, port) = (self.dns.ip(), self.dns.port());
        for client in &self.dns_clients {
            writeln!(f, "  dig +short @{ip} -p {port} {} +subnet={client}", self.dns_name)?;
        }
        let context = self.cli_context.display();
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("tidegate"));
        let cli = own.display();
        if let Some((client, _)) = self.dns_clients.last().and_then(|client| client.split_once('/'))
        {
            let name = &self.dns_name;
            writeln!(
                f,
                "  {cli} --context-file {context} dns resolve {name} --client {client} --explain"
            )?;
        }
        let edges = || self.pops.iter().filter(|pop| pop.role == "edge");
        let (Some(video), Some(hls), Some(dash)) =
            (&self.video_id, &self.hls_path, &self.dash_path)
        else {
            return Ok(());
        };
        if let Some(watch) = &self.watch_url {
            writeln!(f, "\nwatch (the browser must trust {ca}):\n  {watch}")?;
        }
        writeln!(f, "\nplay:")?;
        for pop in edges() {
            writeln!(f, "  HLS   https://{}{hls}", pop.authority)?;
            writeln!(f, "  DASH  https://{}{dash}", pop.authority)?;
        }
        writeln!(f, "\ntry:")?;
        for pop in edges() {
            writeln!(f, "  curl --http3 --cacert {ca} -i https://{}{hls}", pop.authority)?;
        }
        if let Some(pop) = edges().next() {
            writeln!(f, "  ffplay http://{}{hls}", pop.http_authority)?;
        }
        writeln!(f, "  {cli} --context-file {context} purge key video-{video} --wait")?;
        writeln!(f, "  {cli} --context-file {context} pop list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_every_field_by_its_name() {
        let summary = Summary {
            watch_url: None,
            ca_cert: "ca.pem".into(),
            origin: "http://127.0.0.1:1".into(),
            upload_url: "http://127.0.0.1:1/upload".into(),
            api_token_file: "token".into(),
            control_plane: "https://localhost:2".into(),
            cli_context: "tidegate.toml".into(),
            video_id: Some("v1".into()),
            hls_path: Some("/v/v1/main.m3u8".into()),
            dash_path: Some("/v/v1/manifest.mpd".into()),
            dns: SocketAddr::from(([127, 0, 0, 1], 5)),
            dns_name: "video.demo.test".into(),
            dns_clients: vec!["198.51.100.0/24".into()],
            steering_url: "https://steer.localhost:3/steering/demo".into(),
            pops: vec![Pop {
                name: "pop-a".into(),
                role: "edge",
                authority: "localhost:3".into(),
                http_authority: "localhost:4".into(),
                admin: None,
            }],
        };
        let json = serde_json::to_value(&summary).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        names.sort();
        let mut expected = [
            "watch_url",
            "ca_cert",
            "origin",
            "upload_url",
            "api_token_file",
            "control_plane",
            "cli_context",
            "video_id",
            "hls_path",
            "dash_path",
            "dns",
            "dns_name",
            "dns_clients",
            "steering_url",
            "pops",
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
        let text = summary.to_string();
        for line in [
            "curl --http3 --cacert ca.pem -i https://localhost:3/v/v1/main.m3u8",
            "purge key",
            "dig +short @127.0.0.1 -p 5 video.demo.test +subnet=198.51.100.0/24",
            "dns resolve video.demo.test --client 198.51.100.0 --explain",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
