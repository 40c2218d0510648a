//! Drives one session: what the player wants is fetched, what comes of it is told to the player.
//!
//! Invariant: a session ends when its player says so, and at once when the run cuts it; every fetch that was begun is
//! recorded once, or counted as given up.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    draw::Drawn,
    shared::{Presence, Shared},
};
use crate::{
    kind::{FailureClass, ObjectKind, Protocol},
    measure::Met,
    net::{Ask, Failure, Fetched, Session, SessionPlan},
    player::{Action, Event, FetchId, Plan, Player, Request, SessionToken},
    scenario::TokenPlace,
};

/// Plays one session to its end. `at` is its scheduled beginning, since that of the run. It is present from when this is
/// called, not only from when its task has its first turn.
pub(super) fn drive(shared: Rc<Shared>, at: Duration, drawn: Drawn) -> impl Future<Output = ()> {
    let presence = Presence::new(shared.clone());
    play(shared, at, drawn, presence)
}

async fn play(shared: Rc<Shared>, at: Duration, drawn: Drawn, presence: Presence) {
    let mut driver = Driver::new(shared, at, drawn, presence);
    let cut = driver.shared.cut.clone();
    let mut cut = pin!(cut.cancelled());
    let mut alarm = pin!(sleep_until(driver.scheduled));
    driver.tell(Duration::ZERO, Event::Wake);
    while !driver.is_over {
        let due = driver.player.wake_at();
        if let Some(due) = due {
            alarm.as_mut().reset(driver.scheduled + due.min(WAKE_MAX));
        }
        let turn = poll_fn(|context| {
            driver.poll_fetches(context, &mut |context| {
                poll_rest(context, due, alarm.as_mut(), cut.as_mut())
            })
        });
        match turn.await {
            Turn::Done(fetching, fetched) => driver.finish(&fetching, *fetched),
            Turn::Progress(fetch, bytes) => {
                let now = driver.now();
                driver.tell(now, Event::Progress { fetch, bytes });
            }
            // Timers are late: what is wanted now was wanted then.
            Turn::Woke(due) => driver.tell(due, Event::Wake),
            Turn::Cut => driver.cut(),
        }
    }
}

/// What happened next.
enum Turn {
    Done(Fetching, Box<Fetched>),
    Progress(FetchId, u64),
    Woke(Duration),
    Cut,
}

/// One fetch that is under way.
struct Fetching {
    id: FetchId,
    kind: ObjectKind,
    media: Option<Duration>,
    /// Path, when the content is compared with the manifest of hashes.
    hashed: Option<String>,
    /// Since the session's scheduled beginning.
    wanted: Duration,
    asked_after: Duration,
    /// Body bytes so far, as the connection tells.
    came: Rc<Cell<u64>>,
    counted: u64,
    told: u64,
    told_at: Instant,
    future: Pin<Box<dyn Future<Output = Fetched>>>,
}

struct Driver {
    shared: Rc<Shared>,
    presence: Presence,
    player: Player,
    session: Rc<Session>,
    protocol: Protocol,
    /// Since the beginning of the run.
    at: Duration,
    scheduled: Instant,
    fetches: Vec<Fetching>,
    /// When the present view began, and whether its first frame was told.
    view_began: Duration,
    is_started: bool,
    is_over: bool,
}

impl Driver {
    fn new(shared: Rc<Shared>, at: Duration, drawn: Drawn, presence: Presence) -> Self {
        let scenario = &shared.plan.scenario;
        let link = drawn.link.and_then(|index| shared.links[index].as_ref());
        let mut behaviour = scenario.player.clone();
        if let Some((_, rate)) = link {
            behaviour.link_rate = *rate;
        }
        let sessions = &scenario.sessions;
        let session = shared.net.session(SessionPlan {
            protocol: drawn.protocol,
            resumes: drawn.resumes,
            early_data: drawn.is_early && drawn.resumes,
            shape: link.map(|(shape, _)| shape.clone()),
            migrate_every: drawn.is_migrating.then_some(sessions.migrate_every),
            new_connection_every: Some(sessions.new_connection_every).filter(|every| *every > 0),
        });
        let token = scenario.target.token.as_ref().zip(shared.plan.inputs.token.clone());
        let plan = Plan {
            videos: drawn.videos,
            behaviour,
            wall_clock_at_start_unix_ms: shared.start_unix_ms + at.as_millis() as i64,
            session_token: token.map(|(token, value)| match token.place {
                TokenPlace::Query => SessionToken::Query { name: token.name.clone(), value },
                TokenPlace::Header => SessionToken::Header { name: token.name.clone(), value },
            }),
            session_id: drawn.id,
        };
        Self {
            player: Player::new(plan, drawn.seed),
            session: Rc::new(session),
            protocol: drawn.protocol,
            scheduled: shared.start + at,
            shared,
            presence,
            at,
            fetches: Vec::new(),
            view_began: Duration::ZERO,
            is_started: false,
            is_over: false,
        }
    }

    fn now(&self) -> Duration {
        self.scheduled.elapsed()
    }

    /// Tells the player, and does what it wants then. `wanted` is when what happens now should have.
    fn tell(&mut self, wanted: Duration, event: Event) {
        let now = self.now();
        self.player.handle(now, event);
        self.act(now, wanted);
    }

    fn act(&mut self, now: Duration, wanted: Duration) {
        let mut actions = 0;
        while !self.is_over
            && let Some(action) = self.player.next_action(now)
        {
            actions += 1;
            if actions > ACTIONS_MAX {
                self.is_over = true;
            }
            match action {
                Action::Fetch(request) => self.fetch(request, wanted),
                Action::Cancel(id) => self.cancel(id),
                Action::View(view) => {
                    self.shared.recorder.borrow_mut().view(self.at, &view);
                    self.view_began = now;
                    self.is_started = false;
                }
                Action::End => self.is_over = true,
            }
        }
        let status = self.player.status();
        self.presence.update(&status);
        if !self.is_started && status.is_playing {
            self.is_started = true;
            let startup = now.saturating_sub(self.view_began);
            self.shared.recorder.borrow_mut().startup(startup);
        }
    }

    fn fetch(&mut self, request: Request, wanted: Duration) {
        let path = request.url.path();
        let is_hashed = request.range.is_none() && self.shared.hashes.contains_key(path);
        let hashed = is_hashed.then(|| path.to_owned());
        let ask = Ask {
            url: request.url,
            range: request.range,
            headers: request.headers,
            urgency: request.urgency,
            keep: is_document(request.kind).then_some(DOCUMENT_BYTES_MAX),
            hash: is_hashed,
            timeout: request.timeout,
        };
        let came = Rc::new(Cell::new(0));
        let (session, counter) = (self.session.clone(), came.clone());
        let future = Box::pin(async move {
            let mut progress = |bytes| counter.set(bytes);
            session.fetch(ask, &mut progress).await
        });
        self.fetches.push(Fetching {
            id: request.id,
            kind: request.kind,
            media: request.media,
            hashed,
            wanted,
            asked_after: self.now().saturating_sub(wanted),
            came,
            counted: 0,
            told: 0,
            told_at: Instant::now(),
            future,
        });
    }

    fn cancel(&mut self, id: FetchId) {
        let Some(place) = self.fetches.iter().position(|fetching| fetching.id == id) else {
            return;
        };
        let mut fetching = self.fetches.swap_remove(place);
        self.count_bytes(&mut fetching);
        let wanted_at = self.at + fetching.wanted;
        let mut recorder = self.shared.recorder.borrow_mut();
        recorder.given_up(fetching.kind, self.protocol, wanted_at, fetching.counted);
    }

    /// Looks at the fetches, then at the rest.
    fn poll_fetches(
        &mut self,
        context: &mut Context<'_>,
        rest: &mut dyn FnMut(&mut Context<'_>) -> Poll<Turn>,
    ) -> Poll<Turn> {
        let mut progress = None;
        for place in 0..self.fetches.len() {
            let fetching = &mut self.fetches[place];
            if let Poll::Ready(fetched) = fetching.future.as_mut().poll(context) {
                let mut fetching = self.fetches.swap_remove(place);
                fetching.came.set(fetched.bytes.max(fetching.came.get()));
                self.count_bytes(&mut fetching);
                return Poll::Ready(Turn::Done(fetching, Box::new(fetched)));
            }
            let came = fetching.came.get();
            if came > fetching.counted {
                self.shared.bytes.set(self.shared.bytes.get() + (came - fetching.counted));
                fetching.counted = came;
            }
            if came > fetching.told && fetching.told_at.elapsed() >= PROGRESS_EVERY {
                fetching.told = came;
                fetching.told_at = Instant::now();
                progress = Some(Turn::Progress(fetching.id, came));
            }
        }
        match progress {
            Some(progress) => Poll::Ready(progress),
            None => rest(context),
        }
    }

    fn count_bytes(&self, fetching: &mut Fetching) {
        let came = fetching.came.get().saturating_sub(fetching.counted);
        fetching.counted += came;
        self.shared.bytes.set(self.shared.bytes.get() + came);
    }

    fn finish(&mut self, fetching: &Fetching, mut fetched: Fetched) {
        self.compare(fetching, &mut fetched);
        let met = Met {
            kind: fetching.kind,
            protocol: self.protocol,
            wanted_at: self.at + fetching.wanted,
            asked_after: fetching.asked_after,
            media: fetching.media,
            came_unix_ms: self.shared.start_unix_ms + self.shared.elapsed().as_millis() as i64,
        };
        self.shared.recorder.borrow_mut().fetch(&met, &fetched);
        let event = match fetched.outcome {
            Ok(answer) => Event::Answered {
                fetch: fetching.id,
                url: answer.url,
                bytes: fetched.bytes,
                first_byte: fetched.first_byte.unwrap_or(fetched.took),
                body: answer.body,
            },
            Err(failure) => Event::Failed {
                fetch: fetching.id,
                class: failure.class,
                status: fetched.facts.status,
                retry_after: fetched.facts.retry_after,
            },
        };
        let now = self.now();
        self.tell(now, event);
    }

    /// Compares the content with the manifest of hashes, where that knows it.
    fn compare(&self, fetching: &Fetching, fetched: &mut Fetched) {
        let expected = fetching.hashed.as_ref().and_then(|path| self.shared.hashes.get(path));
        let (Some(expected), Ok(answer)) = (expected, &fetched.outcome) else { return };
        if answer.blake3.as_ref() != Some(expected) {
            let detail = "not what the manifest of hashes says".into();
            fetched.outcome = Err(Failure { class: FailureClass::Corrupt, detail });
        }
    }

    /// The run is over for this session, whatever it does.
    fn cut(&mut self) {
        while let Some(id) = self.fetches.last().map(|fetching| fetching.id) {
            self.cancel(id);
        }
        let now = self.now();
        self.player.cut(now);
        self.act(now, now);
        self.is_over = true;
    }
}

fn poll_rest(
    context: &mut Context<'_>,
    due: Option<Duration>,
    alarm: Pin<&mut Sleep>,
    cut: Pin<&mut impl Future<Output = ()>>,
) -> Poll<Turn> {
    if cut.poll(context).is_ready() {
        return Poll::Ready(Turn::Cut);
    }
    match due {
        Some(due) if alarm.poll(context).is_ready() => Poll::Ready(Turn::Woke(due)),
        _ => Poll::Pending,
    }
}

fn is_document(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Multivariant | ObjectKind::Playlist | ObjectKind::Steering)
}

/// A player is told of progress no more often: as often as hls.js looks.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// The largest playlist or MPD; what is parsed has the same limit.
const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// A player that wants more at once is broken, and must not hold the worker.
const ACTIONS_MAX: u32 = 10_000;
/// A timer of the runtime reaches two years; nothing in a run is that far away.
const WAKE_MAX: Duration = Duration::from_secs(30 * 86_400);
