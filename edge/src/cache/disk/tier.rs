//! The disk tier as a log of segments: its parts put together.
//!
//! Invariant: nobody who calls this waits for the disk, but through a future or by asking to.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicU64, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use super::{
    body::{DiskBody, READER_BYTES, Source},
    config::Config,
    disk_tier::{Content, DiskTier, Loaded, OnDisk, OpenError, Opened, Sizes, What},
    head_block,
    index::{Index, Place},
    pool::Pool,
    queue::{Job, Queue},
    reader::{self, Lead, Whole},
    record::Kind,
    segment::{self, Segment},
    shared::Shared,
    writer::{Limits, Writer},
};
use crate::cache::{
    budget::Budget,
    key::Key,
    metrics::Metrics,
    object::{Head, Object},
    variants::Variants,
};

/// A disk tier in the form of a log. Closes its last file when it is dropped.
pub struct LogTier {
    shared: Arc<Shared>,
}

impl LogTier {
    /// Opens the tier in a folder that exists and belongs to this process, and makes the index anew. Files of another
    /// identity are deleted.
    ///
    /// # Errors
    /// [`OpenError`] when the folder cannot be read, or no thread be started.
    pub fn open(
        folder: &Path,
        config: &Config,
        identity: u64,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        let limits = Limits {
            bytes_max: config.bytes.as_u64(),
            segment_bytes: config.segment_bytes(),
            objects_max: config.objects_max,
        };
        Self::open_with(folder, config, limits, identity, metrics)
            .map_err(|error| OpenError::Folder(folder.to_owned(), error))
    }

    pub(super) fn open_with(
        folder: &Path,
        config: &Config,
        limits: Limits,
        identity: u64,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let began = Instant::now();
        let index = Arc::new(recover(folder, identity, &metrics)?);
        let queue = Arc::new(Queue::new(config.write_queue.as_u64()));
        let writer = Writer::new(
            index.clone(),
            queue.clone(),
            metrics.clone(),
            folder.to_owned(),
            identity,
            limits,
        );
        std::thread::Builder::new().name("disk-write".to_owned()).spawn(move || writer.run())?;
        let took = began.elapsed();
        metrics.disk_recovery.set(took.as_secs_f64());
        metrics.disk_bytes.set(index.bytes().cast_signed());
        metrics.disk_objects.set(index.len() as i64);
        tracing::info!(objects = index.len(), ms = took.as_millis(), "the disk tier is back");
        let shared = Shared {
            pool: Pool::start(config.read_threads)?,
            metrics,
            index,
            queue,
            buffers: Budget::new(config.read_buffers.as_u64()),
            limits,
            began,
            away_until_ms: AtomicU64::new(0),
            loading: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl LogTier {
    /// Gives up everything; nothing is found from now on.
    pub(super) fn remove_all(&self) {
        for segment in self.shared.index.all_segments() {
            self.shared.index.remove_all_of(segment.id);
        }
        self.shared.queue.wipe();
    }
}

impl DiskTier for LogTier {
    fn find(&self, key: &Key) -> Option<What> {
        let place = self.shared.index.find(key)?;
        let what = if place.kind == Kind::Variants { What::Variants } else { What::Object };
        (!self.shared.is_away()).then_some(what)
    }

    fn open(&self, key: Key) -> BoxFuture<'static, Option<Opened>> {
        let shared = self.shared.clone();
        async move { shared.open(key).await }.boxed()
    }

    fn load(&self, key: Key, place: Place, then: Box<dyn FnOnce(Loaded) + Send>) {
        let Some(room) = self.shared.buffers.reserve(place.bytes()) else { return };
        if !self.shared.begin_loading(key) {
            return;
        }
        let shared = self.shared.clone();
        self.shared.pool.give(Box::new(move || {
            if let Some((head, whole)) = shared.load(&key, place) {
                then(Loaded { head, fill: whole.fill, pieces: whole.pieces, room });
            }
            shared.loading().retain(|other| *other != key);
        }));
    }

    fn is_current(&self, key: &Key, place: Place, fill: u64) -> bool {
        self.shared.index.find(key) == Some(place)
            && self.shared.queue.waiting_head(key, fill).is_none()
    }

    fn put(&self, key: Key, object: &Arc<Object>) {
        // A record is at most a little longer than the object weighs.
        let is_too_large = object.bytes() > self.shared.limits.bytes_max / LARGEST_SHARE;
        let is_in_work = self.shared.queue.forget(&key);
        let replaces = self.shared.index.remove(&key) || is_in_work;
        let is_new = object.set_on_disk(true);
        let job = Job::Object { key, object: object.clone(), replaces };
        if !is_too_large && self.shared.queue.push(job) {
            return;
        }
        if is_new {
            self.shared.metrics.dropped(if is_too_large { "size" } else { "queue" });
        }
        object.set_on_disk(false);
        if replaces {
            self.shared.queue.push(Job::Gone(key));
        }
    }

    fn put_variants(&self, key: Key, variants: &Arc<Variants>) {
        self.shared.queue.forget(&key);
        if !self.shared.queue.push(Job::Variants(key, variants.clone())) {
            self.shared.metrics.dropped("queue");
            self.remove(&key);
        }
    }

    fn set_head(&self, key: Key, fill: u64, head: &Arc<Head>) -> bool {
        if self.shared.index.find(&key).is_none() {
            return false;
        }
        if !self.shared.queue.push(Job::Head(key, fill, head.clone())) {
            self.shared.metrics.dropped("queue");
            self.remove(&key);
        }
        true
    }

    fn remove(&self, key: &Key) {
        let is_in_work = self.shared.queue.forget(key);
        if self.shared.index.remove(key) || is_in_work {
            self.shared.queue.push(Job::Gone(*key));
        }
    }

    fn last_fill(&self) -> u64 {
        self.shared.index.last_fill()
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            bytes: self.shared.index.bytes(),
            objects: self.shared.index.len() as u64,
            waiting_bytes: self.shared.queue.bytes(),
            read_bytes: self.shared.buffers.taken(),
        }
    }

    fn settle(&self) {
        let (done, settled) = mpsc::sync_channel(1);
        self.shared.queue.push(Job::Settle(done));
        let _ = settled.recv_timeout(CLOSE_WAIT_MAX);
    }
}

impl Drop for LogTier {
    fn drop(&mut self) {
        let (done, closed) = mpsc::sync_channel(1);
        self.shared.queue.push(Job::Close(done));
        let _ = closed.recv_timeout(CLOSE_WAIT_MAX);
    }
}

/// Reading, beginning with a key.
impl Shared {
    async fn open(self: Arc<Self>, key: Key) -> Option<Opened> {
        let place = self.index.find(&key)?;
        let segment = self.index.segment(place.segment)?;
        let is_hot = self.index.count_use(&key) > 0;
        let is_small = place.bytes() <= WHOLE_BYTES_MAX;
        let whole_room = is_small.then(|| self.buffers.reserve(place.bytes())).flatten();
        if let Some(room) = whole_room {
            let whole = self.read_whole(segment, key, place).await?;
            if place.kind == Kind::Variants {
                let variants = head_block::decode_variants(&whole.head);
                let Some(variants) = variants else { return self.unreadable(&key, place) };
                return Some(Opened::Variants(Arc::new(variants)));
            }
            let head = self.head(&key, place, whole.fill, &whole.head)?;
            let bytes = whole.pieces.iter().map(|piece| piece.len() as u64).sum();
            let (fill, content) = (whole.fill, Content::Whole(whole.pieces, room));
            return Some(Opened::Object(OnDisk { head, fill, bytes, content, place, is_hot }));
        }
        let Some(room) = self.buffers.reserve(READER_BYTES) else {
            self.metrics.disk_error("busy");
            return None;
        };
        let lead = self.read_lead(segment.clone(), key, place).await?;
        let (fill, bytes) = (lead.header.fill, lead.header.body_bytes);
        let head = self.head(&key, place, fill, &lead.head)?;
        let source = Source { tier: self, segment, key, place, lead };
        let content = Content::Stream(DiskBody::new(source, room));
        Some(Opened::Object(OnDisk { head, fill, bytes, content, place, is_hot }))
    }

    async fn read_whole(&self, segment: Arc<Segment>, key: Key, place: Place) -> Option<Whole> {
        let now = (place.bytes() <= NOW_BYTES_MAX)
            .then(|| segment.file.read_now(place.offset(), place.bytes() as usize))
            .flatten();
        let read = match now {
            Some(bytes) => reader::check_whole(bytes, &key, place),
            None => self.wait(move || reader::read_whole(&segment.file, &key, place)).await?,
        };
        self.checked(&key, place, read)
    }

    async fn read_lead(&self, segment: Arc<Segment>, key: Key, place: Place) -> Option<Lead> {
        let read = move || reader::read_lead(&segment.file, &key, place);
        let read = self.wait(read).await?;
        self.checked(&key, place, read)
    }

    /// An object as a whole, for a thread that may wait.
    fn load(&self, key: &Key, place: Place) -> Option<(Arc<Head>, Whole)> {
        let segment = self.index.segment(place.segment)?;
        let whole = self.checked(key, place, reader::read_whole(&segment.file, key, place))?;
        let head = self.head(key, place, whole.fill, &whole.head)?;
        Some((head, whole))
    }

    /// The head of an object: the newer one, where that still waits to be written.
    fn head(&self, key: &Key, place: Place, fill: u64, bytes: &Bytes) -> Option<Arc<Head>> {
        if let Some(head) = self.queue.waiting_head(key, fill) {
            return Some(head);
        }
        match head_block::decode(bytes) {
            Some(head) => Some(Arc::new(head)),
            None => self.unreadable(key, place),
        }
    }
}

/// The index, made anew from the files in a folder.
fn recover(folder: &Path, identity: u64, metrics: &Metrics) -> std::io::Result<Index> {
    let index = Index::new();
    for id in segment::list(folder)? {
        match Segment::open(folder, id, identity) {
            Ok(Some((segment, entries))) => {
                let segment = Arc::new(segment);
                index.add_segment(segment.clone());
                entries.iter().for_each(|entry| index.put(&segment, entry));
            }
            refused => {
                let error = refused.err();
                tracing::warn!(id, ?error, "a file of the disk tier cannot be used: deleted");
                metrics.disk_error("damaged");
                let _ = std::fs::remove_file(segment::path_of(folder, id));
            }
        }
    }
    Ok(index)
}

/// What is read and checked as a whole before it is served: slices, parts and most segments of low renditions.
const WHOLE_BYTES_MAX: u64 = (1 << 20) + (64 << 10);
/// What is read without another thread where the kernel has it in memory.
const NOW_BYTES_MAX: u64 = 128 << 10;
/// One object may take at most this part of the disk, as a divisor.
const LARGEST_SHARE: u64 = 8;
/// How long one waits for the writer at the end.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);
