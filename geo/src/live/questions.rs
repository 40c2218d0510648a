//! What operators ask through the control plane, answered from the same state as the admin port.
//!
//! Invariant: an answer is made off the runtime's threads, and one that cannot be made says why in `error`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate_chassis::Clock;
use tidegate_contract::geo_feed::Question;

use super::state::State;

/// What a client would be answered to a name and a type of record; an error says what is wrong with the question.
pub type Resolve = Arc<dyn Fn(&str, &str, IpAddr) -> Result<Value, String> + Send + Sync>;

/// Answers questions.
#[derive(Clone)]
pub struct Answers {
    state: Arc<State>,
    clock: Clock,
    resolve: Resolve,
}

impl Answers {
    pub(super) fn new(state: Arc<State>, clock: Clock, resolve: Resolve) -> Self {
        Self { state, clock, resolve }
    }

    /// Answers one.
    pub(super) async fn answer(&self, question: Question) -> Value {
        let answers = self.clone();
        let made = tokio::task::spawn_blocking(move || answers.made(&question)).await;
        made.unwrap_or_else(|_| json!({ "error": "the question could not be answered" }))
    }

    /// What a client would be answered, and why.
    ///
    /// # Errors
    /// What is wrong with the question.
    pub fn resolve(&self, name: &str, record: &str, client: IpAddr) -> Result<Value, String> {
        let answer = (self.resolve)(name, record, client)?;
        let explanation = self.state.explain(client, self.clock.now());
        Ok(json!({
            "name": name,
            "record": record,
            "client": client,
            "answer": answer,
            "text": explanation.explanation.to_string(),
            "explanation": explanation,
        }))
    }

    fn made(&self, question: &Question) -> Value {
        let now = self.clock.now();
        let made = match question {
            Question::Resolve { name, record, client } => self.resolve(name, record, *client),
            Question::Map {} => Ok(json!(self.state.map(now))),
            Question::MapDiff { ago_seconds } => {
                let ago = Duration::from_secs(u64::from(*ago_seconds));
                Ok(json!(self.state.difference(ago, now)))
            }
        };
        made.unwrap_or_else(|error| json!({ "error": error }))
    }
}
