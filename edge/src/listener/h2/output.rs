//! What waits to leave a connection: frames of ours, and the content of many streams between them.
//!
//! Content is not copied; what stands around it lies in one buffer. Invariant: bytes leave in the order in which they
//! were put here, each once, but for content of streams that have ended meanwhile, whose frames leave whole or not.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

use super::frame::{END_STREAM, FrameHead, HEAD_BYTES, kind};

/// What waits on one connection.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: VecDeque<Piece>,
    /// The bytes of [`Piece::Own`], one behind the other.
    own: Vec<u8>,
    /// How many of them have left.
    own_done: usize,
}

#[derive(Debug)]
enum Piece {
    /// So many bytes of the buffer.
    Own(usize),
    Data(Data),
}

#[derive(Debug)]
struct Data {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have left.
    head_done: usize,
    content: Bytes,
    owner: Owner,
}

/// Whose content it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) stream: u32,
    /// Where the stream is found.
    pub(super) place: usize,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of our own frames that wait.
    pub(super) fn own_bytes(&self) -> usize {
        self.own.len() - self.own_done
    }

    /// Writes frames of ours.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.own.capacity() == 0 {
            self.own.reserve(OWN_BYTES_USUAL);
        }
        let before = self.own.len();
        write(&mut self.own);
        let written = self.own.len() - before;
        if written == 0 {
            return;
        }
        match self.pieces.back_mut() {
            Some(Piece::Own(bytes)) => *bytes += written,
            _ => self.pieces.push_back(Piece::Own(written)),
        }
    }

    /// Puts a DATA frame.
    pub(super) fn data(&mut self, owner: Owner, content: Bytes, is_last: bool) {
        let flags = if is_last { END_STREAM } else { 0 };
        let head =
            FrameHead { length: content.len(), kind: kind::DATA, flags, stream: owner.stream };
        let head = head.bytes();
        if content.is_empty() {
            return self.write(|own| own.extend_from_slice(&head));
        }
        self.pieces.push_back(Piece::Data(Data { head, head_done: 0, content, owner }));
    }

    /// What may leave together, as far as there are slices for it; returns how many.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut used, mut own) = (0, &self.own[self.own_done..]);
        for piece in &self.pieces {
            if used + 2 > slices.len() {
                break;
            }
            match piece {
                Piece::Own(bytes) => {
                    let (now, rest) = own.split_at(*bytes);
                    own = rest;
                    slices[used] = IoSlice::new(now);
                    used += 1;
                }
                Piece::Data(data) => {
                    slices[used] = IoSlice::new(&data.head[data.head_done..]);
                    slices[used + 1] = IoSlice::new(&data.content);
                    used += 2;
                }
            }
        }
        used
    }

    /// So many bytes have left; `left` is told of content among them.
    pub(super) fn advance(&mut self, mut bytes: usize, mut left: impl FnMut(Owner, usize)) {
        while let (1.., Some(piece)) = (bytes, self.pieces.front_mut()) {
            let is_done = match piece {
                Piece::Own(waiting) => {
                    let taken = bytes.min(*waiting);
                    bytes -= taken;
                    self.own_done += taken;
                    *waiting -= taken;
                    *waiting == 0
                }
                Piece::Data(data) => {
                    let of_head = bytes.min(HEAD_BYTES - data.head_done);
                    data.head_done += of_head;
                    bytes -= of_head;
                    let of_content = bytes.min(data.content.len());
                    if of_content > 0 {
                        data.content.advance(of_content);
                        bytes -= of_content;
                        left(data.owner, of_content);
                    }
                    data.content.is_empty()
                }
            };
            if is_done {
                self.pieces.pop_front();
            }
        }
        self.tidy();
    }

    /// Takes away what has not begun to leave of a stream's content, or of everybody's; returns how much.
    pub(super) fn cut(&mut self, stream: Option<u32>) -> usize {
        let mut cut = 0;
        self.pieces.retain(|piece| match piece {
            Piece::Data(data)
                if data.head_done == 0 && stream.is_none_or(|cut| cut == data.owner.stream) =>
            {
                cut += data.content.len();
                false
            }
            _ => true,
        });
        cut
    }

    /// Gives back what an idle connection does not need, and the room before what waits.
    fn tidy(&mut self) {
        if self.own_done == self.own.len() {
            self.own_done = 0;
            if self.own.capacity() > OWN_BYTES_KEPT {
                self.own = Vec::new();
            } else {
                self.own.clear();
            }
        } else if self.own_done > OWN_BYTES_KEPT {
            self.own.drain(..self.own_done);
            self.own_done = 0;
        }
    }

    /// Frees all that it can while nothing happens.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// Heads of some responses.
const OWN_BYTES_USUAL: usize = 2048;
/// A larger buffer is given back when it is empty.
const OWN_BYTES_KEPT: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(output: &mut Output, taken: &mut Vec<u8>, mut room: usize) -> usize {
        let mut content = 0;
        while room > 0 && !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 5];
            let used = output.slices(&mut slices);
            let all: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            let now = room.min(all.len());
            taken.extend_from_slice(&all[..now]);
            output.advance(now, |_, bytes| content += bytes);
            room -= now;
        }
        content
    }

    #[test]
    fn a_stream_that_ends_takes_its_content_with_it_but_no_half_frame() {
        let mut output = Output::default();
        let owner = |stream| Owner { stream, place: 0 };
        output.data(owner(1), Bytes::from_static(b"one"), false);
        output.data(owner(3), Bytes::from_static(b"three"), false);
        output.data(owner(1), Bytes::from_static(b"ONE"), true);
        output.write(|own| own.extend_from_slice(b"own"));
        let mut taken = Vec::new();
        assert_eq!(take(&mut output, &mut taken, 10), 1);
        assert_eq!(output.cut(Some(1)), 3);
        take(&mut output, &mut taken, usize::MAX);
        let expected = [b"\0\0\x03\0\0\0\0\0\x01one", &b"\0\0\x05\0\0\0\0\0\x03three"[..], b"own"];
        assert_eq!(taken, expected.concat());
        output.data(owner(1), Bytes::from_static(b"a"), false);
        output.data(owner(3), Bytes::new(), true);
        assert_eq!(output.cut(None), 1);
        assert_eq!(output.own_bytes(), HEAD_BYTES, "an end is a frame of ours");
    }

    proptest! {
        #[test]
        fn everything_leaves_once_and_in_order(
            puts in prop::collection::vec((0_usize..40, any::<bool>(), 0_usize..60), 1..40),
        ) {
            let (mut output, mut expected, mut taken) = (Output::default(), Vec::new(), Vec::new());
            let (mut content, mut content_left) = (0, 0);
            for (n, (length, is_data, room)) in puts.into_iter().enumerate() {
                let bytes = vec![n as u8; length];
                if is_data {
                    let head = FrameHead { length, kind: kind::DATA, flags: 0, stream: 1 };
                    expected.extend_from_slice(&head.bytes());
                    content += length;
                    output.data(Owner { stream: 1, place: 7 }, bytes.clone().into(), false);
                } else {
                    output.write(|own| own.extend_from_slice(&bytes));
                }
                expected.extend_from_slice(&bytes);
                content_left += take(&mut output, &mut taken, room);
            }
            content_left += take(&mut output, &mut taken, usize::MAX);
            prop_assert_eq!(taken, expected);
            prop_assert_eq!(content, content_left);
            prop_assert_eq!(output.own_bytes(), 0);
        }
    }
}
