//! Identities of nodes are made worthless: of one node (`ca revoke`, `pop revoke --node`) or of a whole PoP (`pop revoke`).
//!
//! Invariant: the plan is shown before anybody is asked, and a dry run changes nothing.

use tidegate_contract::id::{NodeId, PopId};

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::Output,
};
use crate::api::model::{RevokedView, pop_path};

/// One node.
pub(super) async fn node(
    pop: &PopId,
    node: &NodeId,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    out.note(&format!("node {pop}/{node}: its certificate is worthless, its lanes end"));
    if consent.confirm(node.as_str())? {
        client.delete(&format!("{}/nodes/{node}", pop_path(pop))).await?;
    }
    Ok(Exit::Ok)
}

/// All nodes of a PoP, and the tokens that would enrol others.
pub(super) async fn all(
    pop: &PopId,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let path = format!("{}/nodes", pop_path(pop));
    let plan: RevokedView = client.remove(&format!("{path}?dry_run=true"), None).await?;
    let names: Vec<_> = plan.nodes.iter().map(|node| format!("{pop}/{node}")).collect();
    let names = if names.is_empty() { "no node".to_owned() } else { names.join(", ") };
    out.note(&format!(
        "plan: {names}: their certificates are worthless, their lanes end, and tokens to enrol nodes of {pop} are void; \
         each serves on with the release that it has until it is stopped"
    ));
    if !consent.confirm(pop.as_str())? {
        return print(&plan, out);
    }
    print(&client.remove(&path, None).await?, out)
}

fn print(view: &RevokedView, out: &Output) -> Result<Exit, Failure> {
    out.print(view, ["NODE", "IDENTITY"], |view| {
        let state = if view.dry_run { "would be revoked" } else { "revoked" };
        let row = |node: &NodeId| [format!("{}/{node}", view.pop), state.to_owned()];
        view.nodes.iter().map(row).collect()
    })?;
    Ok(Exit::Ok)
}
