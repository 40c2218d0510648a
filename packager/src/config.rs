//! Composes the parts' configs; only `node` imports this.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_chassis::{ProcessConfig, ProgramConfig};

use crate::{job::Limits, jobs, ladder, origin_client, store, track, worker_process};

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where uploads are read and objects written; the same store as origin's. `file:` and a path is a folder.
    pub object_store: String,
    /// Folder for uploads that have to be fetched from a store that is no folder; the system's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<PathBuf>,
    /// Where jobs come from.
    pub origin: origin_client::Config,
    /// How much is done at once.
    pub jobs: jobs::Config,
    /// What an upload may be.
    pub limits: Limits,
    /// What is made of a video.
    pub ladder: ladder::Config,
    /// How tracks are cut.
    pub segment: track::Config,
    /// The child process.
    pub worker: worker_process::Config,
    /// Admin port, logs, drain.
    pub process: ProcessConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            object_store: "file:data/objects".to_owned(),
            scratch: None,
            origin: origin_client::Config::default(),
            jobs: jobs::Config::default(),
            limits: Limits::default(),
            ladder: ladder::Config::default(),
            segment: track::Config::default(),
            worker: worker_process::Config::default(),
            process: ProcessConfig::default(),
        }
    }
}

impl ProgramConfig for Config {
    fn check(&self) -> anyhow::Result<()> {
        store::parse(&self.object_store)?;
        self.origin.check()?;
        self.jobs.check()?;
        self.ladder.check()?;
        self.segment.check(self.ladder.gop_ms)
    }

    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_file_is_the_default() {
        let text = include_str!("../../deploy/config/tidegate-packager.toml");
        let file: Config = toml::from_str(text).expect("the reference file loads");
        let table = |config: &Config| toml::Table::try_from(config).expect("plain data");
        assert_eq!(table(&file), table(&Config::default()));
        file.check().expect("the default is valid");
    }
}
