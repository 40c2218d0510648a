//! The purges on disk: what was purged stays purged over a restart, as the objects on disk stay.
//!
//! A log of what the table of purges holds, beside the disk tier. Whoever applies a purge does not wait; one thread
//! writes what came together and forces it to disk, and only then it counts as durable. Invariant: a log that cannot
//! be believed, or not be written, is given up with all that is on disk, since both share one identity; so nothing
//! ever comes back that was purged.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tidegate_contract::id::StreamId;
use tokio::sync::watch;

use super::{
    entry::{self, Entry, Kept},
    marks::Marks,
};
use crate::cache::private_folder;

/// A handle on the log. Its thread ends when the last handle is gone.
pub(super) struct Journal {
    shared: Arc<Shared>,
    identity: u64,
    durable: watch::Receiver<Durable>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Up to where everything survives a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durable {
    /// The number of the last purge.
    pub seq: u64,
    /// The applied offset of every stream.
    pub positions: BTreeMap<StreamId, u64>,
}

/// What the log says at the start.
pub(super) struct Replayed {
    pub(super) marks: Marks,
    pub(super) positions: BTreeMap<StreamId, u64>,
    /// The number that purges of this run begin with: higher than any that was ever given.
    pub(super) seq: u64,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Entries that wait, as they are written.
    waiting: Vec<u8>,
    /// What is durable once those are written.
    then: Durable,
    is_closed: bool,
    /// More came than may wait.
    overflowed: bool,
}

/// The thread's side.
struct Writer {
    shared: Arc<Shared>,
    folder: PathBuf,
    /// Absent: given up.
    file: Option<File>,
    identity: u64,
    end: u64,
    compact_at: u64,
    keep_max: Duration,
    durable: Arc<watch::Sender<Durable>>,
    /// Held for as long as the thread lives.
    _lock: File,
}

impl Journal {
    /// Opens the log in a folder, which is made and locked if need be.
    ///
    /// # Errors
    /// When the folder or the log cannot be used.
    pub(super) fn open(folder: &Path, keep_max: Duration) -> io::Result<(Self, Replayed)> {
        Self::open_after(folder, keep_max, None)
    }

    /// The same after the process before has ended. The log must be of the epoch before `expected`, or it is not
    /// believed; what becomes durable is told there.
    ///
    /// # Errors
    /// As [`Journal::open`]; of kind `WouldBlock` while the other process uses the folder.
    pub(super) fn open_after(
        folder: &Path,
        keep_max: Duration,
        expected: Option<(u64, Arc<watch::Sender<Durable>>)>,
    ) -> io::Result<(Self, Replayed)> {
        let lock = private_folder::enter(folder)?;
        let now = SystemTime::now();
        let bytes = match std::fs::read(folder.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (mut identity, mut kept) = match entry::read(&bytes) {
            Some(read) => read,
            None => {
                if !bytes.is_empty() {
                    tracing::error!("the journal of purges is damaged: the disk tier begins anew");
                }
                (rand::random(), Kept::default())
            }
        };
        drop(bytes);
        kept.epoch += 1;
        if let Some((epoch, _)) = &expected
            && kept.epoch != *epoch
        {
            tracing::error!(
                "the journal of purges is not that of the process before: the disk tier begins anew"
            );
            (identity, kept) = (rand::random(), Kept { epoch: *epoch, ..Kept::default() });
        }
        kept.drop_older(now, keep_max);
        let (file, end) = write_anew(folder, identity, &kept)?;
        let seq = kept.epoch << EPOCH_SHIFT;
        let durable = Durable { seq, positions: kept.positions.clone() };
        let then = durable.clone();
        let durable = match expected {
            // Told once our own purges are written as well.
            Some((_, sender)) => sender,
            None => Arc::new(watch::Sender::new(durable)),
        };
        let durable_seen = durable.subscribe();
        let state = State { then, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let writer = Writer {
            shared: shared.clone(),
            folder: folder.to_owned(),
            file: Some(file),
            identity,
            end,
            compact_at: compact_at(end),
            keep_max,
            durable,
            _lock: lock,
        };
        let thread = std::thread::Builder::new()
            .name("purge-journal".to_owned())
            .spawn(move || writer.run())?;
        let mut marks = kept.marks;
        // Whether purges were missed while nobody listened is not known yet.
        marks.restored = seq;
        let replayed = Replayed { marks, positions: kept.positions, seq };
        Ok((Self { shared, identity, durable: durable_seen, thread: Some(thread) }, replayed))
    }

    /// What ties the files of the disk tier to this log.
    pub(super) fn identity(&self) -> u64 {
        self.identity
    }

    /// Takes an entry to be written; `seq` is durable with it.
    pub(super) fn append(&self, entry: &Entry<'_>, seq: u64) {
        let mut state = self.shared.state();
        if state.waiting.len() > WAITING_BYTES_MAX {
            state.waiting.clear();
            state.overflowed = true;
        } else {
            entry.write_to(self.identity, &mut state.waiting);
        }
        state.then.seq = state.then.seq.max(seq);
        if let Entry::Position { stream, offset } = entry {
            state.then.positions.insert((*stream).clone(), *offset);
        }
        self.shared.wake.notify_one();
    }

    /// Where everything stands that was taken to be written.
    pub(super) fn latest(&self) -> Durable {
        self.shared.state().then.clone()
    }

    /// A log that cannot be used goes, so that nothing on disk is believed any more.
    pub(super) fn discard(folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(folder.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => private_folder::sync(folder),
        }
    }

    #[cfg(test)]
    pub(super) fn fail_next_write(&self) {
        self.shared.state().overflowed = true;
    }

    /// Up to where everything survives a crash, to be looked at and waited for.
    pub(super) fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.clone()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.wake.notify_one();
        // What waits is written first; then the folder is free for somebody else.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came together since the last time; `None` when no more will come.
    fn next(&self) -> Option<(Vec<u8>, Durable, bool)> {
        let mut state = self.state();
        while state.waiting.is_empty() && !state.overflowed {
            if state.is_closed {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let overflowed = std::mem::take(&mut state.overflowed);
        Some((std::mem::take(&mut state.waiting), state.then.clone(), overflowed))
    }
}

impl Writer {
    fn run(mut self) {
        while let Some((bytes, then, overflowed)) = self.shared.clone().next() {
            let written = if overflowed {
                Err(io::Error::other("purges come faster than they can be written"))
            } else {
                self.write(&bytes)
            };
            match written {
                Ok(()) => drop(self.durable.send_replace(then)),
                Err(error) => self.give_up(&error, then),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Without a log everything on disk goes at the next start: nothing of it can come back.
        let Some(file) = &self.file else { return Ok(()) };
        file.write_all_at(bytes, self.end)?;
        file.sync_data()?;
        self.end += bytes.len() as u64;
        if self.end > self.compact_at {
            self.compact()?;
        }
        Ok(())
    }

    /// Writes what still counts into a new file.
    fn compact(&mut self) -> io::Result<()> {
        let read = entry::read(&std::fs::read(self.folder.join(NAME))?);
        let (_, mut kept) =
            read.filter(|(identity, _)| *identity == self.identity).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "the journal of purges is damaged")
            })?;
        kept.drop_older(SystemTime::now(), self.keep_max);
        let (file, end) = write_anew(&self.folder, self.identity, &kept)?;
        self.file = Some(file);
        self.end = end;
        self.compact_at = compact_at(end);
        Ok(())
    }

    /// The log cannot be written. Without it the next start begins with an empty disk, so that all purges are as
    /// good as durable once it is gone for sure.
    fn give_up(&mut self, error: &io::Error, then: Durable) {
        tracing::error!(%error, "the journal of purges is given up: the disk tier will begin anew");
        self.file = None;
        match Journal::discard(&self.folder) {
            Ok(()) => drop(self.durable.send_replace(then)),
            Err(error) => tracing::error!(%error, "purges are not durable any more"),
        }
    }
}

/// A new file in place of the old one, durable when this returns.
fn write_anew(folder: &Path, identity: u64, kept: &Kept) -> io::Result<(File, u64)> {
    let beside = folder.join("purges.new");
    let file = private_folder::create(&beside)?;
    let bytes = entry::write(identity, kept);
    file.write_all_at(&bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&beside, folder.join(NAME))?;
    private_folder::sync(folder)?;
    Ok((file, bytes.len() as u64))
}

fn compact_at(end: u64) -> u64 {
    (end * 2).max(COMPACT_BYTES_MIN)
}

/// The name of the log in its folder.
pub(super) const NAME: &str = "purges.log";
/// Room for the purges of one run in the numbers that they get: 2^40.
pub(super) const EPOCH_SHIFT: u32 = 40;
/// Entries that may wait for the disk, about 300,000.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// A log is written anew when it is twice as long as after the last time, and at least this long.
const COMPACT_BYTES_MIN: u64 = 8 << 20;
