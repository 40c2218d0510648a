//! The body of an answer of HTTP/1, taken out of its framing.
//!
//! Pure. Invariant: the end is said only where the framing says it; what comes after it is left in the buffer.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::{
    super::framing::{Framing, Malformed},
    head::{TrailerReader, next_line},
};

/// Where in a body the reader is.
#[derive(Debug)]
pub(super) enum BodyReader {
    /// This many bytes are to come, then it ends.
    Length(u64),
    /// Between chunks: the size of the next one comes.
    Size,
    /// This many bytes of a chunk are to come.
    Chunk(u64),
    /// The end of a chunk's line comes.
    ChunkEnd,
    /// What stands behind the last chunk comes.
    Trailers(Box<TrailerReader>),
    /// It goes on until the connection is closed.
    UntilClose,
    /// It has ended.
    Over,
}

/// What the buffer holds of a body.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Some of it.
    Data(Bytes),
    /// Too little to say.
    More,
    /// Its end.
    End(Option<HeaderMap>),
}

impl BodyReader {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Over,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Size,
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Takes the next of the body from the buffer.
    pub(super) fn read(&mut self, buffer: &mut BytesMut) -> Result<Step, Malformed> {
        loop {
            match self {
                Self::Length(0) | Self::Over => {
                    *self = Self::Over;
                    return Ok(Step::End(None));
                }
                Self::Length(left) => return Ok(take(buffer, left)),
                Self::Chunk(0) => *self = Self::ChunkEnd,
                Self::Chunk(left) => return Ok(take(buffer, left)),
                Self::ChunkEnd => match &buffer[..] {
                    [b'\r', b'\n', ..] => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More),
                    _ => return Err(Malformed("a chunk that does not end where it should")),
                },
                Self::Size => {
                    let mut line = 0;
                    let Some(text) = next_line(buffer, &mut line, &mut 0)? else {
                        // The CR of its end may be there already.
                        let is_too_long = buffer.len() > SIZE_LINE_BYTES_MAX + 1;
                        return if is_too_long { Err(TOO_LONG) } else { Ok(Step::More) };
                    };
                    let size = chunk_size(text)?;
                    buffer.advance(line);
                    *self =
                        if size == 0 { Self::Trailers(Box::default()) } else { Self::Chunk(size) };
                }
                Self::Trailers(reader) => {
                    let Some(trailers) = reader.read(buffer)? else { return Ok(Step::More) };
                    *self = Self::Over;
                    return Ok(Step::End(Some(trailers).filter(|trailers| !trailers.is_empty())));
                }
                Self::UntilClose if buffer.is_empty() => return Ok(Step::More),
                Self::UntilClose => return Ok(Step::Data(buffer.split().freeze())),
            }
        }
    }

    /// Whether nothing more comes, whatever does.
    pub(super) fn is_at_end(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Over)
    }

    /// Whether a clean close of the connection ends the body here.
    pub(super) fn ends_with_close(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Step {
    if buffer.is_empty() {
        return Step::More;
    }
    let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= bytes as u64;
    Step::Data(buffer.split_to(bytes).freeze())
}

/// The size of a chunk; its extensions mean nothing to us, but must be some.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    if line.len() > SIZE_LINE_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let is_extension = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if !matches!(extension.first(), None | Some(b';')) || !extension.iter().all(is_extension) {
        return Err(Malformed("a chunk size that is none"));
    }
    let text = str::from_utf8(digits).unwrap_or_default();
    u64::from_str_radix(text, 16).map_err(|_| Malformed("a chunk size that is none"))
}

/// The longest line with a chunk's size, extensions included.
const SIZE_LINE_BYTES_MAX: usize = 1024;
const TOO_LONG: Malformed = Malformed("too long a line with a chunk size");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body, its trailers, and how much is left.
    type Whole = (Vec<u8>, Option<HeaderMap>, usize);

    /// What comes of a text that comes in pieces of these sizes.
    fn read(framing: Framing, text: &[u8], cuts: &[usize]) -> Result<Option<Whole>, Malformed> {
        let (mut reader, mut buffer, mut body) =
            (BodyReader::new(framing), BytesMut::new(), Vec::new());
        let (mut from, mut cuts) = (0, cuts.iter().cycle());
        loop {
            match reader.read(&mut buffer)? {
                Step::Data(data) => body.extend_from_slice(&data),
                Step::End(trailers) => {
                    return Ok(Some((body, trailers, buffer.len() + text.len() - from)));
                }
                Step::More if from == text.len() => return Ok(None),
                Step::More => {
                    let to = text.len().min(from + cuts.next().unwrap());
                    buffer.extend_from_slice(&text[from..to]);
                    from = to;
                }
            }
        }
    }

    #[test]
    fn bodies_are_read() {
        for (framing, text, expected, left) in [
            (Framing::Empty, "x", "", 1),
            (Framing::Length(3), "abcd", "abc", 1),
            (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\n", "abc", 0),
            (Framing::Chunked, "003;a=\"b c\"\r\nabc\r\n000\r\n\r\n", "abc", 0),
            (Framing::Chunked, "1\r\na\r\n2;x\r\nbc\r\n0;last\r\nT: 1\r\n\r\nnext", "abc", 4),
        ] {
            let (body, _, rest) = read(framing, text.as_bytes(), &[text.len()]).unwrap().unwrap();
            assert_eq!((body.as_slice(), rest), (expected.as_bytes(), left), "{text:?}");
        }
        let trailers =
            read(Framing::Chunked, b"0\r\nT: 1\r\nU: 2\r\n\r\n", &[3]).unwrap().unwrap().1;
        assert_eq!(trailers.unwrap()["u"], "2");
        assert_eq!(read(Framing::Length(3), b"ab", &[1]), Ok(None));
        assert_eq!(read(Framing::Chunked, b"3\r\nabc\r\n0\r\n", &[1]), Ok(None));
    }

    #[test]
    fn chunks_that_are_none_are_refused() {
        for text in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            " 1\r\n",
            "1 \r\na\r\n",
            "0x1\r\n",
            "1\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            "1;\0\r\na\r\n",
            "1;a\rb\r\na\r\n",
            "10000000000000000\r\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\n T: 1\r\n\r\n",
            "0\r\nT: 1\n\r\n",
        ] {
            assert!(read(Framing::Chunked, text.as_bytes(), &[text.len()]).is_err(), "{text:?}");
        }
        for endless in
            [format!("1;{}", "x".repeat(2000)), format!("0\r\na: {}", "x".repeat(20_000))]
        {
            assert!(read(Framing::Chunked, endless.as_bytes(), &[500]).is_err());
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_makes_no_difference(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(1usize..50, 1..20),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend(format!("{:x}\r\n", chunk.len()).bytes());
                text.extend(chunk);
                text.extend(b"\r\n");
            }
            text.extend(b"0\r\n\r\n+");
            let whole = chunks.concat();
            let (body, trailers, left) = read(Framing::Chunked, &text, &cuts).unwrap().unwrap();
            prop_assert_eq!(&body, &whole);
            prop_assert_eq!((trailers, left), (None, 1));
            let end = text.len() - 2;
            prop_assert_eq!(read(Framing::Chunked, &text[..end], &cuts), Ok(None));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..20) {
            let _ = read(Framing::Chunked, &bytes, &[cut]);
            let _ = read(Framing::Length(100), &bytes, &[cut]);
        }
    }
}
