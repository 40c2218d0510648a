//! Lanes as replicas have them: the log from where the node stands, heartbeats, confirmations.
//!
//! What a replica says comes from the cursor that runs in production.

use prost::Message;
use tidegate_control::{
    fleet,
    sync::purge_cursor::{Cursor, Said, heartbeat},
    wire::{PurgeDown, PurgeUp, purge_up},
};

use super::{
    super::{
        Mistake,
        replica::{Far, Lane, name},
    },
    BEAT_MS, Event, KEEPALIVE_MS, STREAM, WINDOW, World,
};

impl World {
    pub(super) fn up(&mut self, lane: usize, message: PurgeUp) {
        match message.message {
            Some(purge_up::Message::Hello(hello)) => {
                self.open(lane, hello.applied.get(STREAM).copied());
            }
            Some(purge_up::Message::Applied(applied)) => {
                let open = &self.lanes[lane];
                let may_lag = self.replicas.len() > 1;
                if let Some(far) = &open.far
                    && (may_lag || applied.offset <= self.replicas[open.replica].head)
                {
                    far.guard.applied(applied.offset);
                }
            }
            Some(purge_up::Message::Ask(ask)) => {
                if let Some(far) = &mut self.lanes[lane].far {
                    far.asked = far.asked.max(ask.number);
                }
            }
            None => {}
        }
    }

    pub(super) fn open(&mut self, lane: usize, applied: Option<u64>) {
        let Lane { pop, subscription, replica, .. } = self.lanes[lane];
        let now_ms = self.now_ms;
        let is_blind = self.settings.mistake == Some(Mistake::BlindReplica);
        let at = &self.replicas[replica];
        let (cursor, begun) = Cursor::begin(applied, at.head);
        let lags = self.replicas.len() > 1 && cursor.is_ahead_of(at.head);
        if !at.is_up(now_ms) || lags || !(at.is_current(now_ms) || is_blind) {
            self.give_up(lane);
            return;
        }
        for other in &mut self.lanes {
            let is_older =
                (other.pop, other.subscription, other.replica) == (pop, subscription, replica);
            if is_older && other.far.is_some() {
                other.far = None;
            }
        }
        let kind = fleet::Lane::Purges(fleet::Subscription::of(subscription));
        let guard = at.fleet.open_lane(&name(pop), kind, "simulated").expect("enrolled");
        guard.stands_at(begun.stands_at);
        guard.beat();
        let head = at.head;
        self.lanes[lane].far = Some(Far { cursor, guard, asked: 0, moved_ms: now_ms });
        self.tell(lane, &heartbeat(STREAM, head, 0, Default::default()));
        self.pump(lane);
        self.after(BEAT_MS, BEAT_MS, Event::Beat(lane));
    }

    pub(super) fn beat(&mut self, lane: usize) {
        let now_ms = self.now_ms;
        let is_blind = self.settings.mistake == Some(Mistake::BlindReplica);
        let open = &mut self.lanes[lane];
        let Some(far) = &open.far else { return };
        if open.in_flight > 0 && now_ms > far.moved_ms + KEEPALIVE_MS {
            open.far = None;
            return;
        }
        let at = &self.replicas[open.replica];
        // A lane whose window is full says nothing.
        if (at.is_current(now_ms) || is_blind) && open.in_flight < WINDOW {
            far.guard.beat();
            let said = heartbeat(STREAM, at.head, far.asked, Default::default());
            self.tell(lane, &said);
        }
        self.after(BEAT_MS, BEAT_MS, Event::Beat(lane));
    }

    pub(super) fn pump_all(&mut self, replica: usize) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].replica == replica && self.lanes[lane].far.is_some() {
                self.pump(lane);
            }
        }
    }

    /// Says what the log holds, as far as the window allows.
    pub(super) fn pump(&mut self, lane: usize) {
        loop {
            let open = &mut self.lanes[lane];
            let Some(far) = &mut open.far else { return };
            if open.in_flight >= WINDOW {
                return;
            }
            let at = &self.replicas[open.replica];
            let said = far.cursor.take(at.page(&self.log, far.cursor.after()));
            let Some(message) = said.message(STREAM) else { return };
            if let Said::Trimmed(head) = said
                && self.settings.mistake == Some(Mistake::UnsaidTrim)
                && self.pops[self.lanes[lane].pop].jump(head)
            {
                continue;
            }
            self.tell(lane, &message);
        }
    }

    pub(super) fn tell(&mut self, lane: usize, message: &PurgeDown) {
        let open = &mut self.lanes[lane];
        open.in_flight += 1;
        let path = &self.paths[open.pop][open.replica];
        let arrival = path.arrival(&mut open.down, self.now_ms, &mut self.random);
        self.at(arrival, Event::Down { lane, message: message.encode_to_vec() });
    }

    pub(super) fn learn(&mut self, replica: usize) {
        if self.is_linked(replica) {
            let newest = *tidegate_control::store::Log::head(&self.log).borrow();
            let at = &mut self.replicas[replica];
            at.heard_ms = self.now_ms;
            if newest != at.head {
                at.head = newest;
                self.pump_all(replica);
            }
        }
        self.after(10, 80, Event::Learn(replica));
    }

    pub(super) fn is_linked(&self, replica: usize) -> bool {
        let at = &self.replicas[replica];
        at.is_up(self.now_ms) && self.now_ms >= at.cut_until_ms
    }
}
