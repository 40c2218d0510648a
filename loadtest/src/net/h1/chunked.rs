//! The chunked coding (RFC 9112 section 7.1), decoded as bytes come. Pure.
//!
//! Invariant: the end is reported only after the last chunk and the trailer section were whole.

use super::super::Failure;
use crate::kind::FailureClass;

/// Where in the coding we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of lines that carry no data, since the last data.
    overhead: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a chunk's size, with the digits so far.
    Size {
        size: u64,
        digits: u8,
    },
    /// In a chunk's extension.
    Extension {
        size: u64,
    },
    /// After the CR of a size line.
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// After a chunk's data.
    DataCr,
    DataLf,
    /// In the trailer section, at a line's beginning or within one.
    Trailer {
        is_start: bool,
    },
    TrailerLf {
        is_last: bool,
    },
    Done,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, overhead: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the next piece: how many bytes of `input` it took, and of these the data, if any.
    pub(super) fn next<'i>(&mut self, input: &'i [u8]) -> Result<(usize, &'i [u8]), Failure> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Done => break,
                State::Data { left } => {
                    let rest = &input[at..];
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - count as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    self.overhead = 0;
                    return Ok((at + count, &rest[..count]));
                }
                state => {
                    self.overhead += 1;
                    if self.overhead > OVERHEAD_MAX {
                        return Err(wrong("a chunk's line or trailer is too long"));
                    }
                    self.state = step(state, input[at])?;
                    at += 1;
                }
            }
        }
        Ok((at, &[]))
    }
}

/// The state after a byte that is no data.
fn step(state: State, byte: u8) -> Result<State, Failure> {
    Ok(match (state, byte) {
        (State::Size { size, digits }, digit) if digit.is_ascii_hexdigit() => {
            if digits == DIGITS_MAX {
                return Err(wrong("a chunk's size is too long"));
            }
            let value = char::from(digit).to_digit(16).unwrap_or_default();
            State::Size { size: size << 4 | u64::from(value), digits: digits + 1 }
        }
        (State::Size { digits: 0, .. }, _) => return Err(wrong("a chunk without a size")),
        (State::Size { size, .. } | State::Extension { size }, b'\r') => State::SizeEnd { size },
        (State::Size { size, .. }, b';' | b' ' | b'\t') => State::Extension { size },
        (State::Extension { size }, byte) if byte != b'\n' => State::Extension { size },
        (State::SizeEnd { size: 0 }, b'\n') => State::Trailer { is_start: true },
        (State::SizeEnd { size }, b'\n') => State::Data { left: size },
        (State::DataCr, b'\r') => State::DataLf,
        (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
        (State::Trailer { is_start }, b'\r') => State::TrailerLf { is_last: is_start },
        (State::Trailer { .. }, byte) if byte != b'\n' => State::Trailer { is_start: false },
        (State::TrailerLf { is_last: true }, b'\n') => State::Done,
        (State::TrailerLf { is_last: false }, b'\n') => State::Trailer { is_start: true },
        _ => return Err(wrong("the chunked coding is broken")),
    })
}

fn wrong(detail: &'static str) -> Failure {
    Failure::new(FailureClass::Protocol, detail)
}

/// Sixteen hexadecimal digits would be an exabyte, and the seventeenth would not fit.
const DIGITS_MAX: u8 = 15;
/// Extensions and trailers say nothing to us.
const OVERHEAD_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, and what is left of the input after the end; `None` when there was no end.
    fn decode(parts: &[&[u8]]) -> Result<(Vec<u8>, Option<usize>), Failure> {
        let (mut chunked, mut data) = (Chunked::new(), Vec::new());
        for part in parts {
            let mut input = *part;
            while !input.is_empty() {
                if chunked.is_done() {
                    return Ok((data, Some(input.len())));
                }
                let (count, piece) = chunked.next(input)?;
                data.extend_from_slice(piece);
                input = &input[count..];
            }
        }
        Ok((data, chunked.is_done().then_some(0)))
    }

    #[test]
    fn whole_bodies_are_decoded() {
        for (text, data, rest) in [
            ("0\r\n\r\n", "", Some(0)),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", Some(0)),
            (
                "003;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nt: u\r\n\r\nmore",
                "abc0123456789",
                Some(4),
            ),
            ("3 \r\nabc\r\n0\r\n", "abc", None),
            ("3\r\nab", "ab", None),
        ] {
            let decoded = decode(&[text.as_bytes()]).unwrap();
            assert_eq!(decoded, (data.as_bytes().to_vec(), rest), "{text:?}");
        }
    }

    #[test]
    fn broken_ones_are_refused() {
        let long = format!("3;{}\r\n", "x".repeat(OVERHEAD_MAX));
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "3\nabc",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "3\r\nabc0\r\n",
            "1000000000000000\r\n",
            "3\rabc",
            "0\r\n\n",
            "0\r\na\n",
            &long,
        ] {
            assert!(decode(&[text.as_bytes()]).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(chunks in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 1..40), 0..10), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10)) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let parts: Vec<&[u8]> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&parts).unwrap(), (chunks.concat(), Some(0)));
        }

        #[test]
        fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&[&input]);
        }
    }
}
