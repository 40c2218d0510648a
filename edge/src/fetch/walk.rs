//! Reading a resource whose body stands in slices: from one to the next, each fetched when it is needed, one ahead.
//!
//! Concurrent readers share a slice while it is still arriving. Invariant: every byte that a reader gets is of the one
//! representation whose head it began with; when a slice turns out to be of another, the reader fails, never mixes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::sync::oneshot;

use super::{
    collapse::{Outcome, Role, Seat, Waited},
    pump::Pump,
    shared::{Question, Shared, slot_of},
    slice::{Aligned, Instead, Part, strong_validator},
    wanted::{Failed, Wanted},
};
use crate::{
    cache::{
        body::Body,
        key::Key,
        object::{Extent, Head},
        purge::Verdict,
        store::{Found, Lookup, Tier},
    },
    error::Failure,
};

/// A reader of a sliced resource.
pub struct Walk {
    whole: Arc<Whole>,
    position: u64,
    end: u64,
    current: Option<(u64, Opened)>,
    /// The slice that the disk did not give, the last time.
    unreadable: Option<u64>,
}

/// A slice that is read.
struct Opened {
    body: Body,
    /// The fill that made it, when it comes from disk.
    on_disk: Option<u64>,
}

/// What is read.
struct Whole {
    shared: Arc<Shared>,
    wanted: Arc<Wanted>,
    head: Arc<Head>,
    key: Key,
    fill: u64,
    validator: Vec<u8>,
    total: u64,
    slice_bytes: u64,
}

/// The rest of a body does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rest of the body does not come: {}", .0.kind)]
pub struct Lost(pub Failure);

impl Walk {
    /// Reads what was found, from its beginning; `None` when it does not stand in slices.
    pub(super) fn of(shared: &Arc<Shared>, wanted: &Arc<Wanted>, found: &Found) -> Option<Self> {
        let Extent::Sliced { total, slice_bytes } = found.head.extent else { return None };
        let whole = Whole {
            shared: shared.clone(),
            wanted: shared.placed(wanted),
            head: found.head.clone(),
            key: found.key,
            fill: found.fill,
            validator: strong_validator(&found.head.headers)?,
            total,
            slice_bytes,
        };
        Some(Self {
            whole: Arc::new(whole),
            position: 0,
            end: total,
            current: None,
            unreadable: None,
        })
    }

    /// Goes on at `start` and stops before `end`.
    pub fn seek(&mut self, start: u64, end: u64) {
        (self.position, self.end) = (start, end.min(self.whole.total));
        self.current = None;
    }

    /// Whether the next bytes are stored, or on their way already.
    #[must_use]
    pub fn is_at_hand(&self) -> bool {
        self.position >= self.end || self.whole.is_known(self.number())
    }

    /// The next bytes; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    /// [`Lost`]: the rest does not come.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Lost> {
        loop {
            if self.position >= self.end {
                return Ok(None);
            }
            let number = self.number();
            match &mut self.current {
                Some((at, opened)) if *at == number => match opened.body.read().await {
                    Ok(Some(bytes)) => {
                        self.position += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    Ok(None) => return Err(Lost(Failure::BROKEN)),
                    Err(_) => {
                        // What the disk does not give, upstream does, once.
                        let is_first = self.unreadable.replace(number) != Some(number);
                        let fill = opened.on_disk.filter(|_| is_first);
                        let fill = fill.ok_or(Lost(Failure::BROKEN))?;
                        self.whole.forget(number, fill);
                        self.current = None;
                    }
                },
                _ => {
                    let mut opened = self.whole.open(number).await?;
                    let first = number * self.whole.slice_bytes;
                    let end = (self.end - first).min(self.whole.slice_bytes);
                    opened.body.seek(self.position - first, Some(end));
                    self.current = Some((number, opened));
                    self.look_ahead(number);
                }
            }
        }
    }

    fn number(&self) -> u64 {
        self.position / self.whole.slice_bytes
    }

    /// Has the next slice fetched while this one is read.
    fn look_ahead(&self, number: u64) {
        let next = number + 1;
        if next * self.whole.slice_bytes >= self.end || self.whole.is_known(next) {
            return;
        }
        if let Some(seat) = self.whole.shared.collapse.lead(self.whole.slot(next)) {
            self.whole.shared.parts.metrics.background.with_label_values(&["slice"]).inc();
            self.whole.spawn(next, seat, None);
        }
    }
}

impl Opened {
    fn of(found: Found) -> Self {
        let on_disk = (found.tier == Tier::Disk).then_some(found.fill);
        Self { body: found.body, on_disk }
    }
}

impl Whole {
    fn slice_key(&self, number: u64) -> Key {
        self.wanted.route.key.slice(&self.validator, number)
    }

    fn slot(&self, number: u64) -> Key {
        slot_of(&self.wanted, self.slice_key(number))
    }

    fn is_known(&self, number: u64) -> bool {
        !matches!(self.lookup(number), Lookup::Nothing)
    }

    fn lookup(&self, number: u64) -> Lookup {
        let vary = &self.wanted.route.property().cache.vary;
        match self.shared.parts.store.lookup(&self.slice_key(number), &HeaderMap::new(), vary) {
            Lookup::Found(found) if !self.is_usable(&found) => Lookup::Nothing,
            looked_up => looked_up,
        }
    }

    /// Whether a slice may be read with this head: not when it was purged and the head came after that.
    fn is_usable(&self, slice: &Found) -> bool {
        let verdict = |head: &Head| self.shared.parts.store.verdict(head);
        verdict(&slice.head) != Verdict::Hard || verdict(&self.head) == Verdict::Hard
    }

    /// A reader of a slice, from its beginning.
    async fn open(self: &Arc<Self>, number: u64) -> Result<Opened, Lost> {
        for _ in 0..OPENS_MAX {
            match self.lookup(number) {
                Lookup::Found(found) => return Ok(Opened::of(found)),
                Lookup::OnDisk(stored) => {
                    let loaded = self.shared.parts.store.load(stored).await;
                    if let Some(found) = loaded.filter(|found| self.is_usable(found)) {
                        return Ok(Opened::of(found));
                    }
                }
                Lookup::Nothing => {}
            }
            let seat = match self.shared.collapse.join(self.slot(number)) {
                Role::Lead(seat) => seat,
                Role::Follow(follower) => {
                    match follower.wait(self.shared.wait_max(&self.wanted.route)).await {
                        Waited::Lead(seat) => seat,
                        Waited::For(Outcome::Failed(failed)) => return Err(Lost(failed.failure)),
                        Waited::For(_) => continue,
                    }
                }
            };
            let (reply, answer) = oneshot::channel();
            self.spawn(number, seat, Some(reply));
            return match answer.await {
                Ok(Ok(body)) => Ok(Opened { body, on_disk: None }),
                Ok(Err(failed)) => Err(Lost(failed.failure)),
                Err(_) => Err(Lost(Failure::INTERNAL)),
            };
        }
        Err(Lost(Failure::BROKEN))
    }

    /// The disk does not give a slice.
    fn forget(&self, number: u64, fill: u64) {
        self.shared.parts.store.remove(self.slice_key(number), fill);
        self.shared.parts.metrics.background.with_label_values(&["disk"]).inc();
    }

    fn spawn(self: &Arc<Self>, number: u64, seat: Seat, reply: Option<Reply>) {
        let whole = self.clone();
        tokio::spawn(async move { whole.fetch(number, seat, reply).await });
    }

    /// Fetches a slice.
    async fn fetch(&self, number: u64, seat: Seat, reply: Option<Reply>) {
        match self.begin(number).await {
            Ok((pump, body)) => {
                seat.vacate(Outcome::Settled);
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(body));
                }
                pump.run().await;
            }
            Err(failed) => {
                seat.vacate(Outcome::Failed(failed));
                if let Some(reply) = reply {
                    let _ = reply.send(Err(failed));
                }
            }
        }
    }

    async fn begin(&self, number: u64) -> Result<(Pump, Body), Failed> {
        let aligned = Aligned { number, slice_bytes: self.slice_bytes };
        let born = self.shared.born(&self.wanted.route);
        let mut headers = self.wanted.unconditional();
        headers.insert(header::RANGE, aligned.header());
        let question = Question { method: Method::GET, headers, body: None, interim: None };
        let asked = self.shared.ask(&self.wanted, question).await;
        let answer = asked.map_err(Failed::without_answer)?;
        let is_part = answer.status == StatusCode::PARTIAL_CONTENT;
        let part = is_part.then(|| Part::read(&answer, Instead::Slice(aligned)).ok()).flatten();
        let part = part.filter(|p| p.validator == self.validator && p.total == self.total);
        let Some(part) = part else {
            if answer.status.is_server_error() {
                return Err(Failed::answered(answer.status));
            }
            // The representation changed, or the origin gives no parts any more: begin anew, with the next request.
            self.shared.parts.metrics.slices_mixed.inc();
            let store = &self.shared.parts.store;
            store.remove(self.key, self.fill);
            return Err(Failed::without_answer(Failure::BROKEN));
        };
        let head = Head { born, created: answer.answered_at, ..part.head(&self.head) };
        let store = &self.shared.parts.store;
        let no_room = Failed::without_answer(Failure::INTERNAL);
        let room = store.reserve(head.length).ok_or(no_room)?;
        let fill = store.begin(self.slice_key(number), None, head, room);
        let body = fill.body();
        Ok((Pump::new(self.shared.clone(), self.wanted.clone(), fill, answer, true), body))
    }
}

type Reply = oneshot::Sender<Result<Body, Failed>>;

/// How often a slice is looked for again after somebody else fetched it: it may be purged or evicted in between.
const OPENS_MAX: usize = 4;
