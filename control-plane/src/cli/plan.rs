//! The plan that the control plane makes of a verb, before anything is done.
//!
//! Invariant: no plan is asked for where the control plane does not say that it can make it. An older one does not read
//! the word `dry_run`, and would go ahead.

use serde_json::Value;
use tidegate_contract::id::{NodeId, PopId};

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::Output,
};
use crate::api::model::RevokedView;

/// One call of the API, by method and path as its document has them.
pub(super) type Call = (&'static str, &'static str);

/// Whether to ask for the plan of a call: always in a dry run, else where somebody would see it.
///
/// # Errors
/// [`Exit::Usage`] for a dry run that the control plane cannot make.
pub(super) async fn is_wanted(
    call: Call,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<bool, Failure> {
    let is_dry = !consent.goes_on();
    if !is_dry && out.is_quiet() {
        return Ok(false);
    }
    let document: Value = client.get("/v1/openapi.json").await?;
    if knows(&document, call) {
        return Ok(true);
    }
    if !is_dry {
        return Ok(false);
    }
    let failure = Failure::new(
        Exit::Usage,
        "this control plane is too old for a dry run of this: nothing was done",
    );
    Err(failure.with_hint("upgrade every replica of it first"))
}

/// Whether a control plane says that it makes plans of a call.
fn knows(document: &Value, (method, path): Call) -> bool {
    let parameters = document["paths"][path][method]["parameters"].as_array();
    parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "dry_run"))
}

/// Shows what goes with a PoP, or which node of it goes.
pub(super) async fn removal(
    (pop, node): (&PopId, Option<&NodeId>),
    path: &str,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<(), Failure> {
    let call = match node {
        None => ("delete", "/v1/pops/{pop}"),
        Some(_) => ("delete", "/v1/pops/{pop}/nodes/{node}"),
    };
    if !is_wanted(call, client, consent, out).await? {
        return Ok(());
    }
    let plan: RevokedView = client.remove(&format!("{path}?dry_run=true"), None).await?;
    let names: Vec<_> = plan.nodes.iter().map(|node| format!("{pop}/{node}")).collect();
    let names = if names.is_empty() { "no node".to_owned() } else { names.join(", ") };
    out.note(&match node {
        None => format!(
            "plan: pop {pop} is removed, and its nodes with it: {names}; their certificates are worthless, their lanes end"
        ),
        Some(_) => format!("plan: node {names} is removed: its certificate is worthless, its lanes end"),
    });
    if !consent.goes_on() {
        out.print(&plan, ["NODE", "STATE"], |plan| {
            let row = |node: &NodeId| [format!("{}/{node}", plan.pop), "would be removed".into()];
            plan.nodes.iter().map(row).collect()
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_control_plane_says_that_it_plans_is_asked_for() {
        let with = |parameters: Value| json!({"paths": {"/v1/purges": {"post": {"parameters": parameters}}}});
        let call = ("post", "/v1/purges");
        assert!(knows(&with(json!([{"name": "dry_run", "in": "query"}])), call));
        assert!(!knows(&with(json!([{"name": "limit", "in": "query"}])), call));
        assert!(!knows(&with(Value::Null), call));
        assert!(!knows(&with(json!([{"name": "dry_run"}])), ("get", "/v1/purges")));
        assert!(!knows(&json!([]), call));
    }
}
