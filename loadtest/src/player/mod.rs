//! One viewer: events in, requests out. Knows neither sockets nor clocks: time is handed in.
//!
//! Invariant: the same plan, seed and events give the same actions.

use std::time::Duration;

use bytes::Bytes;
use url::Url;

use crate::kind::{FailureClass, ObjectKind};

/// What has happened. Times are since the session's scheduled beginning, which is also where latencies begin.
#[derive(Debug, Clone)]
pub enum Event {
    /// The session begins, or the time of `wake_at` has come.
    Wake,
    /// Bytes of a body came; said now and then, so that a slow download can be given up.
    Progress { fetch: FetchId, bytes: u64 },
    /// A fetch has its whole answer. `body` only for manifests.
    Answered { fetch: FetchId, url: Url, bytes: u64, first_byte: Duration, body: Option<Bytes> },
    /// A fetch gave nothing.
    Failed { fetch: FetchId, class: FailureClass, status: Option<u16> },
}

/// What the player wants.
#[derive(Debug, Clone)]
pub enum Action {
    Fetch(Request),
    /// Its answer does not matter any more.
    Cancel(FetchId),
    /// A view is over; what it was like.
    View(View),
    /// The session is over.
    End,
}

/// Numbers the fetches of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: FetchId,
    pub kind: ObjectKind,
    pub url: Url,
    pub range: Option<(u64, Option<u64>)>,
    /// Media time of what is fetched, for segments and parts.
    pub media: Option<Duration>,
    /// Headers beyond those of the rig: CMCD, a session token.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// RFC 9218 urgency.
    pub urgency: u8,
    /// The answer is needed by then; a blocking reload may take long.
    pub timeout: Duration,
}

/// What one view was like for the viewer, in the words of CTA-2066.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// From the request to play to the first frame; `None` when there was none.
    pub startup: Option<Duration>,
    pub end: ViewEnd,
    /// Media played.
    pub played: Duration,
    /// Stalls after the start that no seek explains.
    pub stalls: Vec<Stall>,
    /// Bits per second, weighted by played time.
    pub mean_bitrate: Option<f64>,
    pub switches_up: u32,
    pub switches_down: u32,
    pub seeks: u32,
    /// Live: distance to the edge, weighted by played time.
    pub live_latency: Option<Duration>,
    pub pathway_switches: u32,
    /// Media bytes that came and were never played.
    pub wasted_bytes: u64,
}

/// A pause in playing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub at: Duration,
    pub duration: Duration,
}

/// How a view ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ViewEnd {
    /// The content, or what the viewer wanted of it, was played.
    #[default]
    Watched,
    /// Nothing could be shown (video start failure).
    FailedStart(FailureClass),
    /// The viewer left before the first frame (exit before video start).
    LeftBeforeStart,
    /// The viewer lost patience in a stall.
    LeftInStall,
    /// It broke off and did not come back (video playback failure).
    FailedPlayback(FailureClass),
    /// The run ended first.
    Cut,
}
