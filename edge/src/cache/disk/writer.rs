//! The one thread that writes: records to the open file, and whole files away when there are too many bytes.
//!
//! Files go oldest first; what was read since it was written goes on in the newest file, as long as that is less than
//! half of what is given up. A failure to write costs what was to be written, and a pause. Invariant: the index is told
//! of a record only after all of it was written.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    device::Device,
    head_block,
    index::{Index, Place},
    queue::{Job, Next, Queue},
    reader::{Whole, read_whole},
    record::{Header, Kind, UNIT_BYTES},
    segment::{Entry, FIRST_AT, Segment},
};
use crate::cache::{key::Key, metrics::Metrics, object::Object};

/// The state of the thread.
pub(super) struct Writer {
    pub(super) index: Arc<Index>,
    pub(super) queue: Arc<Queue>,
    pub(super) metrics: Metrics,
    pub(super) folder: PathBuf,
    pub(super) identity: u64,
    pub(super) limits: Limits,
    open: Option<Open>,
    last_id: u32,
    /// Keys whose going could not be written yet.
    owed: Vec<Key>,
    pause: Pause,
}

/// How much may be on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes_max: u64,
    pub(super) segment_bytes: u64,
    pub(super) objects_max: usize,
}

/// The file that is being written.
struct Open {
    segment: Arc<Segment>,
    at: u64,
    entries: Vec<Entry>,
}

/// After a failure nothing is written for a while, longer with every further one.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

/// A record to be written.
struct Record<'a> {
    kind: Kind,
    key: Key,
    fill: u64,
    head: &'a [u8],
    pieces: &'a [Bytes],
}

impl Writer {
    pub(super) fn new(
        index: Arc<Index>,
        queue: Arc<Queue>,
        metrics: Metrics,
        folder: PathBuf,
        identity: u64,
        limits: Limits,
    ) -> Self {
        let last_id = index.all_segments().last().map_or(0, |segment| segment.id);
        Self {
            index,
            queue,
            metrics,
            folder,
            identity,
            limits,
            open: None,
            last_id,
            owed: Vec::new(),
            pause: Pause::default(),
        }
    }

    /// Writes until it is told to close.
    pub(super) fn run(mut self) {
        loop {
            match self.queue.next(WAKE_EVERY) {
                Next::Job(Job::Close(done)) => {
                    self.close();
                    let _ = done.send(());
                    return;
                }
                Next::Job(Job::Settle(done)) => {
                    self.settle_debts();
                    let _ = done.send(());
                }
                Next::Job(job) => self.take(job),
                Next::Wipe => self.wipe(),
                Next::Nothing => self.settle_debts(),
            }
            self.metrics.disk_bytes.set(self.index.bytes().cast_signed());
            self.metrics.disk_objects.set(self.index.len() as i64);
        }
    }

    fn take(&mut self, job: Job) {
        let is_gone = matches!(job, Job::Gone(_));
        if let Job::Gone(key) = &job {
            self.owe(*key);
        }
        if self.pause.is_on() {
            if !is_gone {
                self.metrics.dropped("pause");
                self.drop_job(&job);
            }
            return;
        }
        let done = if is_gone { self.pay_debts() } else { self.write(&job) };
        match done {
            Ok(()) => self.pause = Pause::default(),
            Err(error) => {
                self.failed(&error);
                self.drop_job(&job);
            }
        }
        self.queue.finish(|| {});
    }

    fn write(&mut self, job: &Job) -> io::Result<()> {
        match job {
            Job::Object { key, object, .. } => self.write_object(*key, object),
            Job::Variants(key, variants) => {
                let head = head_block::encode_variants(variants);
                let record =
                    Record { kind: Kind::Variants, key: *key, fill: 0, head: &head, pieces: &[] };
                self.write_and_publish(&record)
            }
            Job::Head(key, fill, head) => {
                let Some(place) = self.index.find(key) else { return Ok(()) };
                let Some((segment, whole)) = self.read(key, place) else { return Ok(()) };
                drop(segment);
                if whole.fill != *fill {
                    return Ok(());
                }
                let head = head_block::encode(head);
                let pieces = &whole.pieces;
                let record =
                    Record { kind: Kind::Object, key: *key, fill: *fill, head: &head, pieces };
                self.write_and_publish(&record)
            }
            Job::Gone(_) | Job::Settle(_) | Job::Close(_) => Ok(()),
        }
    }

    fn write_object(&mut self, key: Key, object: &Object) -> io::Result<()> {
        let head = head_block::encode(&object.head);
        let record = Record {
            kind: Kind::Object,
            key,
            fill: object.fill,
            head: &head,
            pieces: object.pieces.list(),
        };
        self.write_and_publish(&record)?;
        self.metrics.disk_writes.inc();
        Ok(())
    }

    fn write_and_publish(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.make_room(record.total_bytes());
        let (segment, entry) = self.append(record)?;
        let index = &self.index;
        self.queue.finish(|| index.put(&segment, &entry));
        Ok(())
    }

    /// What becomes of a job that was not done: what stood on disk for its key does not count any more.
    fn drop_job(&mut self, job: &Job) {
        match job {
            Job::Object { key, object, replaces } => {
                object.set_on_disk(false);
                if *replaces {
                    self.owe(*key);
                }
            }
            Job::Head(key, ..) if self.index.remove(key) => self.owe(*key),
            _ => {}
        }
        self.queue.finish(|| {});
    }

    /// That nothing stands under a key is to be written.
    fn owe(&mut self, key: Key) {
        self.owed.push(key);
        if self.owed.len() > OWED_MAX {
            self.wipe();
        }
    }

    /// Writes a record behind the others of the open file.
    fn append(&mut self, record: &Record<'_>) -> io::Result<(Arc<Segment>, Entry)> {
        let total = record.total_bytes();
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.at > FIRST_AT && open.at + total > self.limits.segment_bytes)
        {
            self.rotate()?;
        }
        if self.open.is_none() {
            self.open = Some(self.create()?);
        }
        let open = self.open.as_mut().expect("made above");
        let at = open.at;
        if let Err(error) = record.write_to(&open.segment.file, at) {
            // What was half written is written over by the next record, or cut off at the next start.
            let _ = open.segment.file.file().set_len(at);
            return Err(error);
        }
        let units = |bytes: u64| u32::try_from(bytes / UNIT_BYTES).map_err(io::Error::other);
        let entry = Entry {
            kind: record.kind,
            key: record.key,
            fill: record.fill,
            at: units(at)?,
            units: units(total)?,
        };
        open.at += total;
        open.segment.set_bytes(open.at);
        open.entries.push(entry);
        Ok((open.segment.clone(), entry))
    }

    fn create(&mut self) -> io::Result<Open> {
        // The number is used up even when the file cannot be made.
        self.last_id = self.last_id.wrapping_add(1);
        let segment = Arc::new(Segment::create(&self.folder, self.last_id, self.identity)?);
        self.index.add_segment(segment.clone());
        Ok(Open { segment, at: FIRST_AT, entries: Vec::new() })
    }

    /// Closes the open file.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        open.segment.close(open.at, &open.entries)?;
        for segment in self.index.all_segments() {
            if segment.live() == 0 {
                self.give_up(&segment);
            }
        }
        Ok(())
    }

    /// Gives up the oldest files until a record of this length fits.
    fn make_room(&mut self, bytes: u64) {
        while self.index.bytes() + bytes > self.limits.bytes_max
            || self.index.len() >= self.limits.objects_max
        {
            if !self.reclaim() {
                return;
            }
        }
    }

    /// Gives up the oldest file, but what of it was read.
    fn reclaim(&mut self) -> bool {
        let segments = self.index.all_segments();
        let Some(oldest) = segments.first() else { return false };
        if self.open.as_ref().is_some_and(|open| open.segment.id == oldest.id)
            && self.rotate().is_err()
        {
            self.open = None;
        }
        let Ok(Some(entries)) = oldest.entries() else {
            self.index.remove_all_of(oldest.id);
            self.give_up(oldest);
            return true;
        };
        let mut kept_bytes_left = oldest.bytes() / KEPT_SHARE;
        for entry in entries {
            let Entry { kind, key, at, units, .. } = entry;
            let place = Place { segment: oldest.id, at, units, kind };
            let Some(uses) = self.index.uses_of(&key, place) else { continue };
            let is_kept = uses > 0 && place.bytes() <= kept_bytes_left && self.keep(&key, place);
            if is_kept {
                kept_bytes_left -= place.bytes();
            } else {
                self.index.remove_at(&key, place);
            }
        }
        self.give_up(oldest);
        true
    }

    /// Writes a record once more, as the newest.
    fn keep(&mut self, key: &Key, place: Place) -> bool {
        let Some((_, whole)) = self.read(key, place) else { return false };
        let record = Record {
            kind: place.kind,
            key: *key,
            fill: whole.fill,
            head: &whole.head,
            pieces: &whole.pieces,
        };
        let Ok((segment, entry)) = self.append(&record) else { return false };
        // Whoever forgot it meanwhile took the old place out, and says so behind this record.
        self.index.move_to(&segment, &entry, place);
        true
    }

    fn read(&mut self, key: &Key, place: Place) -> Option<(Arc<Segment>, Whole)> {
        let segment = self.index.segment(place.segment)?;
        match read_whole(&segment.file, key, place) {
            Ok(whole) => Some((segment, whole)),
            Err(damage) => {
                self.metrics.disk_error(damage.as_str());
                if self.index.remove_at(key, place) {
                    self.owe(*key);
                }
                None
            }
        }
    }

    fn give_up(&self, segment: &Segment) {
        self.index.drop_segment(segment.id);
        if let Err(error) = segment.delete() {
            tracing::warn!(%error, "a file of the disk tier cannot be deleted");
            self.metrics.disk_error("delete");
        }
    }

    fn settle_debts(&mut self) {
        if self.owed.is_empty() || self.pause.is_on() {
            return;
        }
        if let Err(error) = self.pay_debts() {
            self.failed(&error);
        }
    }

    /// Writes what is gone.
    fn pay_debts(&mut self) -> io::Result<()> {
        while let Some(key) = self.owed.last().copied() {
            let record = Record { kind: Kind::Gone, key, fill: 0, head: &[], pieces: &[] };
            let (segment, _) = self.append(&record)?;
            // Its entry was taken out when it went; what was put there since is newer.
            segment.add_live();
            self.owed.pop();
        }
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) {
        let is_full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let kind = if is_full { "full" } else { "write" };
        self.metrics.disk_error(kind);
        self.pause.begin();
        let pause_s = self.pause.length.as_secs();
        tracing::warn!(%error, pause_s, "the disk tier cannot write");
        if is_full {
            self.reclaim();
        } else {
            // Nobody knows what became of it. What it has may still be read.
            self.open = None;
        }
    }

    /// Gives up everything.
    fn wipe(&mut self) {
        tracing::warn!("the disk tier is given up and begun anew");
        self.open = None;
        for segment in self.index.all_segments() {
            self.index.remove_all_of(segment.id);
            self.give_up(&segment);
        }
        self.owed.clear();
    }

    fn close(&mut self) {
        self.settle_debts();
        if let Err(error) = self.rotate() {
            tracing::warn!(%error, "the last file of the disk tier could not be closed");
        }
    }
}

impl Pause {
    fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    fn begin(&mut self) {
        self.length = (self.length * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.until = Some(Instant::now() + self.length);
    }
}

impl Record<'_> {
    fn header(&self) -> Header {
        Header {
            kind: self.kind,
            key: self.key,
            fill: self.fill,
            head_bytes: u32::try_from(self.head.len()).unwrap_or(u32::MAX),
            body_bytes: self.pieces.iter().map(|piece| piece.len() as u64).sum(),
            head_crc: 0,
        }
    }

    fn total_bytes(&self) -> u64 {
        self.header().total_bytes()
    }

    fn write_to(&self, file: &Device, at: u64) -> io::Result<()> {
        let mut header = self.header();
        let mut lead = Vec::with_capacity(header.lead_bytes());
        lead.extend_from_slice(self.head);
        for (number, piece) in self.pieces.iter().enumerate() {
            lead.extend_from_slice(&header.crc_of_piece(number, piece).to_le_bytes());
        }
        header.head_crc = header.crc_of_lead(&lead);
        let encoded = header.encode();
        if Header::parse(&encoded).is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too large for a record"));
        }
        // One write for what is small.
        let mut buffer = Vec::with_capacity(WRITE_BYTES.min(header.total_bytes() as usize));
        let mut at = at;
        buffer.extend_from_slice(&encoded);
        buffer.extend_from_slice(&lead);
        for piece in self.pieces {
            if buffer.len() + piece.len() > WRITE_BYTES {
                file.write_all_at(&buffer, at)?;
                at += buffer.len() as u64;
                buffer.clear();
            }
            buffer.extend_from_slice(piece);
        }
        let padding = header.total_bytes() - header.body_at() - header.body_bytes;
        buffer.resize(buffer.len() + padding as usize, 0);
        file.write_all_at(&buffer, at)
    }
}

/// Written at once: few calls without holding much.
const WRITE_BYTES: usize = 512 * 1024;
/// The part of a file, as a divisor, that may go on in the newest file when it is given up.
const KEPT_SHARE: u64 = 2;
/// Keys that are gone and could not be written; beyond this everything is given up.
const OWED_MAX: usize = 65_536;
/// How often debts are looked at when nothing else happens.
const WAKE_EVERY: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
