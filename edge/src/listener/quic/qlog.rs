//! Traces of single connections in qlog's form, for looking at what went wrong on somebody's way: one of so many, or as
//! many as an operator asks for.
//!
//! Nothing in them names a client: neither the file nor the events hold an address, and no content is written.
//! Invariant: traces cost bounded space, over all runs that used the folder, and a full or failing disk ends the trace,
//! never the connection.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use quinn::{QlogConfig, QlogStream};

use super::Config;

/// Decides which connections are traced; clones are the same.
#[derive(Debug, Clone)]
pub struct Traces(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// None by themselves, if 0.
    one_of: u32,
    seen: AtomicU32,
    /// Connections that an operator asked for.
    asked: AtomicU32,
    /// Bytes that may still be written.
    left: Arc<AtomicU64>,
}

impl Traces {
    /// `None` when there is no folder for them.
    pub(in crate::listener) fn new(config: &Config) -> Option<Self> {
        let folder = config.qlog_dir.clone()?;
        let left = config.qlog_bytes_max.as_u64().saturating_sub(bytes_in(&folder));
        Some(Self(Arc::new(Shared {
            folder,
            one_of: config.qlog_one_of,
            seen: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            left: Arc::new(AtomicU64::new(left)),
        })))
    }

    /// Traces so many of the next connections, at most 1000; what was asked for before and has not come is replaced.
    pub fn ask(&self, connections: u32) -> u32 {
        let connections = connections.min(ASKED_MAX);
        self.0.asked.store(connections, Relaxed);
        connections
    }

    /// Bytes that traces may still take.
    #[must_use]
    pub fn bytes_left(&self) -> u64 {
        self.0.left.load(Relaxed)
    }

    /// A trace for the next connection, when it is its turn.
    pub(super) fn next(&self) -> Option<QlogStream> {
        let shared = &self.0;
        let is_turn =
            shared.one_of > 0 && shared.seen.fetch_add(1, Relaxed).is_multiple_of(shared.one_of);
        let one_less = |asked: u32| asked.checked_sub(1);
        let is_asked = || shared.asked.fetch_update(Relaxed, Relaxed, one_less).is_ok();
        if !(is_turn || is_asked()) || self.bytes_left() == 0 {
            return None;
        }
        let file = match self.open() {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(%error, folder = %shared.folder.display(), "a connection is not traced");
                return None;
            }
        };
        let mut config = QlogConfig::default();
        config.writer(Box::new(Bounded {
            file: BufWriter::new(file),
            left: FILE_BYTES_MAX,
            of_all: shared.left.clone(),
        }));
        config.into_stream()
    }

    fn open(&self) -> io::Result<File> {
        let name = format!("{:032x}{SUFFIX}", rand::random::<u128>());
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.0.folder.join(name))
    }
}

/// What traces take in a folder already.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(files) = folder.read_dir() else { return 0 };
    let of_traces = files
        .flatten()
        .filter(|file| file.file_name().as_encoded_bytes().ends_with(SUFFIX.as_bytes()));
    of_traces.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// A file that takes a bounded number of bytes, of its own and of all together, and forgets the rest.
struct Bounded {
    file: BufWriter<File>,
    left: usize,
    of_all: Arc<AtomicU64>,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let less = |left: u64| left.checked_sub(bytes.len() as u64);
        let has_room =
            bytes.len() <= self.left && self.of_all.fetch_update(Relaxed, Relaxed, less).is_ok();
        if has_room && self.file.write_all(bytes).is_ok() {
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

/// Connections that may be asked for at once.
const ASKED_MAX: u32 = 1_000;
/// Bytes of one file: about a minute of a fast download.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
const SUFFIX: &str = ".sqlog";

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    fn traces(folder: &Path, one_of: u32, bytes_max: u64) -> Traces {
        let (qlog_dir, qlog_bytes_max) = (Some(folder.to_owned()), ByteSize(bytes_max));
        let config = Config { qlog_dir, qlog_one_of: one_of, qlog_bytes_max, ..Config::default() };
        Traces::new(&config).unwrap()
    }

    #[test]
    fn one_of_so_many_is_traced_and_a_missing_folder_hurts_nobody() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Traces::new(&Config::default()).is_none());
        let some = traces(folder.path(), 3, 1 << 20);
        let traced: Vec<_> = (0..6).map(|_| some.next().is_some()).collect();
        assert_eq!(traced, [true, false, false, true, false, false]);
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);
        assert!(traces(&folder.path().join("none"), 3, 1 << 20).next().is_none());
    }

    #[test]
    fn an_operator_gets_as_many_as_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let asked = traces(folder.path(), 0, 1 << 20);
        assert!(asked.next().is_none(), "none by itself");
        assert_eq!(asked.ask(2), 2);
        let traced: Vec<_> = (0..4).map(|_| asked.next().is_some()).collect();
        assert_eq!(traced, [true, true, false, false]);
        assert_eq!(asked.ask(u32::MAX), ASKED_MAX);
        asked.ask(0);
        assert!(asked.next().is_none());
    }

    #[test]
    fn a_trace_ends_at_its_limit_and_all_end_at_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let bounded = |name: &str, left, of_all: &Arc<AtomicU64>| {
            let file = BufWriter::new(File::create(path(name)).unwrap());
            Bounded { file, left, of_all: of_all.clone() }
        };
        let of_all = Arc::new(AtomicU64::new(14));
        for (name, expected) in [("a.sqlog", &b"abcdabcd"[..]), ("b.sqlog", b"abcd")] {
            let mut bounded = bounded(name, 10, &of_all);
            for _ in 0..5 {
                assert_eq!(bounded.write(b"abcd").unwrap(), 4);
            }
            bounded.flush().unwrap();
            assert_eq!(std::fs::read(path(name)).unwrap(), expected);
        }
        // What an earlier run left counts.
        assert_eq!(bytes_in(folder.path()), 12);
        assert_eq!(traces(folder.path(), 1, 20).bytes_left(), 8);
        assert!(traces(folder.path(), 1, 12).next().is_none());
    }
}
