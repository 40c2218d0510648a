//! `tidegate pop exec-check`: every node of a PoP looks at itself now, and what each finds is one table.

use std::time::Duration;

use clap::Args;
use tidegate_contract::{
    id::{NodeId, PopId},
    node_question::Check,
};
use url::form_urlencoded::Serializer;

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::Output,
    pop_log::{clean, exit_of_states, parse_place, place},
};
use crate::api::model::{CheckList, NodeCheckView, pop_path};

/// Which nodes.
#[derive(Args)]
pub(super) struct ExecCheck {
    /// The PoP, or one node of it
    #[arg(value_name = "POP[/NODE]", value_parser = parse_place)]
    name: (PopId, Option<NodeId>),
    /// Only this node
    #[arg(long)]
    node: Option<NodeId>,
    /// How long nodes have time to answer, at most 30s
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = humantime::parse_duration)]
    deadline: Duration,
}

/// `pop exec-check`
pub(super) async fn run(args: ExecCheck, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let (pop, node) = place(&args.name, args.node.as_ref())?;
    let mut query = Serializer::new(String::new());
    query.append_pair("deadline", &humantime::format_duration(args.deadline).to_string());
    if let Some(node) = &node {
        query.append_pair("node", node.as_str());
    }
    let path = format!("{}/check?{}", pop_path(&pop), query.finish());
    let list: CheckList = client.get(&path).await?;
    out.print(&list, ["NODE", "CHECK", "STATE", "TOOK", "FOUND"], rows)?;
    Ok(exit_of(&list))
}

/// What failed comes first; then who did not answer.
fn exit_of(list: &CheckList) -> Exit {
    if list.nodes.iter().flat_map(|view| &view.checks).any(|check| !check.is_ok) {
        return Exit::Failed;
    }
    exit_of_states(list.nodes.iter().map(|view| view.state.as_str()))
}

fn rows(list: &CheckList) -> Vec<[String; 5]> {
    let of_node = |view: &NodeCheckView| {
        let name = format!("{}/{}", list.pop, view.node);
        if view.state != "answered" {
            let why = clean(view.why.as_deref().unwrap_or_default());
            return vec![[name, "-".to_owned(), view.state.clone(), "-".to_owned(), why]];
        }
        let row = |check: &Check| {
            let state = if check.is_ok { "ok" } else { "failed" }.to_owned();
            let took = format!("{} ms", check.took_ms);
            [name.clone(), clean(&check.check), state, took, clean(&check.found)]
        };
        view.checks.iter().map(row).collect()
    };
    list.nodes.iter().flat_map(of_node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(node: &str, state: &str, checks: &[bool]) -> NodeCheckView {
        let check = |is_ok: &bool| Check {
            check: "disk".into(),
            is_ok: *is_ok,
            found: "f\u{7}".into(),
            took_ms: 3,
        };
        NodeCheckView {
            node: NodeId::parse(node).expect("good"),
            state: state.into(),
            why: (state != "answered").then(|| "why".to_owned()),
            checks: checks.iter().map(check).collect(),
        }
    }

    #[test]
    fn the_exit_code_says_what_failed_and_then_who_did_not_answer() {
        let list = |nodes: Vec<NodeCheckView>| CheckList {
            pop: PopId::parse("ams").expect("good"),
            nodes,
        };
        let good = || view("n1", "answered", &[true]);
        for (nodes, exit) in [
            (vec![good()], Exit::Ok),
            (vec![], Exit::Ok),
            (vec![good(), view("n2", "silent", &[])], Exit::Timeout),
            (vec![good(), view("n2", "refused", &[])], Exit::Invalid),
            (vec![view("n1", "answered", &[true, false]), view("n2", "away", &[])], Exit::Failed),
        ] {
            assert_eq!(exit_of(&list(nodes.clone())), exit, "{nodes:?}");
        }
        let rows = rows(&list(vec![good(), view("n2", "away", &[])]));
        assert_eq!(rows[0], ["ams/n1", "disk", "ok", "3 ms", "f\\u{7}"].map(str::to_owned));
        assert_eq!(rows[1], ["ams/n2", "-", "away", "-", "why"].map(str::to_owned));
    }
}
