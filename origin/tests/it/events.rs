//! State and progress as server-sent events.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tidegate_contract::package_job::JobStage;

use crate::harness::{PATIENCE, TestOrigin, content, publication, until};

/// One event: id, name, data.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

struct Events {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    async fn follow(origin: &TestOrigin, video: &str, last: &str) -> Self {
        let mut request = origin.http.get(format!("{}/api/v1/videos/{video}/events", origin.url));
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.bytes_stream().boxed(), text: String::new() }
    }

    /// The next block, comment or event; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let next = tokio::time::timeout(PATIENCE, self.body.next());
            let piece = next.await.expect("something comes, or the end")?.unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_owned())
            };
            if let Some(data) = field("data:") {
                let (id, name) = (field("id:").unwrap_or_default(), field("event:").unwrap());
                return Some(Event { id, name, data: serde_json::from_str(&data).unwrap() });
            }
        }
    }
}

#[tokio::test]
async fn every_change_is_told_until_the_last() {
    let origin = TestOrigin::with(|c| c.catalog.poll_interval = Duration::from_secs(3600)).await;
    let packager = origin.packager("p1");
    let video = origin.upload(&content(50, 100)).await;
    let mut events = Events::follow(&origin, &video, "").await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["state"]), ("state", &"uploaded".into()));

    let job = packager.lease().await.unwrap();
    packager.renew(&job, JobStage::Probing, 0).await;
    assert_eq!(events.next().await.unwrap().data["state"], "probing");
    packager.renew(&job, JobStage::Transcoding, 250).await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event.data["state"], &event.data["progress_permille"]),
        (&"transcoding".into(), &250.into())
    );
    packager.publish(&job, &publication(1, &["360p"], "x", true)).await;
    let last = events.next().await.unwrap();
    assert_eq!((&last.data["state"], &last.data["is_final"]), (&"complete".into(), &true.into()));
    assert!(events.next().await.is_none(), "a final state ends the stream");

    let ids: Vec<i64> = [&first, &event, &last].iter().map(|e| e.id.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let mut again = Events::follow(&origin, &video, &first.id).await;
    assert_eq!(again.next().await.unwrap().data["state"], "complete", "only what is newer");
    let url = format!("{}/api/v1/videos/{video}/events", origin.url);
    let seen = origin.http.get(url).header("last-event-id", &last.id).send().await.unwrap();
    assert_eq!(seen.status(), 204, "there is nothing to come back for");
}

#[tokio::test]
async fn a_deletion_is_told() {
    let origin = TestOrigin::start().await;
    let video = origin.upload(&content(51, 100)).await;
    let mut events = Events::follow(&origin, &video, "").await;
    assert_eq!(events.next().await.unwrap().name, "state");
    let path = format!("/api/v1/videos/{video}");
    origin.authorised(reqwest::Method::DELETE, &path).send().await.unwrap();
    assert_eq!(events.next().await.unwrap().name, "deleted");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_quiet_stream_is_kept_open_by_comments_and_ends_with_the_drain() {
    let origin =
        TestOrigin::with(|c| c.catalog.heartbeat_interval = Duration::from_millis(20)).await;
    let video = origin.upload(&content(52, 100)).await;
    let mut events = Events::follow(&origin, &video, "").await;
    events.next().await.unwrap();
    for _ in 0..2 {
        assert!(events.block().await.unwrap().starts_with(':'));
    }
    origin.stop().await;
    while let Some(block) = events.block().await {
        assert!(block.starts_with(':'));
    }
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let origin = TestOrigin::with(|c| c.catalog.event_streams_max = 1).await;
    let video = origin.upload(&content(53, 100)).await;
    let first = Events::follow(&origin, &video, "").await;
    let path = format!("/api/v1/videos/{video}/events");
    let refused = origin.get(&path).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(origin.metric("origin_event_streams"), 1.0);
    drop(first);
    until("the place is free again", || async {
        (origin.get(&path).await.status() == 200).then_some(())
    })
    .await;
}
