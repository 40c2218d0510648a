//! Where everything of the system lies in its data folder.
//!
//! ```text
//! ports.json ready.json video.json tidegate.toml    what scripts and the next start read
//! ca/ config/ log/ ready/ secret/ state/ clip.mp4   certificates, settings, logs, secrets, the programs' stores
//! ```

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// The data folder and the folder of the programs.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    data: PathBuf,
    programs: PathBuf,
}

impl Layout {
    /// Makes the folders. The paths are absolute, so that they mean the same to every child.
    pub(super) fn create(data: &Path) -> anyhow::Result<Self> {
        for folder in FOLDERS {
            let path = data.join(folder);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
        }
        let data = data.canonicalize().context("the data folder was just made")?;
        let own = std::env::current_exe().context("cannot find the own executable")?;
        let programs = own.parent().context("an executable lies in a folder")?.to_owned();
        Ok(Self { data, programs })
    }

    /// Takes the folder for this process alone, for as long as the file is held.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        let path = self.data.join("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        if file.try_lock().is_err() {
            bail!("another `tidegate dev up` uses {}", self.data.display());
        }
        Ok(file)
    }

    /// A program beside the own executable.
    pub(super) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.programs.join(name);
        if !path.exists() {
            bail!("{} is missing: build it first (`make demo` does)", path.display());
        }
        Ok(path)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.data.join("config").join(format!("{name}.toml"))
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.data.join("log").join(format!("{name}.log"))
    }

    pub(super) fn ready(&self, name: &str) -> PathBuf {
        self.data.join("ready").join(format!("{name}.json"))
    }

    pub(super) fn secret(&self, name: &str) -> PathBuf {
        self.data.join("secret").join(name)
    }

    /// A program's own store.
    pub(super) fn state(&self, name: &str) -> PathBuf {
        self.data.join("state").join(name)
    }

    pub(super) fn ca_certificate(&self) -> PathBuf {
        self.data.join("ca/ca.pem")
    }

    pub(super) fn ca_key(&self) -> PathBuf {
        self.data.join("ca/ca-key.pem")
    }

    pub(super) fn pop_certificate(&self) -> PathBuf {
        self.data.join("ca/pop.pem")
    }

    pub(super) fn pop_key(&self) -> PathBuf {
        self.data.join("ca/pop-key.pem")
    }
}

/// Replaces a file whole: a script that waits for it never reads a half.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

const FOLDERS: [&str; 6] = ["ca", "config", "log", "ready", "secret", "state"];
