//! What operators ask through the control plane, answered from the same state as the admin port.
//!
//! The map is known here; of names, steering, zones and keys those know who answer clients, and what they know is handed in
//! ([`Above`]). Invariant: an answer is made off the runtime's threads, and one that cannot be made says why in `error`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate_chassis::Clock;
use tidegate_contract::{geo_feed::Question, network::Network, zone_keys::KeyKind};

use super::{catchment::Wanted, state::State};

/// What a client, or a resolver for one of a subnet, would be answered to a name and a type of record; an error says what is
/// wrong with the question.
pub type Resolve =
    Arc<dyn Fn(&str, &str, IpAddr, Option<Network>) -> Result<Resolved, String> + Send + Sync>;
/// What a player would be told that plays an asset, by a policy that is named or not, from a pathway or none yet.
pub type Steer =
    Arc<dyn Fn(&str, Option<&str>, Option<&str>, IpAddr) -> Result<Value, String> + Send + Sync>;
/// How it stands with every zone.
pub type Zones = Arc<dyn Fn() -> Value + Send + Sync>;
/// Where the keys of signed zones stand, of all or of one.
pub type Signing = Arc<dyn Fn(Option<&str>) -> Result<Value, String> + Send + Sync>;

/// What the next step of a roll-over would make of a zone's keys: of which kind, or the only one; whether it is that the parent
/// has the DS record; the revision that the asker knows.
pub type Roll =
    Arc<dyn Fn(&str, Option<KeyKind>, bool, u64) -> Result<Value, String> + Send + Sync>;

/// What others know that operators ask of.
#[derive(Clone)]
pub struct Above {
    /// Names.
    pub resolve: Resolve,
    /// Players.
    pub steer: Steer,
    /// Zones.
    pub zones: Zones,
    /// Keys.
    pub signing: Signing,
    /// Their next step.
    pub roll: Roll,
}

/// An answer to a name.
pub struct Resolved {
    /// What is said.
    pub answer: Value,
    /// For whom it is: the client, or the subnet that the query carried as far as it is honoured.
    pub whom: IpAddr,
}

/// Answers questions.
#[derive(Clone)]
pub struct Answers {
    state: Arc<State>,
    clock: Clock,
    above: Above,
}

impl Answers {
    pub(super) fn new(state: Arc<State>, clock: Clock, above: Above) -> Self {
        Self { state, clock, above }
    }

    /// Answers one.
    pub(super) async fn answer(&self, question: Question) -> Value {
        let answers = self.clone();
        let made = tokio::task::spawn_blocking(move || answers.made(&question)).await;
        made.unwrap_or_else(|_| json!({ "error": "the question could not be answered" }))
    }

    /// What a client would be answered, and why; with a subnet what its resolver would.
    ///
    /// # Errors
    /// What is wrong with the question.
    pub fn resolve(
        &self,
        name: &str,
        record: &str,
        client: IpAddr,
        subnet: Option<Network>,
    ) -> Result<Value, String> {
        let Resolved { answer, whom } = (self.above.resolve)(name, record, client, subnet)?;
        let explanation = self.state.explain(whom, self.clock.now());
        Ok(json!({
            "name": name,
            "record": record,
            "client": client,
            "subnet": subnet,
            "answer": answer,
            "text": explanation.explanation.to_string(),
            "explanation": explanation,
        }))
    }

    fn made(&self, question: &Question) -> Value {
        let now = self.clock.now();
        let made = match question {
            Question::Resolve { name, record, client, subnet } => {
                self.resolve(name, record, *client, *subnet)
            }
            Question::Map {} => Ok(json!(self.state.map(now))),
            Question::MapDiff { ago_seconds } => {
                let ago = Duration::from_secs(u64::from(*ago_seconds));
                Ok(json!(self.state.difference(ago, now)))
            }
            Question::Steer { asset, policy, pathway, client } => {
                self.steer(asset, policy.as_deref(), pathway.as_deref(), *client)
            }
            Question::Catchment { blocks, pop, networks } => {
                let wanted = Wanted { blocks, pop: pop.as_ref(), networks: *networks };
                Ok(json!(self.state.catchment(wanted)))
            }
            Question::Zones {} => Ok((self.above.zones)()),
            Question::Signing { zone } => (self.above.signing)(zone.as_deref()),
            Question::RollKeys { zone, kind, ds_seen, revision } => {
                (self.above.roll)(zone, *kind, *ds_seen, *revision)
            }
        };
        made.unwrap_or_else(|error| json!({ "error": error }))
    }

    fn steer(
        &self,
        asset: &str,
        policy: Option<&str>,
        pathway: Option<&str>,
        client: IpAddr,
    ) -> Result<Value, String> {
        let mut told = (self.above.steer)(asset, policy, pathway, client)?;
        told["explanation"] = json!(self.state.explain(client, self.clock.now()));
        Ok(told)
    }
}
