//! `tidegate bgp catchment`: from where clients reach which PoP of an anycast group, and where they are expected without it.
//!
//! What was counted, what was measured, and what is a guess stand apart; what nobody knows is a dash.

use clap::Args;
use serde_json::Value;
use tidegate_contract::id::{AnycastGroupId, PopId};
use url::form_urlencoded::Serializer;

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::Output,
    said::{field, list, number, percent},
};
use crate::api::anycast_model::{CatchmentView, WithdrawalView};

/// Of what.
#[derive(Args)]
pub(super) struct CatchmentArgs {
    /// The group
    group: AnycastGroupId,
    /// Only this PoP, with the networks that land there
    #[arg(long)]
    pop: Option<PopId>,
    /// So many networks of each PoP, where they are shown (--pop, -o wide, -o json)
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=100))]
    networks: u16,
}

/// Shows a catchment.
pub(super) async fn show(
    args: CatchmentArgs,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let CatchmentArgs { group, pop, networks } = args;
    let mut query = Serializer::new(String::new());
    query.append_pair("networks", &networks.to_string());
    if let Some(pop) = &pop {
        query.append_pair("pop", pop.as_str());
    }
    let path = format!("/v1/anycast/{group}/catchment?{}", query.finish());
    let view: CatchmentView = client.get(&path).await?;
    let header = [
        "POP",
        "CONNECTIONS",
        "SHARE",
        "BYTES",
        "SHARE",
        "NETWORKS",
        "AS MAPPED",
        "FURTHER MS",
        "WITHOUT IT",
    ];
    out.print(&view, header, |view| {
        view.withdrawals.iter().map(|withdrawal| row(view, withdrawal)).collect()
    })?;
    let seen = list(&view.catchment, "pops");
    if out.is_for_people() && (pop.is_some() || out.is_wide()) {
        let header = [
            "POP",
            "COUNTRY",
            "AS",
            "PLACE",
            "CONNECTIONS",
            "SHARE",
            "RTT MS",
            "MAP",
            "RTT MS",
            "FROM",
            "FURTHER MS",
        ];
        let rows: Vec<[String; 11]> = seen
            .iter()
            .flat_map(|pop| {
                list(pop, "networks").into_iter().map(|one| network(&field(pop, "pop"), &one))
            })
            .collect();
        if !rows.is_empty() {
            out.print(&rows, header, Clone::clone)?;
        }
    }
    let halves = field(&view.catchment, "halves_after_seconds");
    out.note(&format!(
        "answered by {}; counts lose half of their weight every {halves} s; requests are not counted by network",
        view.node
    ));
    if let Some(lost) = view.catchment.get("left_out").and_then(Value::as_u64).filter(|n| *n > 0) {
        out.note(&format!("{lost} connections found no room since the node's start"));
    }
    if seen.is_empty() {
        out.note("nothing was told of connections to these addresses");
    }
    Ok(if seen.is_empty() { Exit::Failed } else { Exit::Ok })
}

fn row(view: &CatchmentView, withdrawal: &WithdrawalView) -> [String; 9] {
    let pops = list(&view.catchment, "pops");
    let name = withdrawal.pop.as_str();
    let unknown = Value::Null;
    let seen = pops.iter().find(|pop| field(pop, "pop") == name).unwrap_or(&unknown);
    [
        name.to_owned(),
        number(seen, "connections"),
        percent(seen, "connections_share"),
        number(seen, "bytes"),
        percent(seen, "bytes_share"),
        field(seen, "units"),
        percent(seen, "as_mapped_share"),
        number(seen, "further_ms"),
        without(withdrawal),
    ]
}

/// Where the clients of a PoP are expected without it: PoPs, how many of the prefixes, and how full they are then.
fn without(withdrawal: &WithdrawalView) -> String {
    if withdrawal.lands.is_empty() {
        return "announces nothing".to_owned();
    }
    let mut parts: Vec<(String, usize)> = Vec::new();
    for landing in &withdrawal.lands {
        let to = landing.to.as_ref().map_or("nowhere", PopId::as_str);
        match parts.iter_mut().find(|(known, _)| known == to) {
            Some((_, count)) => *count += 1,
            None => parts.push((to.to_owned(), 1)),
        }
    }
    let percent = |pop: &str| {
        let expected = withdrawal.expected_percent.as_ref()?;
        expected.iter().find(|(id, _)| id.as_str() == pop).map(|(_, percent)| *percent)
    };
    let all = withdrawal.lands.len();
    let part = |(pop, count): &(String, usize)| {
        let part = if *count == all { String::new() } else { format!(" {count}/{all}") };
        let full = percent(pop).map(|percent| format!(" ({percent} %)")).unwrap_or_default();
        format!("{pop}{part}{full}")
    };
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn network(pop: &str, one: &Value) -> [String; 11] {
    let place = match (one.get("latitude"), one.get("longitude")) {
        (Some(Value::Number(_)), Some(Value::Number(_))) => {
            format!("{} {}", number(one, "latitude"), number(one, "longitude"))
        }
        _ => "-".to_owned(),
    };
    [
        pop.to_owned(),
        field(one, "country"),
        field(one, "asn"),
        place,
        number(one, "connections"),
        percent(one, "share"),
        number(one, "rtt_ms"),
        field(one, "mapped_to"),
        number(one, "mapped_rtt_ms"),
        field(one, "mapped_source"),
        number(one, "further_ms"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn where_clients_would_go_is_said_by_prefix_only_when_it_differs() {
        let withdrawal =
            |text: Value| -> WithdrawalView { serde_json::from_value(text).expect("good") };
        for (lands, percent, expected) in [
            (
                json!([{"prefix": "p1", "to": "b"}, {"prefix": "p2", "to": "b"}]),
                json!({"b": 40}),
                "b (40 %)",
            ),
            (
                json!([{"prefix": "p1", "to": "b"}, {"prefix": "p2", "to": "c"}]),
                json!({"b": 40, "c": 9}),
                "b 1/2 (40 %), c 1/2 (9 %)",
            ),
            (json!([{"prefix": "p1"}]), json!(null), "nowhere"),
            (json!([]), json!({}), "announces nothing"),
        ] {
            let view = withdrawal(json!({"pop": "a", "lands": lands, "expected_percent": percent}));
            assert_eq!(without(&view), expected);
        }
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(
            network("a", &json!({"connections": 2.0}))[1..7],
            ["-", "-", "-", "2.0", "-", "-"]
        );
        let view: CatchmentView = serde_json::from_value(json!({
            "group": "g", "node": "n", "prefixes": [], "catchment": {"pops": [{"pop": "b"}]},
            "withdrawals": [{"pop": "a", "lands": []}],
        }))
        .expect("good");
        assert_eq!(row(&view, &view.withdrawals[0])[..3], ["a", "-", "-"]);
    }
}
