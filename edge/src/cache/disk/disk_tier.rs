//! What a disk tier does, whatever its layout.
//!
//! Invariant: nothing here fails. What cannot be read is not there, and what cannot be written is not kept.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{body::DiskBody, index::Place};
use crate::cache::{
    budget::Reservation,
    key::Key,
    object::{Head, Object},
    variants::Variants,
};

/// A disk tier. What it cannot do it counts.
pub trait DiskTier: Send + Sync {
    /// What stands under a key, if anything. From memory alone.
    fn find(&self, key: &Key) -> Option<What>;

    /// Reads and checks what stands under a key; `None` when that cannot be had now.
    fn open(&self, key: Key) -> BoxFuture<'static, Option<Opened>>;

    /// Reads an object as a whole in the background and hands it on.
    fn load(&self, key: Key, place: Place, then: Box<dyn FnOnce(Loaded) + Send>);

    /// Whether what was read is still what stands under the key.
    fn is_current(&self, key: &Key, place: Place, fill: u64) -> bool;

    /// Takes an object to be written. From now on nothing older stands under its key.
    fn put(&self, key: Key, object: &Arc<Object>);

    /// Takes the variants of a resource to be written.
    fn put_variants(&self, key: Key, variants: &Arc<Variants>);

    /// Gives the object that a fill made a newer head; whether there is something under the key.
    fn set_head(&self, key: Key, fill: u64, head: &Arc<Head>) -> bool;

    /// Forgets what stands under a key, and what waits to be written for it.
    fn remove(&self, key: &Key);

    /// The highest number of a fill that is on disk.
    fn last_fill(&self) -> u64;

    /// Whether it is still to come, and only notes what changes until then.
    fn is_awaited(&self) -> bool {
        false
    }

    /// How much it holds.
    fn sizes(&self) -> Sizes;

    /// Waits, blocking, until everything that was put was written or given up.
    fn settle(&self);
}

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A response.
    Object,
    /// The variants of a resource.
    Variants,
}

/// What stands under a key on disk, read.
pub enum Opened {
    /// A response.
    Object(OnDisk),
    /// The variants of a resource.
    Variants(Arc<Variants>),
}

/// A response on disk whose head was read.
pub struct OnDisk {
    /// Its head.
    pub head: Arc<Head>,
    /// The fill that made it.
    pub fill: u64,
    /// The length of its body.
    pub bytes: u64,
    /// Its body.
    pub content: Content,
    /// Where it stands.
    pub place: Place,
    /// Whether it was read before, since it was written or the process began.
    pub is_hot: bool,
}

/// The body of a response on disk.
pub enum Content {
    /// Read and checked as a whole, in pieces, with the room that it takes.
    Whole(Vec<Bytes>, Reservation),
    /// To be read.
    Stream(DiskBody),
}

/// An object that was read as a whole in the background.
pub struct Loaded {
    /// Its head.
    pub head: Arc<Head>,
    /// The fill that made it.
    pub fill: u64,
    /// Its body in pieces.
    pub pieces: Vec<Bytes>,
    /// The room that it takes of the read buffers.
    pub room: Reservation,
}

/// How much a disk tier holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of all files.
    pub bytes: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
    /// Bytes of read buffers in use.
    pub read_bytes: u64,
}

/// Why the disk tier cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, locked or read.
    #[error("cannot use the folder cache.disk.path {0}: {1}")]
    Folder(PathBuf, io::Error),
    /// The purges are not journaled beside it, so that what was purged could come back after a restart.
    #[error("cache.disk.path {0} has no journal of purges")]
    NoJournal(PathBuf),
}
