//! Lines out of a stream of bytes.
//!
//! Invariant: no more than the longest line is ever held.

/// Cuts lines.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// So many bytes of the buffer have no end of a line.
    scanned: usize,
    bytes_max: usize,
}

/// A line that is longer than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {0} bytes")]
pub(super) struct TooLong(usize);

impl Lines {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), scanned: 0, bytes_max }
    }

    /// Takes more bytes in and gives each line that they complete to `each`, without its end.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        self.buffer.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(at) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let end = self.scanned + at;
            if end - begin > self.bytes_max {
                return Err(TooLong(self.bytes_max));
            }
            each(&self.buffer[begin..end]);
            begin = end + 1;
            self.scanned = begin;
        }
        self.buffer.drain(..begin);
        self.scanned = self.buffer.len();
        if self.buffer.len() > self.bytes_max { Err(TooLong(self.bytes_max)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_refused_before_it_ends() {
        let mut lines = Lines::new(4);
        assert_eq!(lines.push(b"1234\n123", |_| ()), Ok(()));
        assert_eq!(lines.push(b"45", |_| ()), Err(TooLong(4)));
        assert_eq!(Lines::new(4).push(b"12345\n", |_| panic!("it is refused")), Err(TooLong(4)));
    }

    proptest! {
        #[test]
        fn lines_come_out_however_they_were_cut(
            texts in prop::collection::vec("[a-z]{0,9}", 0..9), size in 1usize..7,
        ) {
            let stream: Vec<u8> = texts.iter().flat_map(|text| format!("{text}\n").into_bytes()).collect();
            let mut lines = Lines::new(9);
            let mut out = Vec::new();
            for part in stream.chunks(size) {
                lines.push(part, |line| out.push(String::from_utf8_lossy(line).into_owned())).expect("short");
            }
            prop_assert_eq!(out, texts);
        }
    }
}
