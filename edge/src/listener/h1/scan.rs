//! Finds the end of a request's head while it comes in, and refuses early what cannot become one. Pure.
//!
//! Every byte is looked at once, however the head is cut on its way. Invariant: what a scan calls a head consists of
//! lines that end with CR LF and contain no other control character than HTAB.

use super::super::refusal::Refusal;

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the first line.
    pub line_bytes_max: usize,
    /// Bytes of everything.
    pub bytes_max: usize,
    /// Header lines.
    pub headers_max: usize,
}

/// A scan that goes on where it stopped.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Bytes that were looked at.
    at: usize,
    /// Where the head begins: behind an empty line that some clients send after a body (RFC 9112 2.2).
    begin: usize,
    /// Where the current line begins.
    line: usize,
    /// Lines that are complete.
    lines: usize,
    /// The last byte was a carriage return.
    is_return: bool,
}

/// What a scan has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The head has not ended yet.
    More,
    /// The head without its last empty line, and how many bytes belong to it in all.
    Head {
        /// Its first byte.
        begin: usize,
        /// Behind its last line.
        end: usize,
        /// Behind the empty line that ends it.
        taken: usize,
    },
}

impl Scan {
    /// Looks at what is new in `input`, which begins where it began the last time.
    ///
    /// # Errors
    /// The rule or the limit that the bytes break.
    pub fn go_on(&mut self, input: &[u8], limits: &Limits) -> Result<Found, Refusal> {
        while self.at < input.len() {
            if !self.is_return {
                let rest = &input[self.at..];
                let plain = plain_bytes(rest);
                self.at += plain;
                self.check_size(input, limits)?;
                let Some(special) = rest.get(plain) else { break };
                match special {
                    b'\r' => self.is_return = true,
                    b'\n' => return Err(Refusal::Malformed("line feed without carriage return")),
                    _ => return Err(Refusal::Malformed("control character in the head")),
                }
                self.at += 1;
                continue;
            }
            if input[self.at] != b'\n' {
                return Err(Refusal::Malformed("carriage return without line feed"));
            }
            self.is_return = false;
            self.at += 1;
            let end = self.at - 2;
            if end == self.line {
                if self.lines > 0 {
                    return Ok(Found::Head { begin: self.begin, end, taken: self.at });
                }
                if self.begin > 0 {
                    return Err(Refusal::Malformed("empty lines before the request"));
                }
                self.begin = self.at;
            } else {
                self.lines += 1;
                if self.lines > limits.headers_max + 1 {
                    return Err(Refusal::HeaderTooLarge);
                }
            }
            self.line = self.at;
        }
        Ok(Found::More)
    }

    fn check_size(&self, input: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let length = self.at - self.line;
        if self.lines == 0 && length > limits.line_bytes_max {
            // Only what has begun can be too long a target; and it has where the limit is passed, whatever of the rest
            // came in the same piece.
            let is_in_target = input[self.line..=self.line + limits.line_bytes_max].contains(&b' ');
            return Err(if is_in_target {
                Refusal::TargetTooLong
            } else {
                Refusal::Malformed("a method without end")
            });
        }
        if self.at - self.begin > limits.bytes_max {
            return Err(Refusal::HeaderTooLarge);
        }
        Ok(())
    }
}

/// How many bytes stand before the first control character other than HTAB; eight at a time, since this is most of what
/// a head costs.
pub(super) fn plain_bytes(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let bits = u64::from_le_bytes(*word);
        let deletes = bits ^ (ONES * 0x7f);
        // The high bit of every byte below a blank, and of every DEL; some more may be set behind the first one.
        let below = bits.wrapping_sub(ONES * 0x20) & !bits;
        let delete = deletes.wrapping_sub(ONES) & !deletes;
        if (below | delete) & (ONES * 0x80) != 0
            && let Some(at) = word.iter().position(|byte| is_special(*byte))
        {
            return place * 8 + at;
        }
    }
    let at = rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
    text.len() - rest.len() + at
}

fn is_special(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// A one in every byte of a word.
const ONES: u64 = u64::from_ne_bytes([1; 8]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_at_a_time_finds_what_one_at_a_time_finds(
            text in prop::collection::vec(prop_oneof![8 => 0x20u8..0x7f, 1 => any::<u8>()], 0..60),
        ) {
            let expected = text.iter().position(|byte| is_special(*byte)).unwrap_or(text.len());
            prop_assert_eq!(plain_bytes(&text), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_found_does_not_depend_on_where_the_input_is_cut(
            text in prop::collection::vec(
                prop_oneof![8 => Just(b'a'), 2 => Just(b' '), 3 => Just(b'\r'), 3 => Just(b'\n'), 1 => any::<u8>()],
                0..90,
            ),
        ) {
            let whole = Scan::default().go_on(&text, &LIMITS);
            let mut scan = Scan::default();
            let stepwise = (0..=text.len())
                .map(|end| scan.go_on(&text[..end], &LIMITS))
                .find(|found| *found != Ok(Found::More))
                .unwrap_or(Ok(Found::More));
            prop_assert_eq!(stepwise, whole);
        }
    }

    const LIMITS: Limits = Limits { line_bytes_max: 20, bytes_max: 60, headers_max: 3 };

    fn scan(text: &str) -> Result<Found, Refusal> {
        Scan::default().go_on(text.as_bytes(), &LIMITS)
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(
            scan("GET / HTTP/1.1\r\n\r\nGET"),
            Ok(Found::Head { begin: 0, end: 16, taken: 18 })
        );
        assert_eq!(scan("\r\nG\r\n\r\n"), Ok(Found::Head { begin: 2, end: 5, taken: 7 }));
        for part in ["", "\r", "\r\n", "GET", "G\r\n", "G\r\n\r", "G\r\na\tb: c\r\n"] {
            assert_eq!(scan(part), Ok(Found::More), "{part:?}");
        }
    }

    #[test]
    fn lines_end_with_both_characters_or_are_refused() {
        for bad in [
            "\n",
            "G\n",
            "G\r\r\n",
            "\rG",
            "G\rH\r\n",
            "\r\n\r\n",
            "G\0",
            "G\r\na\x0b",
            "\x16\x03\x01",
            "a\x7f",
        ] {
            assert!(matches!(scan(bad), Err(Refusal::Malformed(_))), "{bad:?}");
        }
    }

    #[test]
    fn limits_hold_before_the_end_is_seen() {
        assert_eq!(scan(&"a".repeat(20)), Ok(Found::More));
        assert_eq!(scan(&"a ".repeat(11)), Err(Refusal::TargetTooLong));
        assert!(matches!(scan(&"a".repeat(21)), Err(Refusal::Malformed(_))));
        // the method had not ended where the limit was
        assert!(matches!(scan(&format!("{} /", "a".repeat(21))), Err(Refusal::Malformed(_))));
        let long = format!("G\r\n{}", "a".repeat(58));
        assert_eq!(scan(&long), Err(Refusal::HeaderTooLarge));
        assert_eq!(scan("G\r\na\r\nb\r\nc\r\n"), Ok(Found::More));
        assert_eq!(scan("G\r\na\r\nb\r\nc\r\nd\r\n"), Err(Refusal::HeaderTooLarge));
    }
}
