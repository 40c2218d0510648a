//! What goes wrong: ways that are cut or slow, crashes, logs that are trimmed or restored.
//!
//! Every fault ends by itself, so that each run shows how things come back.

use tidegate_contract::id::StreamId;
use tidegate_control::store::MemoryLog;

use super::{
    super::{Mistake, pop::Pop, replica::Replica},
    POPS, STREAM, TAIL_ENTRIES, World,
};

impl World {
    pub(super) fn fault(&mut self) {
        self.report.faults += 1;
        let (pop, now_ms) = (self.random.one_of(POPS), self.now_ms);
        let replica = self.random.one_of(self.replicas.len());
        let length = self.random.between(100, 12_000);
        match self.random.between(0, 99) {
            0..25 => self.paths[pop][replica].cut(now_ms + length),
            25..45 => {
                for path in &mut self.paths[pop] {
                    path.cut(now_ms + length);
                }
            }
            45..65 => {
                let slow = self.random.between(100, 4500);
                self.paths[pop][replica].slow(now_ms + length, slow);
            }
            65..72 => self.crash_pop(pop),
            72..80 => self.crash_replica(replica, now_ms + length / 4),
            80..88 => {
                let at = &mut self.replicas[replica];
                at.cut_until_ms = now_ms + length;
            }
            88..94 => {
                let newest = *tidegate_control::store::Log::head(&self.log).borrow();
                let left = self.random.between(0, 6);
                self.log.trim_to(newest.saturating_sub(left));
            }
            94..97 => self.backup = Some((self.log.backup(), self.purges.len())),
            _ => self.restore(),
        }
    }

    pub(super) fn crash_pop(&mut self, pop: usize) {
        let life = self.pops[pop].life + 1;
        self.pops[pop] = Pop::new(self.clock.clone(), life);
        for lane in &mut self.lanes {
            if lane.pop == pop {
                lane.near = None;
            }
        }
        self.connect_all(pop);
    }

    pub(super) fn crash_replica(&mut self, replica: usize, until_ms: u64) {
        let newest = *tidegate_control::store::Log::head(&self.log).borrow();
        let mut anew = Replica::new(&self.clock, POPS, newest, self.now_ms);
        anew.down_until_ms = until_ms;
        // It learns where the log ends before it opens its ports.
        anew.heard_ms = until_ms;
        self.replicas[replica] = anew;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].replica == replica {
                self.lanes[lane].far = None;
                self.give_up(lane);
            }
        }
    }

    /// The machine with the log is lost; everything goes on from the last backup, and what came after it is gone.
    pub(super) fn restore(&mut self) {
        let Some((backup, purges)) = self.backup.take() else { return };
        self.report.restores += 1;
        if self.settings.mistake == Some(Mistake::OffsetsGivenTwice) {
            let stream = StreamId::parse(STREAM).expect("a good id");
            self.log = MemoryLog::new(stream, TAIL_ENTRIES);
            for purged in &self.purges[..purges] {
                self.log.push(self.new_purge(purged.order.clone(), purged.accepted_ms));
            }
        } else {
            self.log.restore(&backup);
        }
        for replica in 0..self.replicas.len() {
            self.crash_replica(replica, self.now_ms + 200);
        }
    }
}
