//! The rest of a body that broke off, from an upstream that has the very same representation.
//!
//! Invariant: a rest is believed only when it says that it lies where the body broke off, in a whole of the same
//! length, and carries the same strong validator; else the body stays broken.

use http::{Method, StatusCode, header};

use super::{
    shared::{Question, Shared},
    slice::strong_validator,
    wanted::Wanted,
};
use crate::{
    cache::{
        object::Head,
        range::{ContentRange, Span, enclosed},
    },
    error::Failure,
    upstream::{Answer, Candidate},
};

/// What a body is, so that its rest can be told from another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    validator: Vec<u8>,
    /// The bytes of the whole that the body has.
    span: Span,
    total: u64,
}

impl Rest {
    /// Of an answer's body; `None` where nothing tells its representation from another, or its length is not known.
    pub(super) fn of_answer(answer: &Answer) -> Option<Self> {
        let validator = strong_validator(&answer.headers)?;
        let (span, total) = match answer.status {
            StatusCode::OK => {
                let total = super::admit::length(&answer.headers)?;
                (Span { start: 0, end: total }, total)
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = enclosed(&answer.headers)?;
                (range.span?, range.total?)
            }
            _ => return None,
        };
        Some(Self { validator, span, total })
    }

    /// Of something stored whole.
    pub(super) fn of_head(head: &Head) -> Option<Self> {
        let (validator, total) = (strong_validator(&head.headers)?, head.length?);
        Some(Self { validator, span: Span { start: 0, end: total }, total })
    }

    /// The same up to another end.
    pub(super) fn until(mut self, end: Option<u64>) -> Self {
        self.span.end = end.unwrap_or(self.span.end).min(self.span.end);
        self
    }

    /// Asks for what is missing behind so many bytes; who broke off is asked last.
    ///
    /// # Errors
    /// When nobody answers, or with something else.
    pub(super) async fn ask(
        &self,
        shared: &Shared,
        wanted: &Wanted,
        brought: u64,
        broke_off: Option<Candidate>,
    ) -> Result<Answer, Failure> {
        let span = Span { start: self.span.start.saturating_add(brought), end: self.span.end };
        if span.start >= span.end {
            return Err(Failure::BROKEN);
        }
        let mut headers = wanted.unconditional();
        headers.insert(header::RANGE, span.to_range());
        let question = Question { method: Method::GET, headers, body: None, interim: None };
        let answer = shared.ask_others(wanted, question, broke_off).await?;
        let is_rest = answer.status == StatusCode::PARTIAL_CONTENT
            && enclosed(&answer.headers) == Some(ContentRange::of(span, self.total))
            && strong_validator(&answer.headers).as_ref() == Some(&self.validator);
        if is_rest { Ok(answer) } else { Err(Failure::BROKEN) }
    }
}
