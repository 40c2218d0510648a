//! Traces of single connections in qlog's form, one of so many, for looking at what went wrong on somebody's way.
//!
//! Nothing in them names a client: neither the file nor the events hold an address, and no content is written.
//! Invariant: traces cost bounded space, and a full or failing disk ends the trace, never the connection.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use quinn::{QlogConfig, QlogStream};

use super::Config;

/// Decides which connections are traced.
#[derive(Debug)]
pub(super) struct Qlog {
    folder: PathBuf,
    one_of: u32,
    seen: AtomicU32,
    files: AtomicU32,
}

impl Qlog {
    /// `None` when nothing is to be traced.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let folder = config.qlog_dir.clone()?;
        let one_of = config.qlog_one_of.max(1);
        Some(Self { folder, one_of, seen: AtomicU32::new(0), files: AtomicU32::new(0) })
    }

    /// A trace for the next connection, when it is its turn.
    pub(super) fn next(&self) -> Option<QlogStream> {
        let is_turn = self.seen.fetch_add(1, Relaxed).is_multiple_of(self.one_of);
        if !is_turn || self.files.fetch_add(1, Relaxed) >= FILES_MAX {
            return None;
        }
        let file = match self.open() {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(%error, folder = %self.folder.display(), "a connection is not traced");
                return None;
            }
        };
        let mut config = QlogConfig::default();
        config.writer(Box::new(Bounded { file: BufWriter::new(file), left: FILE_BYTES_MAX }));
        config.into_stream()
    }

    fn open(&self) -> io::Result<File> {
        let name = format!("{:032x}.sqlog", rand::random::<u128>());
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.folder.join(name))
    }
}

/// A file that takes a bounded number of bytes and forgets the rest.
struct Bounded {
    file: BufWriter<File>,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            self.left = 0;
        } else if self.file.write_all(bytes).is_ok() {
            self.left -= bytes.len();
        } else {
            self.left = 0;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What could not be written is missing in the trace.
        let _ = self.file.flush();
        Ok(())
    }
}

/// Files since the process began; more would be a load test with the switch left on.
const FILES_MAX: u32 = 10_000;
/// Bytes of one file: about a minute of a fast download.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_so_many_is_traced_and_a_missing_folder_hurts_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let config = |qlog_dir| Config { qlog_dir, qlog_one_of: 3, ..Config::default() };
        assert!(Qlog::new(&config(None)).is_none());
        let qlog = Qlog::new(&config(Some(folder.path().to_owned()))).unwrap();
        let traced: Vec<_> = (0..6).map(|_| qlog.next().is_some()).collect();
        assert_eq!(traced, [true, false, false, true, false, false]);
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);
        let nowhere = Qlog::new(&config(Some(folder.path().join("none")))).unwrap();
        assert!(nowhere.next().is_none());
    }

    #[test]
    fn a_trace_ends_at_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = BufWriter::new(File::create(&path).unwrap());
        let mut bounded = Bounded { file, left: 10 };
        for _ in 0..5 {
            assert_eq!(bounded.write(b"abcd").unwrap(), 4);
        }
        bounded.flush().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"abcdabcd");
    }
}
