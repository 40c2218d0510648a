//! The repository's files, read once: every rule looks at the same picture, and a test can draw a small one.
//!
//! **Invariant.** Paths are relative to the root and have forward slashes; what a build or a run leaves behind is
//! not in the picture.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// The files of the repository.
#[derive(Debug, Default)]
pub struct Repository {
    /// Where it lies, where it lies anywhere.
    pub root: PathBuf,
    texts: BTreeMap<String, String>,
    paths: BTreeSet<String>,
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file at fault.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

impl Fault {
    /// A fault of one file.
    pub fn new(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl Repository {
    /// Reads the files under `root`.
    ///
    /// # Errors
    /// When a folder or a text cannot be read.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut repository = Self { root: root.to_owned(), ..Self::default() };
        repository.read_folder("")?;
        Ok(repository)
    }

    /// A repository of these files, for a test.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut repository = Self::default();
        for (path, text) in files {
            repository.add(path, Some((*text).to_owned()));
        }
        repository
    }

    /// The text files, in the order of their paths.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text files whose path ends so.
    pub fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts().filter(move |(path, _)| path.ends_with(end))
    }

    /// One file's text.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is such a file or folder.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.paths.contains(path.trim_end_matches('/'))
    }

    fn read_folder(&mut self, folder: &str) -> anyhow::Result<()> {
        let entries = fs::read_dir(self.root.join(folder)).with_context(|| format!("{folder}/"))?;
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && !is_left_behind(&path, &name) {
                self.paths.insert(path.clone());
                self.read_folder(&path)?;
            } else if kind.is_file() {
                let text = read_text(&entry.path()).with_context(|| path.clone())?;
                self.add(&path, text);
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, text: Option<String>) {
        for (end, _) in path.match_indices('/') {
            self.paths.insert(path[..end].to_owned());
        }
        self.paths.insert(path.to_owned());
        if let Some(text) = text {
            self.texts.insert(path.to_owned(), text);
        }
    }
}

/// What builds, runs and package managers leave in a checkout.
fn is_left_behind(path: &str, name: &str) -> bool {
    path == "data" || ["target", "node_modules", "dist", ".git"].contains(&name)
}

/// A file's text; `None` when it is none. A file that goes away meanwhile is none either.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() <= TEXT_BYTES_MAX => {}
        _ => return Ok(None),
    }
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A longer file is not written by hand.
const TEXT_BYTES_MAX: u64 = 2 << 20;
