//! Every setting of the program, composed of the parts' own. Only `node` and `main` read it as a whole.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tidegate_chassis::{ProcessConfig, ProgramConfig};

use crate::{
    catalog, database, delivery, objects, package, purge, role::Role, server, upload, watch,
    web::Tokens,
};

/// The settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What this process does.
    pub roles: Vec<Role>,
    /// URL of the relational store.
    pub database: String,
    /// URL of the object store; packagers get the same.
    pub object_store: String,
    /// What every process has.
    pub process: ProcessConfig,
    /// Sockets.
    pub listen: server::Config,
    /// API tokens.
    pub auth: AuthConfig,
    /// Uploads.
    pub upload: upload::Config,
    /// The watch page.
    pub watch: watch::Config,
    /// Delivery.
    pub delivery: delivery::Config,
    /// The job API.
    pub package: package::Config,
    /// The catalog.
    pub catalog: catalog::Config,
    /// The purge outbox.
    pub purge: purge::Config,
}

/// Section `[auth]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// File with one line `name sha256-of-token` for each API token.
    pub tokens_file: Option<PathBuf>,
    /// The same lines, for a config without a file.
    pub tokens: Vec<String>,
    /// How often the file is looked at for changes.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
}

impl ProgramConfig for Config {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.roles.is_empty(), "roles must name at least one role");
        ensure!(
            database::is_url(&self.database),
            "database is no sqlite: URL: {:?}",
            self.database
        );
        ensure!(
            objects::is_url(&self.object_store),
            "object_store is no file: URL: {:?}",
            self.object_store
        );
        Tokens::default()
            .replace(self.auth.tokens.iter().map(String::as_str))
            .map_err(|error| anyhow::anyhow!("auth.tokens: {error}"))?;
        self.listen.check()?;
        self.upload.check()?;
        self.watch.check()?;
        self.delivery.check()?;
        self.package.check()?;
        self.catalog.check()?;
        self.purge.check()
    }

    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            roles: Role::ALL.to_vec(),
            database: "sqlite:data/origin/origin.db".to_owned(),
            object_store: "file:data/objects".to_owned(),
            process: ProcessConfig::default(),
            listen: server::Config::default(),
            auth: AuthConfig::default(),
            upload: upload::Config::default(),
            watch: watch::Config::default(),
            delivery: delivery::Config::default(),
            package: package::Config::default(),
            catalog: catalog::Config::default(),
            purge: purge::Config::default(),
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { tokens_file: None, tokens: Vec::new(), reload_interval: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_chassis::config::{check_reference, from_toml};

    use super::*;

    #[test]
    fn the_reference_config_is_the_default() {
        let text = include_str!("../../deploy/config/tidegate-origin.toml");
        check_reference::<Config>(text).unwrap();
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        for (text, name) in [
            ("roles = []", "roles"),
            ("database = \"mysql://h/db\"", "database"),
            ("object_store = \"s3://bucket\"", "object_store"),
            ("[auth]\ntokens = [\"alone\"]", "auth.tokens"),
            ("[listen]\ntls_cert = \"a\"", "listen.tls_cert"),
            ("[upload]\nchunk_bytes = \"5GiB\"", "upload.chunk_bytes"),
            ("[package]\nlease = \"1ms\"", "package.lease"),
            ("[purge]\ncontrol_plane = \"https://h\"", "purge.token_file"),
            ("[delivery]\nobject_cache_control = \"\\n\"", "delivery.object_cache_control"),
            ("[delivery.steering]\nserver_uri = \"/s\"", "delivery.steering.server_uri"),
            ("[delivery.steering]\npathway = \"a b\"", "delivery.steering.pathway"),
        ] {
            let error = from_toml::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(name), "{text}: {error}");
        }
    }
}
