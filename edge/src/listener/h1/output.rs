//! Pieces that wait to be written: what is framed around a body's piece leaves with it in one system call.
//!
//! Invariant: bytes leave in the order in which they were put here, each once.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

/// The pieces of one connection.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// What is being written.
    current: Piece,
    /// What came before that was written; only a caller that does not wait gets this far.
    behind: VecDeque<Piece>,
}

/// Bytes of ours, bytes of a body, and what closes them.
#[derive(Debug, Default)]
struct Piece {
    lines: Vec<u8>,
    content: Bytes,
    end: &'static [u8],
    /// Bytes of all three that have left.
    done: usize,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.current.left() == 0
    }

    /// Too much waits: whoever puts more here does not wait for what is there.
    pub(super) fn is_full(&self) -> bool {
        self.behind.len() >= PIECES_MAX
    }

    /// Where lines are put that leave behind everything that is here.
    pub(super) fn lines(&mut self) -> &mut Vec<u8> {
        let last = self.behind.back().unwrap_or(&self.current);
        if !last.content.is_empty() || !last.end.is_empty() {
            if self.current.left() == 0 {
                self.current = Piece::default();
            } else {
                self.behind.push_back(Piece::default());
            }
        }
        let lines = &mut self.behind.back_mut().unwrap_or(&mut self.current).lines;
        if lines.capacity() == 0 {
            lines.reserve(LINES_BYTES_USUAL);
        }
        lines
    }

    /// Puts a piece of a body, and what closes it, behind the last lines.
    pub(super) fn content(&mut self, content: Bytes, end: &'static [u8]) {
        // Makes a piece without content the last one.
        self.lines();
        let last = self.behind.back_mut().unwrap_or(&mut self.current);
        last.content = content;
        last.end = end;
    }

    /// What may leave together.
    pub(super) fn slices(&self) -> [IoSlice<'_>; 3] {
        let Piece { lines, content, end, done } = &self.current;
        let mut skipped = *done;
        let mut rest = |bytes| {
            let bytes: &[u8] = bytes;
            let taken = skipped.min(bytes.len());
            skipped -= taken;
            IoSlice::new(&bytes[taken..])
        };
        [rest(lines), rest(content), rest(end)]
    }

    /// So many bytes have left; returns how many of them were a body's.
    pub(super) fn advance(&mut self, bytes: usize) -> usize {
        let piece = &mut self.current;
        let content_left = |done: usize| {
            piece.content.len() - done.saturating_sub(piece.lines.len()).min(piece.content.len())
        };
        let before = content_left(piece.done);
        piece.done += bytes;
        let moved = before - content_left(piece.done);
        if piece.left() == 0 {
            // Frees what it held: an idle connection holds nothing.
            self.current = self.behind.pop_front().unwrap_or_default();
        }
        moved
    }
}

impl Piece {
    fn left(&self) -> usize {
        self.lines.len() + self.content.len() + self.end.len() - self.done
    }
}

/// A response's head and some more.
const LINES_BYTES_USUAL: usize = 1024;
/// Pieces that may wait behind the one that is being written.
const PIECES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_leaves_once_and_in_order(
            puts in prop::collection::vec((0usize..5, 0usize..9, any::<bool>(), 0usize..30), 1..30),
        ) {
            let (mut output, mut expected, mut left) = (Output::default(), Vec::new(), Vec::new());
            let (mut content_in, mut content_out) = (0, 0);
            let mut write = |output: &mut Output, left: &mut Vec<u8>, mut room: usize| {
                while room > 0 && !output.is_empty() {
                    let all: Vec<u8> = output.slices().iter().flat_map(|slice| slice.to_vec()).collect();
                    let n = room.min(all.len());
                    left.extend_from_slice(&all[..n]);
                    content_out += output.advance(n);
                    room -= n;
                }
            };
            for (n, (lines, content, has_end, room)) in puts.into_iter().enumerate() {
                let text = vec![n as u8; lines];
                output.lines().extend_from_slice(&text);
                expected.extend_from_slice(&text);
                if content > 0 {
                    let end: &'static [u8] = if has_end { b"\r\n" } else { b"" };
                    output.content(vec![n as u8 + 100; content].into(), end);
                    expected.extend_from_slice(&vec![n as u8 + 100; content]);
                    expected.extend_from_slice(end);
                    content_in += content;
                }
                write(&mut output, &mut left, room);
            }
            write(&mut output, &mut left, usize::MAX);
            prop_assert_eq!(left, expected);
            prop_assert_eq!(content_in, content_out);
        }
    }
}
