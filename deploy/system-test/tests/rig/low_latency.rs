//! Low-latency HLS through our edge. Our packager makes none, nor does ffmpeg: the server is a script, in which what
//! there is at a time follows from the time.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::{Instant, sleep_until};

use crate::harness::{Edge, fetches};

#[tokio::test]
async fn parts_are_played_as_they_are_made_by_blocking_requests_through_the_edge() {
    let stream = Stream::start().await;
    let edge = Edge::start(stream.port).await;
    let results = tokio::task::spawn_blocking(move || {
        edge.run(
            "live.m3u8",
            &["--protocol=h1=1,h2=1,h3=1", "--rate=3", "--duration=2s", "--set=arrivals.drain=10s"],
        )
    })
    .await
    .unwrap();
    let quality = &results["quality"];
    assert_eq!((&quality["views"], &quality["failed_starts"]), (&6.into(), &0.into()), "{quality}");
    assert_eq!(quality["failed_playbacks"], 0, "{quality}");
    // Six viewers for ten seconds, two parts a second; a few seconds may be lost to a busy machine.
    assert!(fetches(&results, "part", "count") > 60, "{}", results["fetches"]);
    let seen = |count: &AtomicU64| count.load(Ordering::Relaxed);
    assert!(seen(&stream.seen.blocking) > 5, "playlists are asked for before they are there");
    assert!(seen(&stream.seen.hinted) > 5, "and so are parts");
    // Six ask at once, and the edge asks once for all of them.
    assert!(seen(&stream.seen.parts) < fetches(&results, "part", "count"));
}

/// A live stream of parts that began a while ago.
struct Stream {
    port: u16,
    seen: Arc<Seen>,
}

struct Seen {
    began: Instant,
    /// Requests that had to wait: for a playlist, for a part; and all those for parts.
    blocking: AtomicU64,
    hinted: AtomicU64,
    parts: AtomicU64,
}

impl Stream {
    async fn start() -> Self {
        let seen = Arc::new(Seen {
            began: Instant::now(),
            blocking: AtomicU64::new(0),
            hinted: AtomicU64::new(0),
            parts: AtomicU64::new(0),
        });
        let routes = Router::new()
            .route("/live.m3u8", get(playlist))
            .route("/{name}", get(media))
            .with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { port, seen }
    }
}

impl Seen {
    /// Parts that are there.
    fn made(&self) -> u64 {
        BEFORE + self.began.elapsed().as_millis() as u64 / PART_MS
    }

    /// Waits until a part is there, and adds to the count if that took any time. `false` for one that is far off.
    async fn is_there(&self, part: u64, count: &AtomicU64) -> bool {
        if part > self.made() + AHEAD_MAX {
            return false;
        }
        if part >= self.made() {
            count.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_millis((part + 1).saturating_sub(BEFORE) * PART_MS);
            sleep_until(self.began + due).await;
        }
        true
    }

    fn playlist(&self) -> String {
        let made = self.made();
        let whole = made / PARTS;
        let first = whole.saturating_sub(SEGMENTS);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
        );
        for segment in first..=whole {
            if segment + 2 >= whole {
                for part in (segment * PARTS..(segment + 1) * PARTS).filter(|part| *part < made) {
                    let _ = writeln!(
                        text,
                        "#EXT-X-PART:DURATION=0.5,INDEPENDENT=YES,URI=\"p{part}.ts\""
                    );
                }
            }
            if segment < whole {
                let _ = writeln!(text, "#EXTINF:2,\ns{segment}.ts");
            }
        }
        let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p{made}.ts\"");
        text
    }
}

async fn playlist(
    State(seen): State<Arc<Seen>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let asked = |name| query.get(name).and_then(|value: &String| value.parse::<u64>().ok());
    if let Some(segment) = asked("_HLS_msn") {
        // Without a part it is the whole segment that is waited for.
        let part = segment * PARTS + asked("_HLS_part").unwrap_or(PARTS - 1);
        if !seen.is_there(part, &seen.blocking).await {
            return StatusCode::BAD_REQUEST.into_response();
        }
    }
    ([(CACHE_CONTROL, "max-age=1")], seen.playlist()).into_response()
}

async fn media(State(seen): State<Arc<Seen>>, Path(name): Path<String>) -> Response {
    let number = |kind| name.strip_prefix(kind)?.strip_suffix(".ts")?.parse::<u64>().ok();
    let size = match (number('p'), number('s')) {
        (Some(part), _) => {
            seen.parts.fetch_add(1, Ordering::Relaxed);
            seen.is_there(part, &seen.hinted).await.then_some(PART_BYTES)
        }
        (_, Some(segment)) => {
            (segment < seen.made() / PARTS).then_some(PART_BYTES * PARTS as usize)
        }
        _ => None,
    };
    match size {
        Some(size) => ([(CACHE_CONTROL, "max-age=60")], vec![0_u8; size]).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

const PART_MS: u64 = 500;
/// Parts of a segment, and segments of a playlist.
const PARTS: u64 = 4;
const SEGMENTS: u64 = 6;
/// Parts that were made before the story began.
const BEFORE: u64 = 40;
const PART_BYTES: usize = 20_000;
/// Parts that may be waited for.
const AHEAD_MAX: u64 = 2 * PARTS;
