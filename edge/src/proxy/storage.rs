//! The store behind Pingora's storage traits: the only file that knows them.
//!
//! Pingora's cache is used as a state machine alone. What it would decide by itself (freshness, stale windows) is
//! decided in `cache`: metadata is handed over with windows that never close, and the proxy narrows them.
//! Invariant: a fill that fails is an error for every reader, never an end.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use pingora::{
    Error, ErrorType, Result,
    cache::{
        CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType,
        Storage,
        key::CacheHashKey,
        storage::{HandleHit, HandleMiss, MissFinishType, streaming_write::U64WriteId},
        trace::SpanHandle,
    },
    http::ResponseHeader,
};

use crate::{
    cache::{
        body::Body,
        budget::Reservation,
        key::Key,
        object::Head,
        store::{Fill, Found, Store},
    },
    metrics::Metrics,
};

/// The store as Pingora sees it.
pub struct StoreAdapter {
    store: Store,
    metrics: Metrics,
}

/// A head that may be stored, with the room for its body. Travels in the metadata's extensions from the phase that
/// judges a response to the one that stores it, and is taken there.
#[derive(Clone)]
pub(super) struct Admission(Arc<Mutex<Option<(Head, Reservation)>>>);

/// What a lookup found; in the metadata's extensions.
#[derive(Clone)]
pub struct Lookup {
    /// The stored head.
    pub head: Arc<Head>,
    /// The fill that made it.
    pub fill: u64,
    /// Whether it is still arriving.
    pub is_in_flight: bool,
}

impl StoreAdapter {
    /// An adapter. Pingora wants it to live for ever: whoever builds the node leaks it once.
    #[must_use]
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Forgets what a lookup found.
    pub fn remove(&self, key: &CacheKey, found: &Lookup) {
        self.store.remove(store_key(key), found.fill);
    }
}

impl Admission {
    /// Admits a response.
    #[must_use]
    pub(super) fn new(head: Head, room: Reservation) -> Self {
        Self(Arc::new(Mutex::new(Some((head, room)))))
    }

    fn take(meta: &CacheMeta) -> Result<(Head, Reservation)> {
        let admission = meta.extensions().get::<Self>();
        admission
            .and_then(|admission| admission.0.lock().unwrap_or_else(PoisonError::into_inner).take())
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a fill without admission"))
    }
}

#[async_trait]
impl Storage for StoreAdapter {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(found) = self.store.lookup(&store_key(key)) else { return Ok(None) };
        let meta = meta_of(&found, key.variance_bin().is_some());
        Ok(Some((meta, Box::new(Reader { body: found.body }))))
    }

    async fn lookup_streaming_write(
        &'static self,
        key: &CacheKey,
        tag: Option<&[u8]>,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let id = tag.and_then(|tag| U64WriteId::try_from(tag).ok()).map(u64::from);
        let Some(found) = id.and_then(|id| self.store.lookup_fill(&store_key(key), id)) else {
            return Ok(None);
        };
        let meta = meta_of(&found, key.variance_bin().is_some());
        Ok(Some((meta, Box::new(Reader { body: found.body }))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let (mut head, room) = Admission::take(meta)?;
        head.variance = meta.variance();
        head.provenance = meta.provenance();
        let fill = self.store.begin(store_key(key), head, room);
        Ok(Box::new(FillWriter {
            tag: fill.id().into(),
            fill: Some(fill),
            began: Instant::now(),
            metrics: self.metrics.clone(),
        }))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _kind: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        self.store.forget(&store_key(target.key()));
        Ok(PurgeOutcome::Purged(None))
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        let Some(confirmed) = meta.extensions().get::<Lookup>() else { return Ok(false) };
        let (mut head, _room) = Admission::take(meta)?;
        head.variance = confirmed.head.variance;
        head.created = confirmed.head.created;
        head.provenance = confirmed.head.provenance;
        head.length = confirmed.head.length;
        self.metrics.fills.with_label_values(&["confirmed"]).inc();
        Ok(self.store.refresh(store_key(key), confirmed.fill, head))
    }

    fn support_streaming_partial_write(&self) -> bool {
        true
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// Reads a body for Pingora.
struct Reader {
    body: Body,
}

#[async_trait]
impl HandleHit for Reader {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        self.body.read().await.map_err(|error| {
            Error::because(ErrorType::ReadError, "reading a stored response", error)
        })
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        self.body.seek(start as u64, end.map(|end| end as u64));
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// Writes a fill for Pingora. Dropped without `finish`, the fill has failed.
struct FillWriter {
    fill: Option<Fill>,
    tag: U64WriteId,
    began: Instant,
    metrics: Metrics,
}

#[async_trait]
impl HandleMiss for FillWriter {
    async fn write_body(&mut self, data: Bytes, _eof: bool) -> Result<()> {
        let Some(fill) = &mut self.fill else { return Ok(()) };
        fill.write(&data).map_err(|error| {
            Error::because(ErrorType::InternalError, "storing a response", error).into_up()
        })
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        let Some(fill) = self.fill.take() else {
            return Error::e_explain(ErrorType::InternalError, "a fill finished twice");
        };
        match fill.finish() {
            Ok(bytes) => {
                self.metrics.fills.with_label_values(&["stored"]).inc();
                self.metrics.fill_seconds.observe(self.began.elapsed().as_secs_f64());
                Ok(MissFinishType::Created(usize::try_from(bytes).unwrap_or(usize::MAX)))
            }
            Err(error) => {
                self.metrics.fills.with_label_values(&["failed"]).inc();
                Error::e_because(ErrorType::InternalError, "storing a response", error)
            }
        }
    }

    fn streaming_write_tag(&self) -> Option<&[u8]> {
        Some(self.tag.as_bytes())
    }
}

impl Drop for FillWriter {
    fn drop(&mut self) {
        if self.fill.is_some() {
            self.metrics.fills.with_label_values(&["failed"]).inc();
        }
    }
}

/// The key in the store: of the resource, or of one of its variants.
fn store_key(key: &impl CacheHashKey) -> Key {
    let primary = Key(key.primary_bin());
    key.variance_bin().map_or(primary, |variance| primary.variant(&variance))
}

/// Metadata for Pingora. The first slot of a resource speaks for the family of its variants, so its provenance is
/// what Pingora compares the others' creation with.
fn meta_of(found: &Found, is_variant: bool) -> CacheMeta {
    let head = &found.head;
    let mut header = head.response_header();
    if let Some(bytes) = found.bytes.filter(|_| may_have_length(head)) {
        // Known only now where the response came in chunks; it makes ranges possible.
        let _ = header.insert_header(CONTENT_LENGTH, bytes);
    }
    let created = if is_variant { head.created } else { head.provenance };
    let mut meta = stale_forever(created, header);
    if let Some(variance) = head.variance {
        meta.set_variance(variance);
    }
    meta.extensions_mut().insert(Lookup {
        head: head.clone(),
        fill: found.fill,
        is_in_flight: found.is_in_flight,
    });
    meta
}

/// Metadata that leaves every decision about freshness to us.
#[must_use]
pub(super) fn stale_forever(created: SystemTime, header: ResponseHeader) -> CacheMeta {
    CacheMeta::new(SystemTime::now(), created, u32::MAX, u32::MAX, header)
}

impl Head {
    /// The head as Pingora has it.
    pub(super) fn response_header(&self) -> ResponseHeader {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = self.status;
        parts.headers = self.headers.clone();
        parts.into()
    }
}

fn may_have_length(head: &Head) -> bool {
    !matches!(head.status.as_u16(), 204 | 304) && !head.headers.contains_key(CONTENT_LENGTH)
}
