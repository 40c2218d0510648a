//! From bytes as they come to whole frames, in their order: preface, then SETTINGS, then sections without a gap.
//!
//! Pure. A frame that has come whole is read where it lies; only one that is cut is kept until the rest comes.
//! Invariant: no more than one frame and one header section of bounded length are held, whatever comes.

use super::{
    code::{Broken, Code},
    frame::{self, Frame, FrameHead, HEAD_BYTES, kind},
};

/// Reads the frames of one connection.
#[derive(Debug)]
pub struct Reader {
    /// A frame that is not whole; with `is_read` one that the caller is done with.
    cut: Vec<u8>,
    is_read: bool,
    has_settings: bool,
    /// A section that is not whole.
    section: Option<Section>,
    /// Bytes of a header section that are held.
    section_max: usize,
}

#[derive(Debug)]
struct Section {
    stream: u32,
    is_last: bool,
    bytes: Vec<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A frame; never HEADERS or CONTINUATION.
    Frame(FrameHead, Frame<'a>),
    /// A whole header section.
    Section {
        /// Its stream.
        stream: u32,
        /// The encoded lines.
        section: std::borrow::Cow<'a, [u8]>,
        /// END_STREAM.
        is_last: bool,
    },
    /// Part of a header section has come; so many bytes of it are held.
    Part(usize),
    /// Nothing until more comes.
    More,
}

impl Reader {
    /// Behind a preface; `section_max` bytes of an encoded header section are held.
    #[must_use]
    pub fn new(section_max: usize) -> Self {
        Self { cut: Vec::new(), is_read: false, has_settings: false, section: None, section_max }
    }

    /// Takes the next frame from `input`, or all of it.
    ///
    /// # Errors
    /// When a frame breaks its layout or the order; nothing more can be read then.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Next<'a>, Broken> {
        if std::mem::take(&mut self.is_read) {
            // An idle connection holds no buffer.
            self.cut = Vec::new();
        }
        let (head, payload) = if self.cut.is_empty() {
            match whole(input)? {
                Some(frame) => frame,
                None => {
                    self.cut.extend_from_slice(input);
                    *input = &[];
                    return Ok(Next::More);
                }
            }
        } else {
            if !self.fill(input)? {
                return Ok(Next::More);
            }
            self.is_read = true;
            match whole(&mut &*self.cut)? {
                Some(frame) => frame,
                None => return Ok(Next::More),
            }
        };
        if !self.has_settings {
            if head.kind != kind::SETTINGS || head.flags & 1 != 0 {
                return Err(Broken::protocol("the preface lacks SETTINGS"));
            }
            self.has_settings = true;
        }
        let frame = frame::read(head, payload)?;
        take(&mut self.section, self.section_max, head, frame)
    }

    /// Part of a header section has come, and more must come.
    #[must_use]
    pub fn is_within_head(&self) -> bool {
        let is_cut = !self.is_read
            && matches!(self.cut.get(KIND_AT), Some(&(kind::HEADERS | kind::CONTINUATION)));
        is_cut || self.section.is_some()
    }

    /// Adds to the frame that is cut as much as it lacks; true when it is whole.
    fn fill(&mut self, input: &mut &[u8]) -> Result<bool, Broken> {
        loop {
            let needed = match self.cut.first_chunk() {
                Some(head) => HEAD_BYTES + FrameHead::read(head)?.length,
                None => HEAD_BYTES,
            };
            let lacking = needed - self.cut.len();
            if lacking == 0 {
                return Ok(true);
            }
            if input.is_empty() {
                return Ok(false);
            }
            let (taken, rest) = input.split_at(lacking.min(input.len()));
            self.cut.extend_from_slice(taken);
            *input = rest;
        }
    }
}

/// The first frame, when all of it is here.
fn whole<'a>(input: &mut &'a [u8]) -> Result<Option<(FrameHead, &'a [u8])>, Broken> {
    let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let head = FrameHead::read(head)?;
    let Some((payload, rest)) = rest.split_at_checked(head.length) else { return Ok(None) };
    *input = rest;
    Ok(Some((head, payload)))
}

/// Puts the parts of sections together; nothing may stand between them (RFC 9113 4.3).
fn take<'a>(
    held: &mut Option<Section>,
    section_max: usize,
    head: FrameHead,
    frame: Frame<'a>,
) -> Result<Next<'a>, Broken> {
    match (held.as_mut(), frame) {
        (None, Frame::Headers { stream, fragment, is_last, is_whole: true }) => {
            Ok(Next::Section { stream, section: fragment.into(), is_last })
        }
        (None, Frame::Headers { stream, fragment, is_last, is_whole: false }) => {
            *held = Some(Section { stream, is_last, bytes: fragment.to_vec() });
            Ok(Next::Part(fragment.len()))
        }
        (Some(section), Frame::Continuation { stream, fragment, is_whole })
            if section.stream == stream =>
        {
            if section.bytes.len() + fragment.len() > section_max {
                return Err(Broken::Connection(Code::ENHANCE_YOUR_CALM, "endless header section"));
            }
            section.bytes.extend_from_slice(fragment);
            let length = section.bytes.len();
            match held.take_if(|_| is_whole) {
                Some(Section { is_last, bytes, .. }) => {
                    Ok(Next::Section { stream, section: bytes.into(), is_last })
                }
                None => Ok(Next::Part(length)),
            }
        }
        (Some(_), _) => Err(Broken::protocol("a frame within a header section")),
        (None, Frame::Continuation { .. }) => Err(Broken::protocol("CONTINUATION alone")),
        (None, frame) => Ok(Next::Frame(head, frame)),
    }
}

/// Where a frame's head has its kind.
const KIND_AT: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = FrameHead { length: payload.len(), kind, flags, stream }.bytes().to_vec();
        out.extend_from_slice(payload);
        out
    }

    /// Everything that comes of these pieces, as text.
    fn run(pieces: &[&[u8]]) -> Result<Vec<String>, Broken> {
        let (mut reader, mut all) = (Reader::new(100), Vec::new());
        for piece in pieces {
            let mut input = *piece;
            loop {
                match reader.next(&mut input)? {
                    Next::More => break,
                    Next::Part(_) => {}
                    next => all.push(format!("{next:?}")),
                }
            }
            assert!(input.is_empty());
        }
        Ok(all)
    }

    #[test]
    fn settings_come_first_and_sections_without_a_gap() {
        let settings = bytes(kind::SETTINGS, 0, 0, b"");
        let begun = bytes(kind::HEADERS, 1, 1, b"ab");
        let after = |more: &[Vec<u8>]| run(&[&settings, &more.concat()]);
        let found =
            after(&[begun.clone(), bytes(kind::CONTINUATION, 0, 1, b"c"), bytes(9, 4, 1, b"d")]);
        let section =
            Next::Section { stream: 1, section: b"abcd".as_slice().into(), is_last: true };
        assert_eq!(found.unwrap()[1], format!("{section:?}"));
        for (what, code, frames) in [
            ("another stream", Code::PROTOCOL_ERROR, [begun.clone(), bytes(9, 4, 3, b"c")]),
            ("another kind", Code::PROTOCOL_ERROR, [begun.clone(), bytes(6, 0, 0, &[0; 8])]),
            ("again", Code::PROTOCOL_ERROR, [begun.clone(), begun.clone()]),
            ("unknown", Code::PROTOCOL_ERROR, [begun.clone(), bytes(0xbe, 0, 0, b"")]),
            ("alone", Code::PROTOCOL_ERROR, [bytes(9, 4, 1, b"c"), Vec::new()]),
            ("endless", Code::ENHANCE_YOUR_CALM, [begun.clone(), bytes(9, 0, 1, &[0; 99])]),
        ] {
            let Err(Broken::Connection(found, _)) = after(&frames) else { panic!("{what}") };
            assert_eq!(found, code, "{what}");
        }
        for first in [bytes(kind::PING, 0, 0, &[0; 8]), bytes(kind::SETTINGS, 1, 0, b"")] {
            assert!(run(&[&first]).is_err());
        }
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            frames in prop::collection::vec((0_u8..12, 0_u8..6, 0_u32..4, prop::collection::vec(any::<u8>(), 0..20)), 0..8),
            cuts in prop::collection::vec(0_usize..200, 0..6),
        ) {
            let mut all = bytes(kind::SETTINGS, 0, 0, b"");
            for (kind, flags, stream, payload) in &frames {
                all.extend(bytes(*kind, *flags, *stream, payload));
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (all.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut pieces, mut at) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&all[at..cut]);
                at = cut;
            }
            pieces.push(&all[at..]);
            prop_assert_eq!(run(&pieces), run(&[&all]));
        }

        #[test]
        fn whatever_comes_it_holds_little(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut reader = Reader::new(100);
            for piece in &pieces {
                let mut input = &piece[..];
                loop {
                    match reader.next(&mut input) {
                        Ok(Next::More) => break,
                        Ok(_) => {}
                        Err(_) => return Ok(()),
                    }
                }
                prop_assert!(reader.cut.len() <= HEAD_BYTES + frame::PAYLOAD_BYTES_MAX);
            }
        }
    }
}
