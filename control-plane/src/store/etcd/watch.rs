//! To be told when a key changes.
//!
//! A watch that breaks off is opened again at the next member. Nothing hangs on a watch alone: whoever follows a key
//! also looks now and then, so that a member that has gone silent costs a moment and no more.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, metadata::MetadataValue, transport::Channel};

use super::{
    client::Client,
    wire::{
        WatchCreateRequest, WatchRequest, WatchResponse, watch_client::WatchClient, watch_request,
    },
};

/// Changes of one key from now on.
struct Watch {
    down: Streaming<WatchResponse>,
    _up: mpsc::Sender<WatchRequest>,
}

impl Watch {
    /// Watches a key at a member.
    async fn open(member: Channel, key: &str) -> Result<Self, Status> {
        let (up, ups) = mpsc::channel(1);
        let create = WatchCreateRequest {
            key: bytes::Bytes::copy_from_slice(key.as_bytes()),
            ..WatchCreateRequest::default()
        };
        let create = watch_request::RequestUnion::CreateRequest(create);
        let create = WatchRequest { request_union: Some(create) };
        let _ = up.try_send(create);
        let mut request = Request::new(ReceiverStream::new(ups));
        // A member that lost the others ends the watch instead of keeping silent.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let mut watch = WatchClient::new(member);
        let opened = timeout(OPEN_TIMEOUT, watch.watch(request)).await;
        let opened = opened.map_err(|_| Status::deadline_exceeded("no answer in time"))?;
        Ok(Self { down: opened?.into_inner(), _up: up })
    }

    /// Waits for a change, or for the watch to begin.
    async fn changed(&mut self) -> Result<(), Status> {
        match self.down.message().await? {
            Some(response) if response.canceled => Err(Status::aborted(response.cancel_reason)),
            Some(_) => Ok(()),
            None => Err(Status::aborted("the watch has ended")),
        }
    }
}

/// Calls `look` at once, whenever the key changes, and at least every `every`; until the task is stopped. What fails is
/// tried again after a pause.
pub(super) async fn follow<F>(client: &Client, key: &str, every: Duration, look: impl Fn() -> F)
where
    F: Future<Output = ()>,
{
    loop {
        let member = client.member();
        let watched = async {
            let mut watch = Watch::open(member.channel.clone(), key).await?;
            loop {
                look().await;
                // No change, or too long without one, are both a reason to look.
                if let Ok(changed) = timeout(every, watch.changed()).await {
                    changed?;
                }
            }
        };
        let end: Result<(), Status> = watched.await;
        if let Err(status) = end {
            tracing::debug!(key, error = status.message(), "a watch broke off");
        }
        client.turn(&member);
        look().await;
        tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
    }
}

const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
