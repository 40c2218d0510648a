//! Measures H1 header sections as their bytes pass by, because Pingora's parser bounds neither their
//! time nor, below 1 MiB, their size.
//!
//! Invariant: only header sections are measured; bodies pass unseen.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Measures the header sections of one H1 connection as their bytes pass by.
#[derive(Debug)]
pub(super) struct HeaderMeter {
    bytes_max: u64,
    state: Mutex<MeterState>,
}

#[derive(Debug, Default)]
struct MeterState {
    /// Inside a header section, or before one.
    is_header: bool,
    bytes: u64,
    /// The last byte was a line end, not counting a carriage return after it.
    is_line_start: bool,
}

impl HeaderMeter {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, state: Mutex::new(MeterState::default()) }
    }

    /// The next bytes begin a header section.
    pub(super) fn expect_header(&self) {
        *self.lock() = MeterState { is_header: true, ..MeterState::default() };
    }

    /// A header section is expected and none of it has come.
    pub(super) fn is_waiting(&self) -> bool {
        let state = self.lock();
        state.is_header && state.bytes == 0
    }

    /// Counts bytes; true while a header section has begun and not ended.
    pub(super) fn count(&self, bytes: &[u8]) -> io::Result<bool> {
        let mut state = self.lock();
        if !state.is_header {
            return Ok(false);
        }
        for byte in bytes {
            state.bytes += 1;
            match byte {
                b'\n' if state.is_line_start => {
                    state.is_header = false;
                    break;
                }
                b'\n' => state.is_line_start = true,
                b'\r' => {}
                _ => state.is_line_start = false,
            }
        }
        if state.bytes > self.bytes_max {
            let problem = format!("request header above {} bytes", self.bytes_max);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(state.is_header && state.bytes > 0)
    }

    fn lock(&self) -> MutexGuard<'_, MeterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_counts_header_sections_only() {
        let meter = HeaderMeter::new(32);
        assert!(!meter.count(&[b'x'; 100]).unwrap(), "off until a header is expected");

        meter.expect_header();
        assert!(meter.is_waiting());
        assert!(meter.count(b"GET / HTTP/1.1\r\n").unwrap());
        assert!(!meter.is_waiting());
        assert!(!meter.count(b"a: b\r\n\r\nbody").unwrap());
        assert!(!meter.count(&[b'\n'; 100]).unwrap(), "the body is not measured");

        meter.expect_header();
        assert!(!meter.count(b"GET / HTTP/1.1\n\n").unwrap(), "bare line feeds end it too");
    }

    #[test]
    fn a_header_above_the_limit_is_an_error_however_it_is_cut() {
        for piece in [1, 7, 64] {
            let meter = HeaderMeter::new(32);
            meter.expect_header();
            let header = [b'a'; 64];
            let refused = header.chunks(piece).find_map(|bytes| meter.count(bytes).err());
            assert_eq!(refused.unwrap().kind(), io::ErrorKind::InvalidData, "{piece}");
        }
    }
}
