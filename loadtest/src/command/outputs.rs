//! Where results go: files of several forms, and the interval lines that are written while a run goes on.
//!
//! Invariant: a file that is to be written can be written before the run begins, not only after it.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;

use super::exit::Failure;
use crate::{
    output::{hgrm, html, json, junit, ndjson, replace},
    results::{Interval, Results},
};

/// Files to write.
#[derive(Args, Clone, Default)]
pub(super) struct Outputs {
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write JUnit XML, in which each gate is a test
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// Write each histogram as a .hgrm file
    #[arg(long, value_name = "FOLDER")]
    pub(super) hgrm: Option<PathBuf>,
}

impl Outputs {
    pub(super) fn is_empty(&self) -> bool {
        self.html.is_none() && self.junit.is_none() && self.hgrm.is_none()
    }

    /// Looks whether everything can be written.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let files = [&self.html, &self.junit];
        files.into_iter().flatten().try_for_each(|path| check_file(path))
    }

    pub(super) fn write(&self, results: &Results) -> Result<(), Failure> {
        if let Some(path) = &self.html {
            replace(path, html::page(results).as_bytes()).map_err(Failure::failed)?;
        }
        if let Some(path) = &self.junit {
            replace(path, junit::report(results).as_bytes()).map_err(Failure::failed)?;
        }
        if let Some(folder) = &self.hgrm {
            hgrm::write_all(folder, results).map_err(Failure::failed)?;
        }
        Ok(())
    }
}

/// Looks whether a file can be written, and leaves what is in it.
pub(super) fn check_file(path: &Path) -> Result<(), Failure> {
    let is_new = fs::metadata(path).is_err();
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    if is_new {
        // It is written whole at the end.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// A file of lines, one for each interval.
pub(super) struct IntervalFile(File);

impl IntervalFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path);
        file.map(Self).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    }

    pub(super) fn write(&mut self, interval: &Interval) -> std::io::Result<()> {
        let mut line = ndjson::line(interval);
        if !line.ends_with('\n') {
            line.push('\n');
        }
        self.0.write_all(line.as_bytes())
    }
}

/// Writes the document that the other files are made from.
pub(super) fn write_json(path: &Path, results: &Results) -> Result<(), Failure> {
    json::save(path, results).map_err(Failure::failed)
}
