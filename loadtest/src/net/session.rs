//! One session's connections, and fetches over them: redirects followed, a lost race with a closing server run again.
//!
//! Invariant: a fetch asks a bounded number of times: redirects up to five, and each address at most twice.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, AUTHORIZATION, COOKIE, RANGE, USER_AGENT},
};
use tokio::task::AbortHandle;

use super::{
    Answer, Ask, Failure, Fetched,
    counters::add,
    course::Course,
    endpoints,
    failure::Fault,
    h1, h2, h3,
    link::{Call, Origin},
    pace::Pace,
    shape::Shape,
    shared::Shared,
    trust::Resume,
    verdict::Verdict,
};
use crate::kind::{FailureClass, Protocol};

/// How a session connects.
#[derive(Debug, Clone)]
pub struct SessionPlan {
    pub protocol: Protocol,
    /// TLS sessions are resumed, with tickets of the worker.
    pub resumes: bool,
    /// A first request goes out as 0-RTT data when a ticket allows it; only with `resumes`.
    pub early_data: bool,
    /// Its last mile.
    pub shape: Option<Shape>,
    /// HTTP/3: how often it moves to another port.
    pub migrate_every: Option<Duration>,
    /// Its connections are closed and made anew after so many requests.
    pub new_connection_every: Option<u32>,
}

impl SessionPlan {
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            resumes: false,
            early_data: false,
            shape: None,
            migrate_every: None,
            new_connection_every: None,
        }
    }
}

/// The connections of one session. Fetches run side by side; dropping one cancels it.
pub struct Session {
    shared: Rc<Shared>,
    protocol: Protocol,
    resume: Resume,
    new_connection_every: Option<u32>,
    requests: Cell<u32>,
    pace: Pace,
    home: Rc<h3::Home>,
    /// The last one was used last.
    hosts: RefCell<Vec<Rc<Host>>>,
    mover: Option<AbortHandle>,
}

/// One server, and the connections to it.
struct Host {
    origin: Origin,
    links: Links,
}

enum Links {
    H1(h1::Pool),
    H2(h2::Slot),
    H3(h3::Slot),
}

impl Session {
    pub(super) fn new(shared: Rc<Shared>, plan: SessionPlan) -> Self {
        let moves = plan.migrate_every.filter(|_| plan.protocol == Protocol::H3);
        let home = Rc::new(h3::Home { is_own: moves.is_some(), ..h3::Home::default() });
        let mover = moves.map(|every| {
            let every = every.max(MOVE_MIN);
            let (home, shared) = (Rc::downgrade(&home), Rc::downgrade(&shared));
            tokio::task::spawn_local(keep_moving(home, shared, every)).abort_handle()
        });
        Self {
            shared,
            protocol: plan.protocol,
            resume: match (plan.resumes, plan.early_data) {
                (true, true) => Resume::Early,
                (true, false) => Resume::Session,
                (false, _) => Resume::Never,
            },
            new_connection_every: plan.new_connection_every.filter(|every| *every > 0),
            requests: Cell::new(0),
            pace: Pace::new(plan.shape),
            home,
            hosts: RefCell::default(),
            mover,
        }
    }

    /// Fetches an object. `progress` is told the body's bytes so far, as they come. Dropping the future resets the
    /// stream, or closes the connection under HTTP/1.1, and leaves the session usable.
    pub async fn fetch(&self, ask: Ask, progress: &mut dyn FnMut(u64)) -> Fetched {
        self.renew();
        let mut course = Course::new(&ask, &self.pace, progress);
        let deadline = course.deadline();
        let outcome = tokio::time::timeout_at(deadline, self.follow(&mut course)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(course.late()));
        if let Err(failure) = &outcome {
            self.shared.failed(failure);
        }
        course.fetched(outcome)
    }

    /// Asks, and asks again where it is sent to.
    async fn follow(&self, course: &mut Course<'_>) -> Result<Answer, Failure> {
        let mut seen = vec![course.url.clone()];
        let mut is_repeated = false;
        loop {
            self.ask(course, seen.len() > 1).await?;
            let wrong = |detail| Err(Failure::new(FailureClass::Unexpected, detail));
            match course.verdict.take() {
                Some(Verdict::Object) => return Ok(course.answer()),
                Some(Verdict::Refused(failure)) => return Err(failure),
                // The handshake is over by now, so that the same connection serves (RFC 8470 section 5.2).
                Some(Verdict::TooEarly) if !is_repeated => {
                    is_repeated = true;
                    course.again();
                }
                Some(Verdict::TooEarly) => {
                    return Err(Failure::new(FailureClass::ClientError, "status 425"));
                }
                Some(Verdict::Redirect(to)) if seen.contains(&to) => {
                    return wrong("redirects that lead in a circle");
                }
                Some(Verdict::Redirect(_)) if seen.len() > REDIRECTS_MAX => {
                    return wrong("too many redirects");
                }
                Some(Verdict::Redirect(to)) => {
                    seen.push(to.clone());
                    course.again();
                    course.url = to;
                }
                None => return Err(Failure::new(FailureClass::Protocol, "no answer")),
            }
        }
    }

    /// One exchange, and a second one when the first was lost with a connection that had served before.
    async fn ask(&self, course: &mut Course<'_>, is_redirected: bool) -> Result<(), Failure> {
        let origin = Origin::of(&course.url)?;
        let is_elsewhere = is_redirected && Origin::of(&course.ask.url)? != origin;
        let headers = headers(course.ask, is_elsewhere)?;
        let host = self.host(origin);
        let first = self.exchange(&host, &headers, false, course).await;
        match first {
            Ok(()) => Ok(()),
            Err(fault) if fault.may_retry => {
                course.again();
                let second = self.exchange(&host, &headers, true, course).await;
                second.map_err(|fault| fault.failure)
            }
            Err(fault) => Err(fault.failure),
        }
    }

    async fn exchange(
        &self,
        host: &Host,
        headers: &HeaderMap,
        is_new: bool,
        course: &mut Course<'_>,
    ) -> Result<(), Fault> {
        let (shared, origin, resume) = (&*self.shared, &host.origin, self.resume);
        let call = Call { shared, origin, resume, headers, is_new };
        match &host.links {
            Links::H1(pool) => pool.exchange(&call, course).await,
            Links::H2(slot) => slot.exchange(&call, course).await,
            Links::H3(slot) => slot.exchange(&call, &self.home, course).await,
        }
    }

    /// Gives up the connections when it is time to.
    fn renew(&self) {
        let requests = self.requests.get().wrapping_add(1);
        self.requests.set(requests);
        if let Some(every) = self.new_connection_every
            && requests > 1
            && (requests - 1).is_multiple_of(every)
        {
            self.hosts.borrow_mut().clear();
        }
    }

    fn host(&self, origin: Origin) -> Rc<Host> {
        let mut hosts = self.hosts.borrow_mut();
        let host = match hosts.iter().position(|host| host.origin == origin) {
            Some(place) => hosts.remove(place),
            None => {
                if hosts.len() == HOSTS_MAX {
                    hosts.remove(0);
                }
                let links = match self.protocol {
                    Protocol::H1 => Links::H1(h1::Pool::new(self.shared.config.h1_connections)),
                    Protocol::H2 => Links::H2(h2::Slot::default()),
                    Protocol::H3 => Links::H3(h3::Slot::default()),
                };
                Rc::new(Host { origin, links })
            }
        };
        hosts.push(Rc::clone(&host));
        host
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(mover) = &self.mover {
            mover.abort();
        }
    }
}

/// Moves a session to another port, again and again.
async fn keep_moving(home: Weak<h3::Home>, shared: Weak<Shared>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let (Some(home), Some(shared)) = (home.upgrade(), shared.upgrade()) else { return };
        if !home.may_move.get() {
            continue;
        }
        for (_, endpoint) in home.endpoints.borrow().iter() {
            if endpoint.open_connections() == 0 {
                continue;
            }
            let is_moved = endpoints::migrate(endpoint).is_ok();
            add(&shared.tally.migrated, is_moved);
            add(&shared.tally.socket_errors, !is_moved);
        }
    }
}

/// The headers of a request. What a server's cookie or key is for stays with that server.
fn headers(ask: &Ask, is_elsewhere: bool) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::with_capacity(ask.headers.len() + 4);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some((first, count)) = ask.range {
        let last = match count {
            Some(0) => return Err(Failure::new(FailureClass::Manifest, "a range of no bytes")),
            Some(count) => (first.saturating_add(count) - 1).to_string(),
            None => String::new(),
        };
        let range = HeaderValue::try_from(format!("bytes={first}-{last}"));
        headers.insert(RANGE, range.expect("digits are visible"));
    }
    if ask.urgency != URGENCY_USUAL {
        let urgency = HeaderValue::try_from(format!("u={}", ask.urgency.min(7)));
        headers.insert(PRIORITY, urgency.expect("digits are visible"));
    }
    for (name, value) in &ask.headers {
        if !(is_elsewhere && (name == COOKIE || name == AUTHORIZATION)) {
            headers.append(name.clone(), value.clone());
        }
    }
    Ok(headers)
}

const PRIORITY: HeaderName = HeaderName::from_static("priority");
const AGENT: &str = concat!("tidegate-load/", env!("CARGO_PKG_VERSION"));
/// RFC 9218 section 4.1.
const URGENCY_USUAL: u8 = 3;
/// As many as players follow at least.
const REDIRECTS_MAX: usize = 5;
/// Servers that a session keeps connections to.
const HOSTS_MAX: usize = 6;
/// Moving more often than a path can be validated is no test of anything.
const MOVE_MIN: Duration = Duration::from_millis(50);
