//! Files of places (MaxMind DB), read into units.
//!
//! A file says of each prefix in which country or city it is, another one perhaps to which network it belongs. Both
//! spellings that are around are read: MaxMind's own (`country.iso_code`, `location.latitude`), and the flat one of
//! the free files (`country_code`, `latitude`). Files are operators' input: whatever is in them, the outcome is units
//! or an error that names the file.

mod files; // several files as one
mod country; // where a country is, when a file says no more
mod record; // what a file says of a prefix
pub mod write; // a file of our own from lines of text

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use maxminddb::{MaxMindDbError, Reader};

pub use self::files::{FILES_MAX, Files, listed};
use self::record::{AsnRecord, PlaceRecord};
use crate::{place::Place, unit::TooManyUnits};

/// The largest file: that of all cities has some 150 MB.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The most prefixes that are read.
pub const PREFIXES_MAX: usize = 20_000_000;

/// A file of places, open.
pub struct File {
    path: PathBuf,
    reader: Reader<Vec<u8>>,
}

/// Where an address is.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// Two letters of ISO 3166-1; zeros when the file says nothing.
    pub country: [u8; 2],
    /// The city's name, when the file has it.
    pub city: Option<String>,
    /// Where that is.
    pub place: Place,
    /// The prefix that all of this is true of.
    pub prefix: u8,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("{}: {bytes} bytes, at most {FILE_BYTES_MAX} are read", path.display())]
    Size {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Not a MaxMind DB, or a damaged one.
    #[error("{}: {source}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What its reader says.
        source: MaxMindDbError,
    },
    /// It names no place at all.
    #[error("{}: no prefix in it has a place; a file of cities or countries is needed", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
    /// A folder without any file of the format.
    #[error("{}: no file *.mmdb in this folder", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// More files than [`FILES_MAX`].
    #[error("{}: more than {FILES_MAX} files", path.display())]
    TooManyFiles {
        /// The first beyond.
        path: PathBuf,
    },
    /// More prefixes than [`PREFIXES_MAX`].
    #[error("{}: more than {PREFIXES_MAX} prefixes", path.display())]
    TooManyPrefixes {
        /// Which.
        path: PathBuf,
    },
    /// More units than a map can have.
    #[error("{}: {source}", path.display())]
    TooManyUnits {
        /// Which.
        path: PathBuf,
        /// How many are allowed.
        source: TooManyUnits,
    },
}

impl File {
    /// Opens a file. Its contents are kept in memory, so that it may be replaced on disk at any time.
    ///
    /// # Errors
    /// [`LocateError`]
    pub fn open(path: &Path) -> Result<Self, LocateError> {
        let failed = |source| LocateError::File { path: path.to_owned(), source };
        let bytes = fs::metadata(path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(LocateError::Size { path: path.to_owned(), bytes });
        }
        Self::parse(path, fs::read(path).map_err(failed)?)
    }

    /// As [`File::open`], from bytes; the path is for messages.
    ///
    /// # Errors
    /// [`LocateError::Format`]
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, LocateError> {
        let path = path.to_owned();
        match Reader::from_source(bytes) {
            Ok(reader) => Ok(Self { path, reader }),
            Err(source) => Err(LocateError::Format { path, source }),
        }
    }

    /// What it is and when it was made (seconds since 1970), as it says itself.
    #[must_use]
    pub fn kind(&self) -> (&str, u64) {
        let metadata = self.reader.metadata();
        (&metadata.database_type, metadata.build_epoch)
    }

    /// Where an address is; `None` when the file does not say.
    ///
    /// # Errors
    /// [`LocateError::Format`] when the file is damaged there.
    pub fn locate(&self, address: IpAddr) -> Result<Option<Located>, LocateError> {
        if !self.has_family_of(address) {
            return Ok(None);
        }
        let find = || -> Result<Option<Located>, MaxMindDbError> {
            let found = self.reader.lookup(address)?;
            let prefix = found.network()?.prefix();
            Ok(found.decode::<PlaceRecord<'_>>()?.and_then(|record| record.located(prefix)))
        };
        find().map_err(|source| self.damaged(source))
    }

    /// The network that an address belongs to; 0 when the file does not say.
    ///
    /// # Errors
    /// [`LocateError::Format`] when the file is damaged there.
    pub fn asn(&self, address: IpAddr) -> Result<u32, LocateError> {
        if !self.has_family_of(address) {
            return Ok(0);
        }
        let find = || self.reader.lookup(address)?.decode::<AsnRecord>();
        let record = find().map_err(|source| self.damaged(source))?;
        Ok(record.map_or(0, |record| record.number()))
    }

    /// Files of IPv4 alone have no place for IPv6.
    fn has_family_of(&self, address: IpAddr) -> bool {
        address.is_ipv4() || self.reader.metadata().ip_version == 6
    }

    fn damaged(&self, source: MaxMindDbError) -> LocateError {
        LocateError::Format { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
