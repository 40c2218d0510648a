//! Questions of operators that wait for a node of the DNS.
//!
//! Invariant: a question is answered at most once, by the token that it was told to, and waits no longer than
//! [`ANSWER_MAX`].

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};

/// The questions under way.
#[derive(Default)]
pub(super) struct Questions(Mutex<HashMap<u64, Pending>>);

struct Pending {
    /// The token of whoever was asked.
    token: String,
    answer: oneshot::Sender<Value>,
}

/// A question under way; over when it is dropped.
pub(super) struct Asked<'a> {
    questions: &'a Questions,
    pub(super) id: u64,
    answer: oneshot::Receiver<Value>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no geo node follows this replica: see `tidegate dns nodes`")]
    Nobody,
    /// Too many wait.
    #[error("{QUESTIONS_MAX} questions wait for an answer already")]
    TooMany,
    /// Whoever is there is older than the question.
    #[error(
        "geo node {0} is of an older build and does not know this question: bring it to this one's"
    )]
    Older(String),
    /// It does not answer.
    #[error("geo node {0} did not answer within {limit} s", limit = ANSWER_MAX.as_secs())]
    Silent(String),
    /// It cannot answer.
    #[error("{0}")]
    Refused(String),
}

impl Questions {
    /// Registers a question to the bearer of a token.
    pub(super) fn ask(&self, token: &str) -> Result<Asked<'_>, AskError> {
        let mut pending = self.lock();
        if pending.len() >= QUESTIONS_MAX {
            return Err(AskError::TooMany);
        }
        // Drawn, so that an answer to a question before a restart finds none.
        let id = loop {
            let id = u64::from(rand::random::<u32>());
            if !pending.contains_key(&id) {
                break id;
            }
        };
        let (sender, answer) = oneshot::channel();
        pending.insert(id, Pending { token: token.to_owned(), answer: sender });
        Ok(Asked { questions: self, id, answer })
    }

    /// Takes an answer; false when the bearer of the token was not asked that, or no more.
    pub(super) fn answer(&self, id: u64, token: &str, answer: Value) -> bool {
        let mut pending = self.lock();
        if pending.get(&id).is_none_or(|asked| asked.token != token) {
            return false;
        }
        pending.remove(&id).is_some_and(|asked| asked.answer.send(answer).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked<'_> {
    /// Waits for the answer of a node, at most for so long.
    pub(super) async fn answer(mut self, node: &str, limit: Duration) -> Result<Value, AskError> {
        let Ok(Ok(answer)) = timeout(limit, &mut self.answer).await else {
            return Err(AskError::Silent(node.to_owned()));
        };
        match answer.get("error").and_then(Value::as_str) {
            Some(why) => Err(AskError::Refused(why.chars().take(WHY_CHARS_MAX).collect())),
            None => Ok(answer),
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.id);
    }
}

/// Operators and their scripts; an answer takes milliseconds.
const QUESTIONS_MAX: usize = 64;
/// How long an operator waits.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);
const WHY_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn who_was_asked_answers_once_and_in_time() {
        let questions = Questions::default();
        let asked = questions.ask("t1").expect("room");
        let id = asked.id;
        assert!(!questions.answer(id, "t2", json!(1)), "somebody else's");
        assert!(!questions.answer(id ^ 1, "t1", json!(1)), "another question");
        assert!(questions.answer(id, "t1", json!({"pop": "fra"})));
        assert!(!questions.answer(id, "t1", json!(2)), "twice");
        assert_eq!(asked.answer("n", ANSWER_MAX).await, Ok(json!({"pop": "fra"})));

        let asked = questions.ask("t1").expect("room");
        questions.answer(asked.id, "t1", json!({"error": "no such zone"}));
        let refused = Err(AskError::Refused("no such zone".into()));
        assert_eq!(asked.answer("n", ANSWER_MAX).await, refused);
        let asked = questions.ask("t1").expect("room");
        let id = asked.id;
        let limit = Duration::from_millis(1);
        assert_eq!(asked.answer("n", limit).await, Err(AskError::Silent("n".into())));
        assert!(!questions.answer(id, "t1", json!(1)), "too late");
    }

    #[test]
    fn only_so_many_wait() {
        let questions = Questions::default();
        let all: Vec<_> = (0..QUESTIONS_MAX).map(|_| questions.ask("t").expect("room")).collect();
        assert_eq!(questions.ask("t").err(), Some(AskError::TooMany));
        drop(all);
        assert!(questions.ask("t").is_ok());
    }
}
