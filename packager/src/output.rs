//! Immutable objects of one packaging attempt.
//!
//! Every object is written once under the attempt's epoch; writing one twice is an error, whoever tries.
//! Manifests are not written here: they travel in a publication and origin writes them, after these.
//!
//! **Invariant.** When [`Output::put`] returns, the object is stored for good.

use bytes::Bytes;
use object_store::{PutMode, PutOptions, PutPayload, path::Path};
use tidegate_contract::{
    id::MediaId,
    media_path::{MediaObject, MediaPath},
};

use crate::{metrics::Metrics, store::Store};

/// Where one attempt writes.
#[derive(Debug)]
pub struct Output {
    store: Store,
    media: MediaId,
    epoch: u64,
    metrics: Metrics,
    bytes: u64,
    bytes_max: u64,
}

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The attempt made more than any upload can be worth.
    #[error("the renditions have more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The store failed, or has the object already.
    #[error("an object cannot be written: {0}")]
    Store(#[from] object_store::Error),
}

impl Output {
    /// The output of one attempt.
    #[must_use]
    pub fn new(store: Store, media: MediaId, epoch: u64, metrics: Metrics, bytes_max: u64) -> Self {
        Self { store, media, epoch, metrics, bytes: 0, bytes_max }
    }

    /// Writes an object of the URL layout.
    ///
    /// # Errors
    /// [`OutputError`].
    pub async fn put(&mut self, object: MediaObject, bytes: Bytes) -> Result<(), OutputError> {
        let path = MediaPath::Object { media: self.media.clone(), epoch: self.epoch, object };
        let key = path.object_key().expect("every object has a key");
        self.write(&key, bytes).await
    }

    /// Writes a still for feature extraction; it has no URL.
    ///
    /// # Errors
    /// [`OutputError`].
    pub async fn put_still(&mut self, number: u32, bytes: Bytes) -> Result<(), OutputError> {
        let key = format!("stills/{}/{}/{number:06}.jpg", self.media, self.epoch);
        self.write(&key, bytes).await
    }

    /// Whose objects these are.
    #[must_use]
    pub fn media(&self) -> &MediaId {
        &self.media
    }

    /// The attempt.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn write(&mut self, key: &str, bytes: Bytes) -> Result<(), OutputError> {
        let length = bytes.len() as u64;
        if self.bytes.saturating_add(length) > self.bytes_max {
            return Err(OutputError::TooLarge { limit: self.bytes_max });
        }
        self.bytes += length;
        let once = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(bytes);
        self.store.objects().put_opts(&Path::from(key), payload, once).await?;
        self.metrics.objects.inc();
        self.metrics.object_bytes.inc_by(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};
    use prometheus::Registry;
    use tidegate_contract::id::RenditionId;

    use super::*;

    fn output(memory: &Arc<InMemory>) -> Output {
        let media = MediaId::parse("m1").expect("an id");
        let metrics = Metrics::register(&Registry::new());
        Output::new(Store::of(Arc::clone(memory) as Arc<dyn ObjectStore>), media, 3, metrics, 10)
    }

    fn segment(number: u64) -> MediaObject {
        MediaObject::Segment(RenditionId::parse("360p").expect("an id"), number)
    }

    #[tokio::test]
    async fn objects_lie_under_the_epoch_and_are_written_once() {
        let memory = Arc::new(InMemory::new());
        let mut output = output(&memory);
        output.put(segment(1), Bytes::from_static(b"one")).await.expect("written");
        output.put_still(7, Bytes::from_static(b"still")).await.expect("written");
        for key in ["m/m1/3/360p/1.m4s", "stills/m1/3/000007.jpg"] {
            memory.head(&Path::from(key)).await.expect(key);
        }
        let again = output.put(segment(1), Bytes::from_static(b"1")).await;
        assert!(matches!(again, Err(OutputError::Store(_))), "{again:?}");
    }

    #[tokio::test]
    async fn an_attempt_has_a_limit_of_bytes() {
        let mut output = output(&Arc::new(InMemory::new()));
        output.put(segment(1), Bytes::from_static(b"12345678")).await.expect("written");
        let more = output.put(segment(2), Bytes::from_static(b"123")).await;
        assert!(matches!(more, Err(OutputError::TooLarge { limit: 10 })), "{more:?}");
    }
}
