//! A body in chunks (RFC 9112 7.1), as strict as its grammar and as little of it as possible. Pure.
//!
//! Extensions are checked and thrown away, trailers too. Invariant: the end is reported only when the last chunk and
//! everything behind it were well-formed.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    super::refusal::Refusal,
    head::{header_line, is_token},
};

/// A body that is being read.
#[derive(Debug, Clone, Default)]
pub struct Chunks {
    state: State,
    /// Bytes of lines (sizes, extensions, trailers) that may still come.
    spent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before a line with a size.
    #[default]
    Size,
    /// Inside a chunk's content.
    Content(u64),
    /// Before the line end behind it.
    LineEnd,
    /// Behind the last chunk.
    Trailers,
    Ended,
}

/// What the next bytes of a body are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Content.
    Content(Bytes),
    /// More input is needed.
    More,
    /// The body has ended; what is left of the input belongs to the next request.
    End,
}

impl Chunks {
    /// Takes the next piece out of the input.
    ///
    /// # Errors
    /// The rule that the input breaks; nothing behind it can be understood any more.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Piece, Refusal> {
        loop {
            match self.state {
                State::Size => {
                    check_size(input)?;
                    let Some(line) = self.line(input)? else { return Ok(Piece::More) };
                    self.state = match size_line(&line)? {
                        0 => State::Trailers,
                        size => State::Content(size),
                    };
                }
                State::Content(left) => {
                    if input.is_empty() {
                        return Ok(Piece::More);
                    }
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let left = left - length as u64;
                    self.state = if left == 0 { State::LineEnd } else { State::Content(left) };
                    return Ok(Piece::Content(input.split_to(length).freeze()));
                }
                State::LineEnd => {
                    if !b"\r\n".starts_with(&input[..input.len().min(2)]) {
                        return Err(Refusal::Malformed("chunk longer than its size"));
                    }
                    if input.len() < 2 {
                        return Ok(Piece::More);
                    }
                    input.advance(2);
                    // A chunk gives back what its size line took: only what comes beside content counts.
                    self.spent = self.spent.saturating_sub(SIZE_LINE_USUAL);
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(line) = self.line(input)? else { return Ok(Piece::More) };
                    if line.is_empty() {
                        self.state = State::Ended;
                    } else {
                        check_trailer(&line)?;
                    }
                }
                State::Ended => return Ok(Piece::End),
            }
        }
    }

    /// Takes a line that ends with CR LF out of the input, without its end.
    fn line(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Refusal> {
        let special =
            input.iter().position(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f);
        if self.spent + special.unwrap_or(input.len()) > LINES_BYTES_MAX {
            return Err(Refusal::Malformed("chunk sizes, extensions or trailers too long"));
        }
        let Some(at) = special else { return Ok(None) };
        match (input[at], input.get(at + 1)) {
            (b'\r', Some(b'\n')) => {}
            (b'\r', None) => return Ok(None),
            _ => return Err(Refusal::Malformed("line end between chunks")),
        }
        self.spent += at + 2;
        let line = input.split_to(at).freeze();
        input.advance(2);
        Ok(Some(line))
    }
}

/// Refuses what cannot become a size, so that its sender learns it at once and not when the line ends or time is up.
fn check_size(begun: &[u8]) -> Result<(), Refusal> {
    let digits = digits(begun);
    match begun.get(digits) {
        _ if digits > SIZE_DIGITS_MAX => Err(Refusal::Malformed("chunk size")),
        Some(_) if digits == 0 => Err(Refusal::Malformed("chunk size")),
        Some(b';' | b'\r') | None => Ok(()),
        Some(_) => Err(Refusal::Malformed("character behind a chunk size")),
    }
}

/// Digits at the beginning, as far as it matters how many there are.
fn digits(text: &[u8]) -> usize {
    text.iter().take(SIZE_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_hexdigit()).count()
}

/// `chunk-size [ chunk-ext ]`, without the blanks that some readers allow around them; [`check_size`] has seen that it
/// begins as it must.
fn size_line(line: &[u8]) -> Result<u64, Refusal> {
    let digits = digits(line);
    check_extensions(&line[digits..])?;
    let text = std::str::from_utf8(&line[..digits]).unwrap_or_default();
    u64::from_str_radix(text, 16).map_err(|_| Refusal::Malformed("chunk size"))
}

/// `*( ";" token [ "=" ( token / quoted-string ) ] )`.
fn check_extensions(mut rest: &[u8]) -> Result<(), Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("chunk extension");
    let token = |text: &[u8]| {
        let end = text.iter().position(|byte| !is_token(&[*byte])).unwrap_or(text.len());
        if end == 0 { Err(MALFORMED) } else { Ok(end) }
    };
    while let Some((first, after)) = rest.split_first() {
        if *first != b';' {
            return Err(MALFORMED);
        }
        rest = &after[token(after)?..];
        if let Some((b'=', value)) = rest.split_first() {
            let length = if value.first() == Some(&b'"') {
                quoted(value).ok_or(MALFORMED)?
            } else {
                token(value)?
            };
            rest = &value[length..];
        }
    }
    Ok(())
}

/// The length of a quoted string at the beginning, quotes included.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                text.get(at + 1)?;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

/// A trailer must be a field line and may not be one that decides how the message is read (RFC 9110 6.5.1).
fn check_trailer(line: &Bytes) -> Result<(), Refusal> {
    let (name, _) = header_line(line, 0, line.len())?;
    if FORBIDDEN_TRAILERS.contains(&name.as_str()) {
        return Err(Refusal::Malformed("trailer that must be a header"));
    }
    Ok(())
}

/// 2^60 bytes at most, as for a content-length; zeros in front count.
const SIZE_DIGITS_MAX: usize = 15;
/// Bytes of lines beside content in one body; the content of a chunk pays for its own size line.
const LINES_BYTES_MAX: usize = 16 * 1024;
/// What a size line takes without extensions, about.
const SIZE_LINE_USUAL: usize = 12;
const FORBIDDEN_TRAILERS: &[&str] = &[
    "transfer-encoding",
    "content-length",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "max-forwards",
    "cache-control",
    "pragma",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "authorization",
    "proxy-authorization",
    "cookie",
    "content-encoding",
    "content-type",
    "content-range",
    "forwarded",
    "via",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content, and what was left behind the end.
    type Read = (Vec<u8>, Vec<u8>);

    /// `None` when the body does not end.
    fn read(text: &[u8]) -> Result<Option<Read>, Refusal> {
        read_cut(text, &[text.len()])
    }

    /// As [`read`], with the input coming in pieces of these lengths.
    fn read_cut(text: &[u8], cuts: &[usize]) -> Result<Option<Read>, Refusal> {
        let (mut chunks, mut input, mut content) = (Chunks::default(), BytesMut::new(), Vec::new());
        let mut rest = text;
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            input.extend_from_slice(piece);
            rest = after;
            loop {
                match chunks.next(&mut input)? {
                    Piece::Content(piece) => content.extend_from_slice(&piece),
                    Piece::More => break,
                    Piece::End => {
                        input.extend_from_slice(rest);
                        return Ok(Some((content, input.to_vec())));
                    }
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn well_formed_bodies_are_read_to_their_end() {
        for (text, content, rest) in [
            ("0\r\n\r\n", "", ""),
            ("3\r\nabc\r\n0\r\n\r\nGET", "abc", "GET"),
            ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789", ""),
            ("000000000000003\r\nabc\r\n0\r\n\r\n", "abc", ""),
            ("3;a\r\nabc\r\n0;b=c;d=\"e;\\\"f\"\r\n\r\n", "abc", ""),
            ("1\r\na\r\n2\r\nbc\r\n0\r\nx-sum: 1\r\ny:\r\n\r\n", "abc", ""),
        ] {
            let expected = (content.as_bytes().to_vec(), rest.as_bytes().to_vec());
            assert_eq!(read(text.as_bytes()), Ok(Some(expected)), "{text:?}");
        }
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for text in [
            "\r\n",
            " 3\r\nabc\r\n",
            "3 \r\nabc\r\n",
            "\t3\r\n",
            "3\t\r\n",
            "+3\r\n",
            "-3\r\n",
            "0x3\r\nabc\r\n",
            "3h\r\n",
            "x\r\n",
            "3\nabc\r\n",
            "3\rabc",
            "3\r\nabc\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\r0",
            "3\r\nabcx",
            "1000000000000000\r\n",
            "ffffffffffffffffff\r\n",
            "0000000000000003\r\n",
            "3 ;a\r\n",
            "3; a\r\n",
            "3;\r\n",
            "3;a=\r\n",
            "3;a =b\r\n",
            "3;a= b\r\n",
            "3;a=\"b\r\n",
            "3;a=\"b\"c\r\n",
            "3;a\x01\r\n",
            "3;;\r\n",
            "3;a=\"\n\"\r\n",
            "0\r\n x: 1\r\n",
            "0\r\nx : 1\r\n",
            "0\r\nx\r\n",
            "0\r\nx: 1\n",
            "0\r\nx: \0\r\n",
            "0\r\nContent-Length: 5\r\n",
            "0\r\ntransfer-encoding: chunked\r\n",
            "0\r\nHost: a\r\n",
            "0\n\r\n",
            "0\r\n\n",
            "3,3\r\n",
            "3\r\n\r\nabc",
            "\u{b3}\r\n",
            "３\r\n",
        ] {
            assert!(matches!(read(text.as_bytes()), Err(Refusal::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_become_a_size_is_refused_before_its_line_ends() {
        for text in ["x", "g", "-", " ", "3 ", "3h", "3\n", "3\t", "0x", "0000000000000000"] {
            assert!(matches!(read(text.as_bytes()), Err(Refusal::Malformed(_))), "{text:?}");
            let later = format!("1\r\na\r\n{text}");
            assert!(matches!(read(later.as_bytes()), Err(Refusal::Malformed(_))), "{text:?}");
        }
        for text in ["", "3", "3\r", "3;", "000000000000000", "1\r\na\r\n"] {
            assert_eq!(read(text.as_bytes()), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn lines_are_bounded_but_long_bodies_are_not() {
        let long = format!("3;{}", "a".repeat(LINES_BYTES_MAX));
        assert!(read(long.as_bytes()).is_err(), "before its end is seen");
        let trailers = format!("0\r\n{}", "x: y\r\n".repeat(LINES_BYTES_MAX / 6 + 1));
        assert!(read(trailers.as_bytes()).is_err());
        let many = format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(50_000));
        assert!(read(many.as_bytes()).unwrap().is_some_and(|(content, _)| content.len() == 50_000));
        let stuffed = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n".repeat(10_000);
        assert!(read(stuffed.as_bytes()).is_err(), "extensions outweigh content");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_reads_the_same(
            chunks in prop::collection::vec("[a-z]{1,20}", 0..5),
            noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            cuts in prop::collection::vec(1usize..8, 0..60),
        ) {
            let mut text: Vec<u8> = chunks.iter().flat_map(|chunk| format!("{:x};e=\"q\"\r\n{chunk}\r\n", chunk.len()).into_bytes()).collect();
            text.extend_from_slice(b"0\r\nx: y\r\n\r\nrest");
            if let Some((at, byte)) = noise {
                let at = at.index(text.len());
                text[at] = byte;
            }
            prop_assert_eq!(read_cut(&text, &cuts), read(&text));
        }
    }
}
