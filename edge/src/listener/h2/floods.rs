//! Frames that move nothing: how many of them a client may send. Pure.
//!
//! Requests that are reset at once (CVE-2023-44487) have an allowance of their own; window updates are paid for by what
//! was sent. Invariant: content, and requests that are not reset, are never counted.

use tokio::time::Instant;

use super::frame::{END_STREAM, FrameHead, kind};
use crate::listener::allowance::Allowance;

/// The allowances of one connection.
#[derive(Debug)]
pub(super) struct Floods {
    resets: Allowance,
    control: Allowance,
    windows: Allowance,
}

impl Floods {
    pub(super) fn new(resets_per_minute: u32, control_per_minute: u32, now: Instant) -> Self {
        Self {
            resets: Allowance::new(resets_per_minute, now),
            control: Allowance::new(control_per_minute, now),
            windows: Allowance::new(control_per_minute, now),
        }
    }

    /// A frame has come; false when there were too many like it.
    pub(super) fn allows(&mut self, head: FrameHead, now: Instant) -> bool {
        match head.kind {
            kind::DATA if head.length > 0 || head.flags & END_STREAM != 0 => true,
            kind::HEADERS => true,
            kind::RST_STREAM => self.resets.take(now),
            kind::WINDOW_UPDATE => self.windows.take(now) || self.control.take(now),
            _ => self.control.take(now),
        }
    }

    /// A part of a header section has come.
    pub(super) fn allows_part(&mut self, now: Instant) -> bool {
        self.control.take(now)
    }

    /// Bytes were sent: a client may answer them with window updates.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.windows.add(bytes as f64 / BYTES_PER_WINDOW_UPDATE);
    }
}

/// Clients send about two window updates for every frame of 16 KiB; this leaves room for those that send more.
const BYTES_PER_WINDOW_UPDATE: f64 = 256.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these frames may come at once.
    fn allowed(kind: u8, flags: u8, length: usize) -> usize {
        let now = Instant::now();
        let mut floods = Floods::new(3, 5, now);
        let head = FrameHead { length, kind, flags, stream: 1 };
        (0..100).take_while(|_| floods.allows(head, now)).count()
    }

    #[test]
    fn frames_that_move_nothing_are_counted() {
        assert_eq!(allowed(kind::RST_STREAM, 0, 4), 3);
        for (kind, flags) in
            [(kind::DATA, 0), (2, 0), (4, 0), (4, 1), (6, 0), (7, 0), (0x10, 0), (0xbe, 0)]
        {
            assert_eq!(allowed(kind, flags, 0), 5, "{kind}");
        }
        assert_eq!(allowed(kind::WINDOW_UPDATE, 0, 4), 10, "beside what was sent");
        for (kind, flags, length) in
            [(kind::DATA, 0, 1), (kind::DATA, END_STREAM, 0), (kind::HEADERS, 0, 1)]
        {
            assert_eq!(allowed(kind, flags, length), 100);
        }
    }

    #[test]
    fn window_updates_are_paid_for_by_what_was_sent() {
        let now = Instant::now();
        let mut floods = Floods::new(3, 5, now);
        let update = FrameHead { length: 4, kind: kind::WINDOW_UPDATE, flags: 0, stream: 0 };
        for _ in 0..1000 {
            floods.sent(512);
            assert!(floods.allows(update, now));
        }
    }
}
