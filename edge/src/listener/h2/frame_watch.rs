//! Looks at the frames that come in before the h2 crate does, for what the crate does not see. Pure.
//!
//! It counts frames that move nothing, reads PRIORITY_UPDATE (RFC 9218 7.1), and finds trailers that begin with a
//! pseudo-header (RFC 9113 8.1); one that comes later is found by the crate. Invariant: whatever comes in, it holds a
//! bounded amount of memory and goes on; everything else that is malformed is for the crate to find.

use tokio::time::Instant;

use crate::listener::{allowance::Allowance, priority::Priority};

/// The watch on one connection.
#[derive(Debug)]
pub(super) struct FrameWatch {
    /// Bytes to pass over: of the preface, or of a payload.
    skipped: usize,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// A payload that is read, and how much of it is still to come.
    kept: Vec<u8>,
    kept_left: usize,
    /// The highest stream that has begun.
    stream_max: u32,
    resets: Allowance,
    control: Allowance,
    windows: Allowance,
    fault: Option<Fault>,
    /// What clients asked for that nobody has fetched yet.
    updates: Vec<(u32, Priority)>,
}

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// More frames that move nothing than a client may send.
    Flood,
    /// A pseudo-header in trailers.
    Trailers,
}

impl FrameWatch {
    pub(super) fn new(resets_per_minute: u32, control_per_minute: u32, now: Instant) -> Self {
        Self {
            skipped: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            kept: Vec::new(),
            kept_left: 0,
            resets: Allowance::new(resets_per_minute, now),
            control: Allowance::new(control_per_minute, now),
            windows: Allowance::new(control_per_minute, now),
            stream_max: 0,
            fault: None,
            updates: Vec::new(),
        }
    }

    /// Bytes have come in.
    pub(super) fn received(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            if self.skipped > 0 {
                let passed = self.skipped.min(bytes.len());
                self.skipped -= passed;
                bytes = &bytes[passed..];
            } else if self.kept_left > 0 {
                let taken = self.kept_left.min(bytes.len());
                self.kept.extend_from_slice(&bytes[..taken]);
                self.kept_left -= taken;
                bytes = &bytes[taken..];
                if self.kept_left == 0 {
                    self.kept_whole();
                }
            } else {
                let taken = (HEAD_BYTES - self.head_bytes).min(bytes.len());
                self.head[self.head_bytes..self.head_bytes + taken]
                    .copy_from_slice(&bytes[..taken]);
                self.head_bytes += taken;
                bytes = &bytes[taken..];
                if self.head_bytes == HEAD_BYTES {
                    self.head_bytes = 0;
                    self.frame(now);
                }
            }
        }
    }

    /// Bytes were sent: a client may answer them with window updates.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.windows.add(bytes as f64 / BYTES_PER_WINDOW_UPDATE);
    }

    /// Why the connection has to end, when it has to.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The priorities that came since the last time.
    pub(super) fn take_updates(&mut self) -> Vec<(u32, Priority)> {
        std::mem::take(&mut self.updates)
    }

    fn frame(&mut self, now: Instant) {
        let [l0, l1, l2, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let is_allowed = match kind {
            DATA if length > 0 || flags & END_STREAM != 0 => true,
            HEADERS => true,
            RST_STREAM => self.resets.take(now),
            WINDOW_UPDATE => self.windows.take(now) || self.control.take(now),
            _ => self.control.take(now),
        };
        if !is_allowed {
            self.fault.get_or_insert(Fault::Flood);
        }
        let stream = self.stream();
        let kept = match kind {
            PRIORITY_UPDATE if length <= UPDATE_BYTES_MAX => length,
            // The second section of a stream is its trailers.
            HEADERS if stream <= self.stream_max => length.min(SECTION_BYTES),
            _ => 0,
        };
        if kind == HEADERS {
            self.stream_max = self.stream_max.max(stream);
        }
        self.kept.clear();
        self.kept_left = kept;
        self.skipped = length - kept;
    }

    /// The frame's stream.
    fn stream(&self) -> u32 {
        let [.., s0, s1, s2, s3] = self.head;
        u32::from_be_bytes([s0, s1, s2, s3]) & STREAM_ID_MASK
    }

    /// What is kept of a payload is there.
    fn kept_whole(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
        if kind == PRIORITY_UPDATE {
            self.update();
        } else if begins_with_pseudo_header(&self.kept, flags) {
            self.fault.get_or_insert(Fault::Trailers);
        }
    }

    fn update(&mut self) {
        let Some((id, value)) = self.kept.split_first_chunk::<STREAM_ID_BYTES>() else { return };
        let id = u32::from_be_bytes(*id) & STREAM_ID_MASK;
        if self.updates.len() < UPDATES_MAX {
            self.updates.push((id, Priority::default().with(value)));
        }
    }
}

/// Whether a header section begins with a pseudo-header, as far as that can be told without the table of the
/// connection (RFC 7541 6): those of the static table, and names that are written out.
fn begins_with_pseudo_header(payload: &[u8], flags: u8) -> bool {
    let before = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let section = payload.get(before..).unwrap_or_default();
    // A change of the table's size may stand in front.
    let fields = section.iter().position(|byte| byte >> 5 != 0b001).unwrap_or(section.len());
    let [first, rest @ ..] = &section[fields..] else { return false };
    let name = match first {
        0x80.. => first & 0x7f,
        0x40.. => first & 0x3f,
        _ => first & 0x0f,
    };
    match (name, rest) {
        (1..=PSEUDO_STATIC_MAX, _) => true,
        // A name of its own: plain, or in the Huffman code, where a colon is seven bits.
        (0, [length, byte, ..]) if *first < 0x80 => {
            if length & 0x80 == 0 {
                *byte == b':'
            } else {
                byte >> 1 == COLON_HUFFMAN
            }
        }
        _ => false,
    }
}

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const STREAM_ID_BYTES: usize = 4;
const STREAM_ID_MASK: u32 = 0x7fff_ffff;
/// A priority is a few bytes; longer ones are not read.
const UPDATE_BYTES_MAX: usize = 128;
/// Updates that wait to be fetched; more in one read are not heard.
const UPDATES_MAX: usize = 128;
/// Clients send about two window updates for every frame of 16 KiB; this leaves room for those that send more.
const BYTES_PER_WINDOW_UPDATE: f64 = 256.0;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const PRIORITY_UPDATE: u8 = 0x10;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Bytes of trailers that are looked at: padding, priority, a table size and the first field's name.
const SECTION_BYTES: usize = 24;
/// The static table begins with the pseudo-headers.
const PSEUDO_STATIC_MAX: u8 = 14;
const COLON_HUFFMAN: u8 = 0b101_1100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn watch() -> FrameWatch {
        let mut watch = FrameWatch::new(3, 5, Instant::now());
        watch.received(&[0; PREFACE_BYTES], Instant::now());
        watch
    }

    /// How many of these frames may come at once.
    fn allowed(bytes: &[u8]) -> usize {
        let (mut watch, now) = (watch(), Instant::now());
        (0..100)
            .take_while(|_| {
                watch.received(bytes, now);
                watch.fault().is_none()
            })
            .count()
    }

    #[test]
    fn frames_that_move_nothing_are_counted() {
        assert_eq!(allowed(&frame(RST_STREAM, 0, &[0; 4])), 3);
        for (kind, flags) in
            [(DATA, 0), (2, 0), (4, 0), (4, 1), (6, 0), (7, 0), (9, 4), (0x10, 0), (0xbe, 0)]
        {
            assert_eq!(allowed(&frame(kind, flags, &[])), 5, "{kind}");
        }
        assert_eq!(allowed(&frame(WINDOW_UPDATE, 0, &[0; 4])), 10, "beside what was sent");
        for moving in [frame(DATA, 0, b"x"), frame(DATA, END_STREAM, b""), frame(HEADERS, 0, b"x")]
        {
            assert_eq!(allowed(&moving), 100);
        }
    }

    #[test]
    fn window_updates_are_paid_for_by_what_was_sent() {
        let (mut watch, now) = (watch(), Instant::now());
        for _ in 0..1000 {
            watch.sent(512);
            watch.received(&frame(WINDOW_UPDATE, 0, &[0; 4]), now);
        }
        assert_eq!(watch.fault(), None);
    }

    #[test]
    fn trailers_with_pseudo_headers_are_found() {
        let is_found = |flags: u8, section: &[u8]| {
            let mut watch = watch();
            let begun = frame(HEADERS, 4, &[0x82, 0x84]);
            watch.received(&begun, Instant::now());
            assert_eq!(watch.fault(), None, "at the beginning they belong");
            watch.received(&frame(HEADERS, flags, section), Instant::now());
            watch.fault() == Some(Fault::Trailers)
        };
        for bad in [
            &[0x82][..],
            &[0x42, 3],
            &[0x02, 3],
            &[0x12, 3],
            &[0x20, 0x3f, 0x82],
            b"\x40\x07:method",
            b"\x00\x85\xb9\x49",
            b"\x10\x02:x",
        ] {
            assert!(is_found(5, bad), "{bad:?}");
        }
        assert!(is_found(8, &[1, 0x82, 0]) && is_found(0x28, &[1, 0, 0, 0, 0, 0, 0x84, 0]));
        for good in
            [&[0x90][..], b"\x40\x03x-y", b"\x00\x82\xf2\xb4", &[0x0f, 1, 0], &[0xbe], &[], &[0x20]]
        {
            assert!(!is_found(5, good), "{good:?}");
        }
    }

    #[test]
    fn priority_updates_are_read() {
        let mut watch = watch();
        let mut bytes = frame(HEADERS, 4, &[7; 300]);
        bytes.extend(frame(PRIORITY_UPDATE, 0, b"\x80\0\0\x05u=1, i"));
        bytes.extend(frame(PRIORITY_UPDATE, 0, b"\0\0"));
        bytes.extend(frame(PRIORITY_UPDATE, 0, &[b'u'; 500]));
        bytes.extend(frame(PRIORITY_UPDATE, 0, b"\0\0\0\x07u=6"));
        for byte in bytes {
            watch.received(&[byte], Instant::now());
        }
        let five = Priority { urgency: 1, is_incremental: true };
        let seven = Priority { urgency: 6, is_incremental: false };
        assert_eq!(watch.take_updates(), [(5, five), (7, seven)]);
        assert!(watch.take_updates().is_empty());
    }

    proptest! {
        #[test]
        fn whatever_comes_it_goes_on(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let mut watch = watch();
            for piece in pieces {
                watch.received(&piece, Instant::now());
                prop_assert!(watch.kept.len() <= UPDATE_BYTES_MAX);
            }
        }
    }
}
