//! Whether the folder of the disk tier takes a write and gives it back, tried every few seconds in a thread of its own.
//!
//! A try that hangs is a failure once it is late; nothing waits for it. Invariant: the file is small, always the same
//! one of this process, and no part of the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

/// What tries. Ends when it is dropped, after the try that goes on.
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
    limit: Duration,
    /// Wakes the thread when it is dropped.
    _stop: Sender<()>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A try began.
    Trying(Instant),
    /// One ended, well or not.
    Tried(Try),
}

/// A try that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    pub(super) is_good: bool,
    pub(super) took: Duration,
    pub(super) ended: Instant,
}

impl Disk {
    pub(super) fn start(folder: PathBuf, limit: Duration) -> Self {
        let first = Try { is_good: true, took: Duration::ZERO, ended: Instant::now() };
        let state = Arc::new(Mutex::new(State::Tried(first)));
        let (stop, stopped) = channel();
        let shared = Arc::downgrade(&state);
        let path = folder.join(format!("self-test.{}", std::process::id()));
        let spawned = std::thread::Builder::new().name("disk-test".to_owned()).spawn(move || {
            loop {
                let began = Instant::now();
                if !set(&shared, State::Trying(began)) {
                    break;
                }
                let is_good = try_once(&path);
                let ended = Try { is_good, took: began.elapsed(), ended: Instant::now() };
                set(&shared, State::Tried(ended));
                if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "the disk is not looked at");
        }
        Self { state, limit, _stop: stop }
    }

    /// How the last try ended, or whether the one that goes on is still in time.
    pub(super) fn is_good(&self) -> bool {
        match self.now() {
            State::Trying(since) => since.elapsed() <= self.limit,
            State::Tried(last) => last.is_good,
        }
    }

    /// The last try; what has passed of the one that goes on, when it does.
    pub(super) fn last(&self) -> Result<Try, Duration> {
        match self.now() {
            State::Trying(since) => Err(since.elapsed()),
            State::Tried(last) => Ok(last),
        }
    }

    fn now(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// False when nobody wants to know any more.
fn set(state: &Weak<Mutex<State>>, now: State) -> bool {
    let Some(state) = state.upgrade() else { return false };
    *state.lock().unwrap_or_else(PoisonError::into_inner) = now;
    true
}

fn try_once(path: &Path) -> bool {
    let is_good = fs::write(path, WRITTEN).is_ok()
        && fs::File::open(path).and_then(|file| file.sync_data()).is_ok()
        && fs::read(path).is_ok_and(|read| read == WRITTEN);
    // One that cannot be removed is written over the next time.
    let _ = fs::remove_file(path);
    is_good
}

const WRITTEN: &[u8] = b"self-test";
/// Between two tries: a write with a sync costs a spinning disk something.
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_takes_nothing_fails_and_one_that_does_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert!(try_once(&folder.path().join("self-test")));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(!try_once(&folder.path().join("absent/self-test")));
    }

    #[test]
    fn a_try_that_hangs_is_a_failure_once_it_is_late() {
        let disk =
            |state, limit| Disk { state: Arc::new(Mutex::new(state)), limit, _stop: channel().0 };
        let trying = State::Trying(Instant::now());
        assert!(disk(trying, Duration::from_secs(3600)).is_good());
        assert!(!disk(trying, Duration::ZERO).is_good());
        let failed = Try { is_good: false, took: Duration::ZERO, ended: Instant::now() };
        let disk = disk(State::Tried(failed), Duration::ZERO);
        assert!(!disk.is_good() && disk.last().is_ok_and(|last| !last.is_good));
    }
}
