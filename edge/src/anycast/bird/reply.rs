//! BIRD's answers: lines that begin with a code of four digits, or with a blank when they go on with the code before.
//!
//! A line whose code is followed by a blank is the last one. Codes below 1000 say that something was done, from 1000 on
//! they bring data, from 8000 on they say no. Invariant: what arrives is bounded line by line and as a whole, and no
//! bytes make the reader fail otherwise than with an error.

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Codes and texts, in order.
    pub lines: Vec<(u16, String)>,
}

/// Bytes that are no answer of BIRD.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line without end.
    #[error("a line of more than {LINE_BYTES_MAX} bytes")]
    LongLine,
    /// An answer without end.
    #[error("an answer of more than {REPLY_LINES_MAX} lines")]
    ManyLines,
    /// A line that begins neither with a code nor with a blank, or goes on with nothing.
    #[error("a line without a code: {0:?}")]
    NoCode(String),
}

/// Puts answers together from what arrives in pieces.
#[derive(Debug, Default)]
pub struct ReplyReader {
    rest: Vec<u8>,
    lines: Vec<(u16, String)>,
}

impl Reply {
    /// The text of the refusal, when it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.lines.iter().find(|(code, _)| *code >= FIRST_REFUSAL).map(|(_, text)| text.as_str())
    }

    /// The texts that came with a code.
    pub fn with_code(&self, wanted: u16) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |(code, _)| *code == wanted).map(|(_, text)| text.as_str())
    }
}

impl ReplyReader {
    /// Takes what arrived; gives back the answer that it completes. What follows it is kept for the next.
    ///
    /// # Errors
    /// [`ReplyError`]; nothing more can be read then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Reply>, ReplyError> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            if end > LINE_BYTES_MAX {
                return Err(ReplyError::LongLine);
            }
            let line: Vec<u8> = self.rest.drain(..=end).take(end).collect();
            if self.line(&String::from_utf8_lossy(&line))? {
                return Ok(Some(Reply { lines: std::mem::take(&mut self.lines) }));
            }
        }
        if self.rest.len() > LINE_BYTES_MAX { Err(ReplyError::LongLine) } else { Ok(None) }
    }

    /// Takes a line; true when it is the last of its answer.
    fn line(&mut self, line: &str) -> Result<bool, ReplyError> {
        if self.lines.len() == REPLY_LINES_MAX {
            return Err(ReplyError::ManyLines);
        }
        // BIRD begins lines that nobody asked for with a plus.
        if line.starts_with('+') {
            return Ok(false);
        }
        let no_code = || ReplyError::NoCode(line.chars().take(64).collect());
        if let Some(text) = line.strip_prefix(' ') {
            let code = self.lines.last().ok_or_else(no_code)?.0;
            self.lines.push((code, text.to_owned()));
            return Ok(false);
        }
        let (digits, rest) = line.split_at_checked(CODE_DIGITS).ok_or_else(no_code)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(no_code());
        }
        let code = digits.parse().map_err(|_| no_code())?;
        let is_last = match rest.as_bytes().first() {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(no_code()),
        };
        self.lines.push((code, rest.get(1..).unwrap_or_default().to_owned()));
        Ok(is_last)
    }
}

const CODE_DIGITS: usize = 4;
const FIRST_REFUSAL: u16 = 8000;
/// Far above the longest line of `show protocols`.
const LINE_BYTES_MAX: usize = 4096;
/// Some protocols for each of some dozens of prefixes.
const REPLY_LINES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        let text = "2002-Name Proto\n1002-up1 BGP\n any text\n0000 \n0013 next\n";
        for cut in 0..text.len() {
            let mut reader = ReplyReader::default();
            let mut replies = Vec::new();
            for piece in [&text[..cut], &text[cut..], "", ""] {
                replies.extend(reader.push(piece.as_bytes()).unwrap());
            }
            assert_eq!(replies.len(), 2, "cut at {cut}");
            assert_eq!(replies[0].with_code(1002).collect::<Vec<_>>(), ["up1 BGP", "any text"]);
            assert_eq!(replies[1].lines, [(13, "next".to_owned())]);
        }
    }

    #[test]
    fn a_refusal_is_found() {
        let mut reader = ReplyReader::default();
        let reply = reader.push(b"0002-Reading\n8002 bird.conf:3:1 syntax error\n").unwrap();
        assert_eq!(reply.unwrap().refusal(), Some("bird.conf:3:1 syntax error"));
        let reply = reader.push(b"0009-any: disabled\n0000 \n").unwrap().unwrap();
        assert_eq!(reply.refusal(), None);
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_what_has_no_end_too() {
        for bad in ["x\n", " begins with nothing\n", "12\n", "12x4 \n", "1234x\n", "é234 \n"] {
            assert!(ReplyReader::default().push(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let mut reader = ReplyReader::default();
        assert_eq!(reader.push(&vec![b'1'; LINE_BYTES_MAX + 1]), Err(ReplyError::LongLine));
        let mut reader = ReplyReader::default();
        let many = "1002-a\n".repeat(REPLY_LINES_MAX + 1);
        assert_eq!(reader.push(many.as_bytes()), Err(ReplyError::ManyLines));
    }
}
