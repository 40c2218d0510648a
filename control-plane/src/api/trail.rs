//! The audit row of every call that may change something: written before the answer leaves.
//!
//! The row says who, what, why and how it ended; handlers add words. A call without a known token leaves none, so that
//! nobody fills the log from outside. When the row cannot be written the answer is 503, though the change may be made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Api, error::ApiError};
use crate::{access::Row, unix_time::unix_ms};

/// The header that says why.
pub(super) const REASON_HEADER: &str = "tidegate-reason";

/// What is known of one call so far. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Trail(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    token: String,
    label: String,
    reason: String,
    notes: Vec<String>,
    is_plan: bool,
}

impl Trail {
    /// Whose call it is.
    pub(super) fn called_by(&self, token: &str, label: &str) {
        let mut known = self.lock();
        (known.token, known.label) = (token.to_owned(), label.to_owned());
    }

    /// Words of the handler.
    pub(super) fn note(&self, words: String) {
        let mut known = self.lock();
        if known.notes.len() < NOTES_MAX {
            known.notes.push(short(&words));
        }
    }

    /// Why, unless it was said before.
    pub(super) fn reason(&self, why: &str) {
        let mut known = self.lock();
        if known.reason.is_empty() {
            known.reason = short(why);
        }
    }

    /// That the call asks for a plan alone: when it succeeds nothing was done, and there is nothing to write down.
    pub(super) fn plans(&self) {
        self.lock().is_plan = true;
    }

    /// Why, as far as it was said.
    pub(super) fn why(&self) -> String {
        self.lock().reason.clone()
    }

    fn row(&self, at_unix_ms: u64, action: String, status: u16) -> Option<Row> {
        let known = self.lock();
        let is_plan = known.is_plan && status < FIRST_FAILURE;
        (!known.token.is_empty() && !is_plan).then(|| Row {
            at_unix_ms,
            token: known.token.clone(),
            label: known.label.clone(),
            action,
            status,
            reason: known.reason.clone(),
            notes: known.notes.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the row of a call that may change something.
pub(super) async fn audit(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_asking = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || ASKING_PATHS.contains(&request.uri().path())
        || request.uri().path().starts_with(ANSWER_PATHS);
    if is_asking {
        return next.run(request).await;
    }
    let trail = Trail::default();
    trail.reason(&reason(request.headers()));
    request.extensions_mut().insert(trail.clone());
    // The path alone: a query may be signed.
    let action = short(&format!("{} {}", request.method(), request.uri().path()));
    let response = next.run(request).await;
    let now = unix_ms(api.parts.clock.now());
    let Some(row) = trail.row(now, action, response.status().as_u16()) else { return response };
    match api.parts.access.audit().write(row).await {
        Ok(()) => response,
        Err(error) => ApiError::from(error).into_response(),
    }
}

fn reason(headers: &HeaderMap) -> String {
    let value = headers.get(REASON_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.map(|value| value.trim().to_owned()).unwrap_or_default()
}

/// One line within the limit.
fn short(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(TEXT_CHARS_MAX).collect()
}

/// Calls of `POST` that change nothing.
const ASKING_PATHS: [&str; 2] = ["/v1/can-i", "/v1/validate"];
/// Where geo nodes say what others asked them.
const ANSWER_PATHS: &str = "/v1/geo/answers/";
const FIRST_FAILURE: u16 = 400;
const NOTES_MAX: usize = 16;
const TEXT_CHARS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_of_a_known_caller_and_bounded() {
        let trail = Trail::default();
        assert_eq!(trail.row(1, "POST /x".into(), 401), None);
        trail.called_by("t", "ann");
        trail.reason("first");
        trail.reason("second");
        for _ in 0..100 {
            trail.note("x\n".repeat(1000));
        }
        let row = trail.row(1, "POST /x".into(), 200).expect("a caller");
        assert_eq!((row.reason.as_str(), row.notes.len()), ("first", NOTES_MAX));
        assert_eq!(row.notes[0].chars().count(), TEXT_CHARS_MAX);
        assert!(!row.notes[0].contains('\n'));
    }

    #[test]
    fn a_plan_that_was_made_leaves_no_row_and_one_that_was_refused_does() {
        let trail = Trail::default();
        trail.called_by("t", "ann");
        trail.plans();
        assert_eq!(trail.row(1, "POST /x".into(), 200), None);
        assert!(trail.row(1, "POST /x".into(), 403).is_some());
    }
}
