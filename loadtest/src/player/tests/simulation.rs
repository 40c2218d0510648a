//! Runs a player against a server and a link without waiting: the next thing that happens is looked up and told.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::super::{Action, Behaviour, Event, FetchId, Plan, Player, Request, View};
use crate::kind::{FailureClass, ObjectKind};

/// What a server answers, and after how long.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) delay: Duration,
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A document.
    Text(String),
    /// Media of that many bytes.
    Media(u64),
    /// The same, made evenly from one time to another; what there is of it comes at once.
    Growing {
        bytes: u64,
        from: Duration,
        until: Duration,
    },
    Fail(FailureClass, Option<u16>),
    /// 429, with how long to wait.
    Busy(Duration),
}

pub(super) type Server<'a> = dyn FnMut(Duration, &Request) -> Answer + 'a;

/// The link: bits per second from each time on; none means that everything comes at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) rates: Vec<(Duration, u64)>,
    pub(super) round_trip: Duration,
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) requests: Vec<(Duration, Request)>,
    pub(super) cancelled: Vec<FetchId>,
    pub(super) answered: Vec<(Duration, FetchId)>,
    /// Those whose time was over before the answer was.
    pub(super) late: Vec<FetchId>,
    pub(super) views: Vec<View>,
    /// When `End` came.
    pub(super) ended: Option<Duration>,
    /// The fullest buffer that was seen.
    pub(super) fullest: Duration,
    pub(super) steps: u64,
}

/// A fetch on its way.
struct Transfer {
    request: Request,
    answer: Answer,
    asked_at: Duration,
    /// When its first byte comes.
    begins: Duration,
    left: f64,
    told: u64,
}

/// Plays a plan to its end, or until then.
pub(super) fn run(
    player: &mut Player,
    server: &mut Server<'_>,
    link: &Link,
    until: Duration,
) -> Trace {
    let mut trace = Trace::default();
    let mut now = Duration::ZERO;
    let mut transfers: Vec<Transfer> = Vec::new();
    player.handle(now, Event::Wake);
    loop {
        take_actions(player, server, link, now, &mut transfers, &mut trace);
        trace.fullest = trace.fullest.max(player.status().buffer);
        if trace.ended.is_some() {
            return trace;
        }
        trace.steps += 1;
        assert!(trace.steps < 2_000_000, "the player spins");
        let next = next_time(player, link, now, &transfers);
        if next >= until {
            player.cut(until);
            take_actions(player, server, link, until, &mut transfers, &mut trace);
            return trace;
        }
        carry(link, now, next, &mut transfers);
        now = next;
        tell(player, now, &mut transfers, &mut trace);
        if player.wake_at().is_some_and(|wake| wake <= now) {
            player.handle(now, Event::Wake);
        }
    }
}

/// A plan over these addresses.
pub(super) fn plan(videos: &[&str], behaviour: Behaviour) -> Plan {
    Plan {
        videos: videos.iter().map(|video| video.parse().unwrap()).collect(),
        behaviour,
        wall_clock_at_start_unix_ms: WALL_AT_START_MS,
        session_token: None,
        session_id: Uuid::from_u128(1),
    }
}

fn take_actions(
    player: &mut Player,
    server: &mut Server<'_>,
    link: &Link,
    now: Duration,
    transfers: &mut Vec<Transfer>,
    trace: &mut Trace,
) {
    while let Some(action) = player.next_action(now) {
        assert!(trace.ended.is_none(), "nothing comes after the end: {action:?}");
        match action {
            Action::Fetch(request) => {
                trace.requests.push((now, request.clone()));
                let answer = server(now, &request);
                let bytes = match &answer.reply {
                    Reply::Text(text) => text.len() as u64,
                    Reply::Media(bytes) => *bytes,
                    Reply::Growing { .. } | Reply::Fail(..) | Reply::Busy(_) => 0,
                };
                let begins = now + link.round_trip + answer.delay;
                let mut left = if link.rates.is_empty() { 0.0 } else { bytes as f64 * 8.0 };
                if let Reply::Growing { until, .. } = answer.reply
                    && until > begins
                {
                    left = 1.0;
                }
                transfers.push(Transfer { request, answer, asked_at: now, begins, left, told: 0 });
            }
            Action::Cancel(id) => {
                trace.cancelled.push(id);
                transfers.retain(|transfer| transfer.request.id != id);
            }
            Action::View(view) => trace.views.push(view),
            Action::End => trace.ended = Some(now),
        }
    }
}

/// The next time at which anything happens.
fn next_time(player: &Player, link: &Link, now: Duration, transfers: &[Transfer]) -> Duration {
    let mut next = Duration::MAX;
    next = next.min(player.wake_at().unwrap_or(Duration::MAX));
    let change = link.rates.iter().map(|(at, _)| *at).find(|at| *at > now);
    next = next.min(change.unwrap_or(Duration::MAX));
    let flowing = transfers.iter().filter(|t| t.flows(now)).count();
    let share = rate(link, now) / flowing.max(1) as f64;
    for transfer in transfers {
        if transfer.begins > now {
            next = next.min(transfer.begins);
            next = next.min(transfer.asked_at + transfer.request.timeout);
        } else if transfer.left <= 0.0 {
            return now;
        } else if let Reply::Growing { until, .. } = transfer.answer.reply {
            next = next.min((now + PROGRESS).min(until.max(now)));
        } else if share > 0.0 {
            let left = Duration::from_secs_f64((transfer.left / share).min(1e6));
            // Up, so that it is done by then.
            next = next.min(now + left.min(PROGRESS) + Duration::from_nanos(1));
        }
    }
    next.max(now)
}

fn carry(link: &Link, from: Duration, to: Duration, transfers: &mut [Transfer]) {
    let growing = transfers.iter_mut().filter(|transfer| transfer.is_growing());
    for transfer in growing {
        let Reply::Growing { until, .. } = transfer.answer.reply else { continue };
        transfer.left = if until <= to { 0.0 } else { 1.0 };
    }
    let flowing = |t: &Transfer| t.flows(from);
    let count = transfers.iter().filter(|t| flowing(t)).count();
    let bits = rate(link, from) * (to - from).as_secs_f64() / count.max(1) as f64;
    for transfer in transfers.iter_mut().filter(|t| flowing(t)) {
        transfer.left = (transfer.left - bits).max(0.0);
        if transfer.left < 0.01 {
            transfer.left = 0.0;
        }
    }
}

fn tell(player: &mut Player, now: Duration, transfers: &mut Vec<Transfer>, trace: &mut Trace) {
    let is_over =
        |t: &Transfer| (t.begins <= now && t.left <= 0.0) || t.asked_at + t.request.timeout <= now;
    let (over, rest): (Vec<_>, Vec<_>) = transfers.drain(..).partition(is_over);
    *transfers = rest;
    for transfer in over {
        let fetch = transfer.request.id;
        let is_late = transfer.begins > now || transfer.left > 0.0;
        if is_late {
            trace.late.push(fetch);
        }
        let first_byte = transfer.begins - transfer.asked_at;
        let url = transfer.request.url.clone();
        let event = match transfer.answer.reply {
            _ if is_late => failed(fetch, FailureClass::Timeout, None, None),
            Reply::Fail(class, status) => failed(fetch, class, status, None),
            Reply::Busy(after) => failed(fetch, FailureClass::ClientError, Some(429), Some(after)),
            Reply::Media(bytes) | Reply::Growing { bytes, .. } => {
                Event::Answered { fetch, url, bytes, first_byte, body: None }
            }
            Reply::Text(text) => {
                let (bytes, body) = (text.len() as u64, Some(Bytes::from(text)));
                Event::Answered { fetch, url, bytes, first_byte, body }
            }
        };
        trace.answered.push((now, fetch));
        player.handle(now, event);
    }
    for transfer in transfers.iter_mut().filter(|t| t.begins <= now) {
        let bytes = match transfer.answer.reply {
            Reply::Media(all) => (all as f64 - transfer.left / 8.0).max(0.0) as u64,
            Reply::Growing { bytes, from, until } => {
                let made = now.saturating_sub(from).as_secs_f64();
                (bytes as f64 * (made / (until - from).as_secs_f64()).min(1.0)) as u64
            }
            _ => continue,
        };
        if bytes > transfer.told {
            transfer.told = bytes;
            player.handle(now, Event::Progress { fetch: transfer.request.id, bytes });
        }
    }
}

fn failed(
    fetch: FetchId,
    class: FailureClass,
    status: Option<u16>,
    retry_after: Option<Duration>,
) -> Event {
    Event::Failed { fetch, class, status, retry_after }
}

fn rate(link: &Link, now: Duration) -> f64 {
    let rate = link.rates.iter().rev().find(|(at, _)| *at <= now).map(|(_, rate)| *rate as f64);
    rate.unwrap_or(f64::INFINITY)
}

impl Transfer {
    /// Its bytes wait at the server, not on the link.
    fn is_growing(&self) -> bool {
        matches!(self.answer.reply, Reply::Growing { .. })
    }

    /// It takes its share of the link.
    fn flows(&self, now: Duration) -> bool {
        self.begins <= now && self.left > 0.0 && !self.is_growing()
    }
}

impl Trace {
    /// Requests for media: init segments, keys, segments and parts.
    pub(super) fn media(&self) -> impl Iterator<Item = &(Duration, Request)> {
        self.requests.iter().filter(|(_, request)| {
            matches!(
                request.kind,
                ObjectKind::Init | ObjectKind::Key | ObjectKind::Segment | ObjectKind::Part
            )
        })
    }

    /// The paths of all requests of a kind, in their order.
    pub(super) fn paths(&self, kind: ObjectKind) -> Vec<String> {
        let of_kind = self.requests.iter().filter(|(_, request)| request.kind == kind);
        of_kind.map(|(_, request)| request.url.path().to_owned()).collect()
    }

    /// When each request of a kind left, in milliseconds.
    pub(super) fn times_ms(&self, kind: ObjectKind) -> Vec<u128> {
        let of_kind = self.requests.iter().filter(|(_, request)| request.kind == kind);
        of_kind.map(|(at, _)| at.as_millis()).collect()
    }
}

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(200);
pub(super) const WALL_AT_START_MS: i64 = 1_700_000_000_000;
