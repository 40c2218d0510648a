//! What an operator asks single nodes, and what each of them says: the newest lines of its log, or a check of itself.
//!
//! A question changes nothing in a node. Invariant: an answer has the number of its question and is at most
//! [`ANSWER_BYTES_MAX`] long as it travels and [`ANSWER_PLAIN_BYTES_MAX`] long as it is read, whatever a sender claims.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::packed;

/// The longest answer as it travels, in bytes.
pub const ANSWER_BYTES_MAX: usize = 48 * 1024;
/// The longest answer as it is read, in bytes of JSON.
pub const ANSWER_PLAIN_BYTES_MAX: usize = 192 * 1024;
/// The longest question, in bytes of JSON.
pub const QUESTION_BYTES_MAX: usize = 4 * 1024;
/// The most lines of a log in one answer.
pub const LOG_LINES_MAX: u32 = 1000;
/// The longest text that lines are looked through for, in bytes.
pub const LOG_TEXT_BYTES_MAX: usize = 200;
/// The most checks of one answer.
pub const CHECKS_MAX: usize = 32;
/// The longest word about what a check found, or why there is no answer, in characters.
pub const FOUND_CHARS_MAX: usize = 500;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Ask {
    /// Lines of its log.
    Log(LogWish),
    /// What it finds when it looks at itself.
    Check,
    /// Of a newer control plane: it is refused.
    #[serde(other)]
    Unknown,
}

/// A question to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeQuestion {
    /// Its number, which the answer has too.
    pub number: u64,
    /// What is asked.
    pub ask: Ask,
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogWish {
    /// Not older than this. Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// At least as bad as this; absent: all that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// With this text in message, target or a field, whatever the case of its letters; empty: all. At most
    /// [`LOG_TEXT_BYTES_MAX`].
    pub text: String,
    /// At most so many, and at most [`LOG_LINES_MAX`].
    pub limit: u32,
    /// Those behind this place, the oldest of them first; absent: the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<LogPlace>,
}

/// How bad what a line says is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Something happened.
    Info,
    /// For whoever looks for a defect.
    Debug,
    /// The same, in every detail.
    Trace,
}

/// A place in the log of one process of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// Drawn when the process began: a restarted node has another one.
    pub process: u32,
    /// The number of the line before it; the first line has number 1.
    pub line: u64,
}

/// Some lines of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Behind all that was looked through: where to go on.
    pub place: LogPlace,
    /// Lines behind the place that was asked for that were dropped before anybody saw them.
    #[serde(default)]
    pub lost: u64,
    /// Whether more lines stand behind `place` already.
    #[serde(default)]
    pub is_more: bool,
    /// Older lines that are wanted as well and do not fit into one answer; only where no place was asked for.
    #[serde(default)]
    pub older: u64,
    /// The lines, in order.
    pub lines: Vec<LogLine>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number in the log of its process.
    pub line: u64,
    /// When it was written. Milliseconds since 1970, by the node's clock.
    pub at_unix_ms: u64,
    /// How bad it is.
    pub level: LogLevel,
    /// Which part of the program wrote it.
    pub target: String,
    /// What it says.
    pub message: String,
    /// The values beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Whether it was longer than what is kept of a line.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_cut: bool,
}

/// What a node found when it looked at one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at, in a word.
    pub check: String,
    /// Whether it is as it should be.
    pub is_ok: bool,
    /// What was found.
    pub found: String,
    /// How long it took.
    pub took_ms: u64,
}

/// What a node found when it looked at itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckReport {
    /// The version of the release in use; 0: none.
    pub runs: u64,
    /// The release that it gave up last, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// One entry for each thing that it can look at.
    pub checks: Vec<Check>,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Lines of its log.
    Log(LogPage),
    /// What it found.
    Checks(CheckReport),
    /// Why it does not say.
    Refused(String),
}

/// An answer of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// The number of the question.
    pub number: u64,
    /// When it was given, by the node's clock. Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What it says.
    pub said: Said,
}

/// Bytes that are no question or no answer.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// Longer than allowed.
    #[error("at most {max} bytes, not {found}")]
    Size {
        /// How long.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Not packed as it should be.
    #[error(transparent)]
    Packed(#[from] packed::UnpackError),
    /// Not the JSON of it.
    #[error("cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// More checks or lines than allowed.
    #[error("at most {max} {what}, not {found}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
}

impl NodeQuestion {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a question holds only numbers and texts")
    }

    /// Reads a question of somebody else.
    ///
    /// # Errors
    /// [`QuestionError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, QuestionError> {
        size(bytes.len(), QUESTION_BYTES_MAX)?;
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl NodeAnswer {
    /// The bytes that travel.
    ///
    /// # Errors
    /// [`QuestionError::Size`] when they are too many: less is to be said.
    pub fn to_bytes(&self) -> Result<Vec<u8>, QuestionError> {
        let plain = serde_json::to_vec(self).expect("an answer holds only numbers and texts");
        size(plain.len(), ANSWER_PLAIN_BYTES_MAX)?;
        let length = u32::try_from(plain.len()).unwrap_or(u32::MAX).to_be_bytes();
        let bytes = [&length[..], &packed::pack(&plain)].concat();
        size(bytes.len(), ANSWER_BYTES_MAX)?;
        Ok(bytes)
    }

    /// Reads an answer of somebody else.
    ///
    /// # Errors
    /// [`QuestionError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, QuestionError> {
        size(bytes.len(), ANSWER_BYTES_MAX)?;
        let (length, packed) = bytes
            .split_first_chunk()
            .ok_or_else(|| packed::UnpackError::Damaged(format!("{} bytes", bytes.len())))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let plain = packed::unpack(packed, length, ANSWER_PLAIN_BYTES_MAX)?;
        let mut answer: Self = serde_json::from_slice(&plain)?;
        let cut = |text: &mut String| *text = text.chars().take(FOUND_CHARS_MAX).collect();
        match &mut answer.said {
            Said::Log(page) => count("lines", page.lines.len(), LOG_LINES_MAX as usize)?,
            Said::Checks(report) => {
                count("checks", report.checks.len(), CHECKS_MAX)?;
                report.refused.iter_mut().for_each(cut);
                report.checks.iter_mut().for_each(|check| {
                    cut(&mut check.check);
                    cut(&mut check.found);
                });
            }
            Said::Refused(why) => cut(why),
        }
        Ok(answer)
    }
}

impl LogLevel {
    /// Its name, as it travels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

fn size(found: usize, max: usize) -> Result<(), QuestionError> {
    if found > max { Err(QuestionError::Size { found, max }) } else { Ok(()) }
}

fn count(what: &'static str, found: usize, max: usize) -> Result<(), QuestionError> {
    if found > max { Err(QuestionError::Count { what, found, max }) } else { Ok(()) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(number: u64, message: &str) -> LogLine {
        let fields = [("error".to_owned(), "late".to_owned())].into();
        LogLine {
            line: number,
            at_unix_ms: 5,
            level: LogLevel::Warn,
            target: "edge".into(),
            message: message.into(),
            fields,
            is_cut: false,
        }
    }

    fn answer(lines: Vec<LogLine>) -> NodeAnswer {
        let place = LogPlace { process: 7, line: 9 };
        let said = Said::Log(LogPage { place, lost: 1, is_more: false, older: 2, lines });
        NodeAnswer { number: u64::MAX, at_unix_ms: 1, said }
    }

    #[test]
    fn what_is_asked_and_said_arrives_as_it_was() {
        let after = Some(LogPlace { process: 1, line: 2 });
        let wish = LogWish { level: Some(LogLevel::Warn), limit: 3, after, ..LogWish::default() };
        for ask in [Ask::Check, Ask::Log(wish)] {
            let question = NodeQuestion { number: u64::MAX, ask };
            let read = NodeQuestion::from_bytes(&question.to_bytes()).expect("readable");
            assert_eq!(read, question);
        }
        let answer = answer(vec![line(1, "the lane ended"), line(2, "again")]);
        let bytes = answer.to_bytes().expect("small");
        assert_eq!(NodeAnswer::from_bytes(&bytes).expect("readable"), answer);
        let newer = br#"{"number":1,"ask":{"what":"sing","loud":true}}"#;
        assert_eq!(NodeQuestion::from_bytes(newer).expect("readable").ask, Ask::Unknown);
    }

    #[test]
    fn what_is_too_much_is_not_sent_and_not_read() {
        let large = answer(vec![line(1, &"x".repeat(ANSWER_PLAIN_BYTES_MAX))]);
        assert!(matches!(large.to_bytes(), Err(QuestionError::Size { .. })));
        let many = answer((0..=u64::from(LOG_LINES_MAX)).map(|n| line(n, "")).collect());
        let bytes = many.to_bytes().expect("much alike");
        assert!(matches!(NodeAnswer::from_bytes(&bytes), Err(QuestionError::Count { .. })));
        let long = [b' '; ANSWER_BYTES_MAX + 1];
        assert!(matches!(NodeAnswer::from_bytes(&long), Err(QuestionError::Size { .. })));
        assert!(matches!(NodeQuestion::from_bytes(&long), Err(QuestionError::Size { .. })));
        let check = Check {
            check: "disk".into(),
            is_ok: true,
            found: "y".repeat(FOUND_CHARS_MAX + 1),
            took_ms: 1,
        };
        let report = CheckReport { checks: vec![check], ..CheckReport::default() };
        let answer = NodeAnswer { number: 1, at_unix_ms: 1, said: Said::Checks(report) };
        let read = NodeAnswer::from_bytes(&answer.to_bytes().expect("small")).expect("readable");
        let Said::Checks(report) = read.said else { panic!("checks") };
        assert_eq!(report.checks[0].found.len(), FOUND_CHARS_MAX);
    }

    #[test]
    fn names_of_levels_travel_as_they_are_written_and_the_worst_is_first() {
        use LogLevel::{Debug, Error, Info, Trace, Warn};
        let all = [Error, Warn, Info, Debug, Trace];
        assert!(all.is_sorted());
        for level in all {
            let text = serde_json::to_string(&level).expect("a word");
            assert_eq!(text, format!("{:?}", level.as_str()));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_makes_a_reader_panic(
            garbage in proptest::collection::vec(any::<u8>(), 0..300),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let _ = NodeAnswer::from_bytes(&garbage);
            let _ = NodeQuestion::from_bytes(&garbage);
            let mut bytes = answer(vec![line(1, "the lane ended")]).to_bytes().expect("small");
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let _ = NodeAnswer::from_bytes(&bytes);
        }
    }
}
