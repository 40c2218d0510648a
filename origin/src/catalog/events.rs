//! State and progress of a video as server-sent events.
//!
//! An event carries the whole video and the version of its media as id. A client that comes back with
//! `Last-Event-ID` gets only what is newer. **Invariant.** The last event of a final state is always sent before
//! the stream ends.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::sse::Event;
use futures::Stream;
use tidegate_contract::id::{MediaId, VideoId};
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast},
    time::Instant,
};

use crate::{
    app::App,
    catalog::{
        config::Config,
        model::{Media, Video},
        store,
        view::VideoView,
    },
};

/// One open event stream.
pub(super) struct Follow {
    app: App,
    config: Arc<Config>,
    video: VideoId,
    media: MediaId,
    changes: broadcast::Receiver<MediaId>,
    sent_version: Option<i64>,
    ends_at: Instant,
    is_done: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follow {
    pub(super) fn new(
        app: App,
        config: Arc<Config>,
        video: &Video,
        sent_version: Option<i64>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        app.metrics.event_streams.inc();
        Self {
            changes: app.changed_media.subscribe(),
            ends_at: Instant::now() + config.event_stream_age_max,
            app,
            config,
            video: video.id.clone(),
            media: video.media.clone(),
            sent_version,
            is_done: false,
            _permit: permit,
        }
    }

    /// The events, until the state is final, the stream is too old, or the process drains.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, |mut follow| async move {
            let event = follow.next().await?;
            Some((Ok(event), follow))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        while !self.is_done {
            match store::find_shown(&self.app.database, &self.video).await {
                Ok(Some((video, media))) => {
                    self.is_done = media.is_final();
                    if self.sent_version != Some(media.version) {
                        self.sent_version = Some(media.version);
                        return Some(state_event(&video, &media));
                    }
                }
                Ok(None) => {
                    self.is_done = true;
                    return Some(Event::default().event("deleted").data("{}"));
                }
                Err(error) => {
                    tracing::error!(%error, "an event stream cannot read the catalog");
                    return None;
                }
            }
            if !self.is_done && !self.wait().await {
                return None;
            }
        }
        None
    }

    /// Waits until the media may have changed; says whether the stream goes on.
    async fn wait(&mut self) -> bool {
        let poll = tokio::time::sleep(self.config.poll_interval);
        tokio::pin!(poll);
        loop {
            tokio::select! {
                () = &mut poll => return true,
                () = self.app.drain.started() => return false,
                () = tokio::time::sleep_until(self.ends_at) => return false,
                changed = self.changes.recv() => match changed {
                    Ok(media) if media != self.media => {}
                    // One that lags has missed some: reading the store makes up for it.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return true,
                    Err(broadcast::error::RecvError::Closed) => return false,
                },
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.app.metrics.event_streams.dec();
    }
}

fn state_event(video: &Video, media: &Media) -> Event {
    let data = serde_json::to_string(&VideoView::new(video, media)).expect("plain data");
    Event::default().id(media.version.to_string()).event("state").retry(RETRY).data(data)
}

/// What clients wait before they connect again.
const RETRY: Duration = Duration::from_secs(2);
