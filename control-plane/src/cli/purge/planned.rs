//! What purges would do, as the control plane plans it.
//!
//! Of a URL the query is left out in what people read, which may be signed.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_contract::id::PopId;

use super::shown::{how_of, name_of};
use crate::{
    api::model::{PurgePlanPop, PurgePlanView},
    cli::{
        failure::Failure,
        output::{Output, or_dash},
    },
};

/// What a dry run answers.
#[derive(Serialize)]
struct Planned<'a> {
    plans: &'a [PurgePlanView],
}

/// Prints plans as data.
pub(super) fn print(plans: &[PurgePlanView], out: &Output) -> Result<(), Failure> {
    let header = ["TARGET", "KIND", "HOW", "PROPERTIES", "POPS", "NODES", "LIMITS", "APPROVAL"];
    out.print(&Planned { plans }, header, |planned| planned.plans.iter().map(row).collect())
}

fn row(plan: &PurgePlanView) -> [String; 8] {
    let target = &plan.order.target;
    let properties = plan.properties.as_ref().map(|ids| match ids.len() {
        0 => "none".to_owned(),
        few if few <= NAMED_MAX => {
            ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        many => many.to_string(),
    });
    let limits = plan.limits.iter().map(|limit| format!("{} {}", limit.limit, limit.left));
    let (nodes, connected) = nodes(&plan.pops);
    [
        name_of(target),
        target.kind().to_owned(),
        how_of(plan.replacement_bytes.is_some(), plan.order.soft).to_owned(),
        or_dash(properties),
        plan.pops.len().to_string(),
        format!("{connected}/{nodes}"),
        limits.collect::<Vec<_>>().join(" "),
        if plan.needs_approval { "needed" } else { "-" }.to_owned(),
    ]
}

/// What the orders of one command do, for people. But for the target and its property they are alike.
pub(super) fn note(plans: &[PurgePlanView], out: &Output) {
    for line in lines(plans) {
        out.note(&format!("plan: {line}"));
    }
}

fn lines(plans: &[PurgePlanView]) -> Vec<String> {
    let Some(plan) = plans.first() else { return Vec::new() };
    let orders = plans.len();
    let how = how_of(plan.replacement_bytes.is_some(), plan.order.soft);
    let (nodes, connected) = nodes(&plan.pops);
    let what = match plan.order.target.kind() {
        "all" => "everything".to_owned(),
        kind if orders == 1 => format!("{kind} {}", name_of(&plan.order.target)),
        kind => format!("{orders} times {kind}"),
    };
    let pops = plan.pops.len();
    let mut lines = vec![format!(
        "{how} purge of {what}, in {pops} PoPs; {connected} of {nodes} nodes are connected"
    )];
    let away: BTreeMap<&PopId, u64> = plan
        .pops
        .iter()
        .filter(|pop| pop.connected < pop.nodes)
        .map(|pop| (&pop.pop, pop.nodes - pop.connected))
        .collect();
    if !away.is_empty() {
        let names: Vec<_> =
            away.iter().take(NAMED_MAX).map(|(pop, nodes)| format!("{pop} {nodes}")).collect();
        let more = away.len().saturating_sub(NAMED_MAX);
        let more = if more == 0 { String::new() } else { format!(" and in {more} more PoPs") };
        lines.push(format!(
            "not connected: {}{more}; they get it when they are back, and revalidate what can change until then",
            names.join(", ")
        ));
    }
    let of_nothing = |plan: &&PurgePlanView| plan.properties.as_ref().is_some_and(Vec::is_empty);
    for plan in plans.iter().filter(of_nothing).take(NAMED_MAX) {
        let none = match plan.order.target.kind() {
            "all" => "no property is released".to_owned(),
            _ => format!("no property is meant by {}", name_of(&plan.order.target)),
        };
        lines.push(format!("{none}: most likely nothing is found"));
    }
    for limit in &plan.limits {
        let (name, left) = (&limit.limit, limit.left);
        if left < orders as u64 {
            let wait = humantime::format_duration(std::time::Duration::from_millis(limit.wait_ms));
            let when = if left == 0 { format!(", the next in {wait}") } else { String::new() };
            lines.push(format!(
                "{name} lets {left} of {orders} pass now{when}: the rest would be refused"
            ));
        }
    }
    if plan.needs_approval {
        lines.push("a second person must approve it".to_owned());
    }
    lines
}

fn nodes(pops: &[PurgePlanPop]) -> (u64, u64) {
    pops.iter()
        .fold((0, 0), |(nodes, connected), pop| (nodes + pop.nodes, connected + pop.connected))
}

/// So many are named; of more the number is said.
const NAMED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_says_who_is_away_what_is_refused_and_who_must_agree() {
        let plan: PurgePlanView = serde_json::from_value(json!({
            "order": {"kind": "all", "soft": true},
            "properties": [],
            "pops": [{"pop": "ams", "nodes": 2, "connected": 2}, {"pop": "fra", "nodes": 3, "connected": 1}],
            "limits": [
                {"limit": "purge_all_rate", "per_second": 0.2, "burst": 5.0, "left": 0, "wait_ms": 5000},
                {"limit": "purge_rate", "per_second": 1.0, "burst": 9.0, "left": 9, "wait_ms": 0},
            ],
            "needs_approval": true,
            "dry_run": true,
        }))
        .expect("a plan");
        let said = lines(std::slice::from_ref(&plan)).join("\n");
        for words in [
            "soft purge of everything, in 2 PoPs; 3 of 5 nodes are connected",
            "not connected: fra 2;",
            "purge_all_rate lets 0 of 1 pass now, the next in 5s",
            "no property is released: most likely",
            "a second person must approve it",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("purge_rate"), "{said}");
        assert!(lines(&vec![plan; 10]).join("\n").contains("purge_rate lets 9 of 10 pass now:"));
    }

    #[test]
    fn a_signed_query_is_not_shown() {
        let plan: PurgePlanView = serde_json::from_value(json!({
            "order": {"kind": "url", "host": "a.org", "path": "/x?sig=s3cret"},
            "pops": [], "limits": [], "needs_approval": false, "dry_run": true,
        }))
        .expect("a plan");
        let said = [lines(std::slice::from_ref(&plan)), row(&plan).to_vec()].concat().join("\n");
        assert!(said.contains("a.org/x") && !said.contains("s3cret"), "{said}");
    }
}
