//! The file of a segment, as records are read from it and written to it.
//!
//! The one place where this tier waits for the disk, so that tests can make it wait for long. Invariant: whoever serves
//! clients calls [`Device::read_now`] alone, which never waits.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
};

use bytes::Bytes;
use rustix::io::ReadWriteFlags;

/// An open file.
#[derive(Debug)]
pub(super) struct Device {
    file: File,
    #[cfg(test)]
    folder: std::path::PathBuf,
}

impl Device {
    /// A file that was opened by its path.
    pub(super) fn new(
        file: File,
        #[cfg_attr(not(test), expect(unused))] path: &std::path::Path,
    ) -> Self {
        Self {
            file,
            #[cfg(test)]
            folder: path.parent().unwrap_or(path).to_owned(),
        }
    }

    /// The file itself, for what happens when it is opened and closed.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        hold::wait(&self.folder);
        self.file.read_exact_at(bytes, at)
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        hold::wait(&self.folder);
        self.file.write_all_at(bytes, at)
    }

    /// Reads bytes if the kernel has all of them in memory.
    pub(super) fn read_now(&self, at: u64, length: usize) -> Option<Bytes> {
        #[cfg(test)]
        if hold::is_held(&self.folder) {
            return None;
        }
        let mut bytes = vec![0; length];
        let mut into = [IoSliceMut::new(&mut bytes)];
        let read = rustix::io::preadv2(&self.file, &mut into, at, ReadWriteFlags::NOWAIT).ok()?;
        (read == length).then(|| bytes.into())
    }
}

#[cfg(test)]
pub(in crate::cache) mod hold {
    //! A disk that answers nothing for as long as a test likes.

    use std::{
        collections::HashSet,
        path::{Path, PathBuf},
        sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    };

    /// While this lives, no read and no write in a folder ends.
    pub(in crate::cache) struct Held(PathBuf);

    impl Held {
        pub(in crate::cache) fn new(folder: &Path) -> Self {
            folders().insert(folder.to_owned());
            Self(folder.to_owned())
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            folders().remove(&self.0);
            RELEASED.notify_all();
        }
    }

    pub(super) fn wait(folder: &Path) {
        let held = RELEASED.wait_while(folders(), |held| held.contains(folder));
        drop(held.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn is_held(folder: &Path) -> bool {
        folders().contains(folder)
    }

    fn folders() -> MutexGuard<'static, HashSet<PathBuf>> {
        FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    static FOLDERS: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);
    static RELEASED: Condvar = Condvar::new();
}
