//! The way between a PoP and a replica: it delays, it stalls, it is cut, and it never loses or turns around what it
//! carries on one connection, as TCP does.

use super::random::Random;

/// One way, in both directions.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    delay_ms: u64,
    /// Nothing arrives before.
    cut_until_ms: u64,
    slow_until_ms: u64,
    slow_ms: u64,
}

/// One direction of one connection: what was sent first arrives first.
#[derive(Debug, Clone, Default)]
pub(super) struct Direction {
    last_ms: u64,
}

impl Path {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { delay_ms: random.between(1, 150), ..Self::default() }
    }

    /// Cuts it.
    pub(super) fn cut(&mut self, until_ms: u64) {
        self.cut_until_ms = self.cut_until_ms.max(until_ms);
    }

    /// Makes it slow.
    pub(super) fn slow(&mut self, until_ms: u64, by_ms: u64) {
        (self.slow_until_ms, self.slow_ms) = (until_ms, by_ms);
    }

    /// When something arrives that is sent now.
    pub(super) fn arrival(
        &self,
        direction: &mut Direction,
        now_ms: u64,
        random: &mut Random,
    ) -> u64 {
        let slow = if now_ms < self.slow_until_ms { self.slow_ms } else { 0 };
        let jitter = random.between(0, self.delay_ms / 4);
        let way = self.delay_ms + slow + jitter;
        let arrival = (now_ms + way).max(self.cut_until_ms.saturating_add(self.delay_ms));
        let is_free = self.cut_until_ms <= now_ms;
        let arrival = if is_free { now_ms + way } else { arrival };
        direction.last_ms = direction.last_ms.max(arrival);
        direction.last_ms
    }
}
