//! Lanes as nodes have them: dialled, given up after silence, dialled again.
//!
//! What a node says and hears goes through the agent's own follower.

use prost::Message;
use tidegate_control::wire::PurgeUp;
use tidegate_edge::control::wire;

use super::{
    super::{
        Mistake,
        path::Direction,
        replica::{Lane, Near},
    },
    Event, SILENCE_MAX_MS, World,
};

impl World {
    pub(super) fn connect_all(&mut self, pop: usize) {
        for subscription in 0..self.replicas.len() as u32 {
            self.after(0, 500, Event::Connect { pop, subscription });
        }
    }

    pub(super) fn connect(&mut self, pop: usize, subscription: u32) {
        // With as many endpoints as subscriptions each one stays at its own.
        let replica = subscription as usize;
        let now = self.clock.now();
        let (hello, heard) = self.pops[pop].follower.hello("simulated", subscription, now);
        let lane = self.lanes.len();
        self.lanes.push(Lane {
            pop,
            subscription,
            replica,
            up: Direction::default(),
            down: Direction::default(),
            near: Some(Near { heard, spoken_ms: self.now_ms }),
            far: None,
            in_flight: 0,
        });
        self.report.lanes += 1;
        self.say(lane, &hello);
        self.at(self.now_ms + SILENCE_MAX_MS + 1, Event::Silence(lane));
    }

    /// The node's side ends, and comes back after a while.
    pub(super) fn give_up(&mut self, lane: usize) {
        if self.lanes[lane].near.take().is_some() {
            let Lane { pop, subscription, .. } = self.lanes[lane];
            self.after(0, 1500, Event::Connect { pop, subscription });
        }
    }

    pub(super) fn silence(&mut self, lane: usize) {
        let Some(near) = &self.lanes[lane].near else { return };
        let due = near.spoken_ms + SILENCE_MAX_MS + 1;
        if due <= self.now_ms {
            self.give_up(lane);
        } else {
            self.at(due, Event::Silence(lane));
        }
    }

    pub(super) fn down(&mut self, lane: usize, message: &[u8]) {
        let (mistake, now, now_ms) = (self.settings.mistake, self.clock.now(), self.now_ms);
        let open = &mut self.lanes[lane];
        open.in_flight -= 1;
        let Some(near) = &mut open.near else {
            open.far = None; // what is sent to a closed socket comes back as a reset
            return;
        };
        if let Some(far) = &mut open.far {
            far.moved_ms = now_ms;
        }
        near.spoken_ms = now_ms;
        let mut message = wire::PurgeDown::decode(message).expect("what we wrote");
        if let Some(wire::purge_down::Message::Heartbeat(beat)) = &mut message.message
            && mistake == Some(Mistake::LeaseFromArrival)
        {
            beat.answers = near.heard.questions.ask(now).number;
        }
        let is_answer = matches!(message.message, Some(wire::purge_down::Message::Heartbeat(_)));
        if matches!(message.message, Some(wire::purge_down::Message::Trimmed(_))) {
            self.report.trims += 1;
        }
        let pop = open.pop;
        let taken = self.pops[pop].follower.take(message, &mut near.heard, now);
        let ask = is_answer.then(|| near.heard.questions.ask(now));
        if taken.is_err() {
            self.give_up(lane);
            return;
        }
        for acknowledgement in self.pops[pop].follower.acknowledgements() {
            self.say(lane, &acknowledgement);
        }
        if let Some(ask) = ask {
            let ask = wire::purge_up::Message::Ask(ask);
            self.say(lane, &wire::PurgeUp { message: Some(ask) });
        }
        self.pump(lane);
    }

    pub(super) fn say(&mut self, lane: usize, message: &wire::PurgeUp) {
        let message = PurgeUp::decode(message.encode_to_vec().as_slice()).expect("what we wrote");
        let open = &mut self.lanes[lane];
        let path = &self.paths[open.pop][open.replica];
        let arrival = path.arrival(&mut open.up, self.now_ms, &mut self.random);
        self.at(arrival, Event::Up { lane, message });
    }
}
