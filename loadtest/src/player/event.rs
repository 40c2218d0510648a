//! What happens to a player, what it wants, and what it says of a view: the words between it and the session's driver.
//!
//! Invariant: nothing here knows a socket or a clock; times are since the session's scheduled beginning.

use std::time::Duration;

use bytes::Bytes;
use url::Url;

use crate::kind::{FailureClass, ObjectKind};

/// What has happened. Times are since the session's scheduled beginning, which is also where latencies begin.
#[derive(Debug, Clone)]
pub enum Event {
    /// The session begins, or the time of `wake_at` has come.
    Wake,
    /// Bytes of a body came, in all so far; said now and then, so that a slow download can be given up.
    Progress { fetch: FetchId, bytes: u64 },
    /// A fetch has its whole answer. `body` only for manifests. `first_byte` is since the fetch began.
    Answered { fetch: FetchId, url: Url, bytes: u64, first_byte: Duration, body: Option<Bytes> },
    /// A fetch gave nothing. `retry_after` is what the answer's head asks for.
    Failed {
        fetch: FetchId,
        class: FailureClass,
        status: Option<u16>,
        retry_after: Option<Duration>,
    },
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
///
/// Without a catch-up rate and without gaps, `startup + played + stalls + seeking` is the time from the request to
/// play to the end; a view without a first frame has none of them but `startup`, which is then `None`.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// From the request to play to the first frame; `None` when there was none.
    pub startup: Option<Duration>,
    pub end: ViewEnd,
    /// Media played.
    pub played: Duration,
    /// Stalls after the start that no seek explains.
    pub stalls: Vec<Stall>,
    /// Time waited after seeks.
    pub seeking: Duration,
    /// Bits per second, weighted by played time.
    pub mean_bitrate: Option<f64>,
    pub switches_up: u32,
    pub switches_down: u32,
    pub seeks: u32,
    /// Live: media left out because the player was too far behind the edge.
    pub jumps: u32,
    /// Live: distance to the edge, weighted by played time.
    pub live_latency: Option<Duration>,
    pub pathway_switches: u32,
    /// Media bytes that came and were never played.
    pub wasted_bytes: u64,
    /// Why it failed, for people: what is wrong with a manifest. Never a URL or a token.
    pub reason: Option<String>,
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

/// How the player is, as of the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    pub is_playing: bool,
    /// Waiting in the middle of playing, not for a seek.
    pub is_stalled: bool,
    /// Nothing was shown of this view yet.
    pub is_starting: bool,
    pub is_over: bool,
    /// Media ahead of the play head.
    pub buffer: Duration,
    /// Declared bits per second of what is played or fetched.
    pub bitrate: u64,
    /// Fetches that are under way.
    pub fetches: usize,
}
