//! How far purges are, how far nodes are behind, and what was purged.

use tidegate_contract::purge::PurgeTarget;

use crate::{
    api::model::{PurgeLagList, PurgeLagView, PurgeList, PurgeNodeView, PurgeView},
    cli::{
        client::Client,
        failure::{Exit, Failure},
        output::{Output, or_dash, time},
        watch::{Shown, show},
    },
};

/// `purge status`
pub(super) async fn status(
    id: &str,
    watch: bool,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let id: tidegate_contract::id::PurgeId = id
        .parse()
        .map_err(|_| Failure::new(Exit::NotFound, format!("there is no purge {id:?}")))?;
    let path = format!("/v1/purges/{id}");
    let ask = async || client.get::<PurgeView>(&path).await;
    show(watch, out, ask, |purge| {
        out.print(purge, ORDERED_HEADER, ordered_rows)?;
        Ok(Shown::until_done(purge.complete == Some(true)))
    })
    .await
}

/// `purge lag`
pub(super) async fn lag(watch: bool, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let ask = async || client.get::<PurgeLagList>("/v1/purges/lag").await;
    show(watch, out, ask, |list| {
        print_lag(list, out)?;
        Ok(Shown::for_good(Exit::Ok))
    })
    .await
}

fn print_lag(list: &PurgeLagList, out: &Output) -> Result<(), Failure> {
    let header = ["POP", "NODE", "STATE", "LANES", "APPLIED", "HEAD", "LAG", "BEHIND-MS"];
    out.print(list, header, |list| {
        let row = |node: &PurgeLagView| {
            [
                node.pop.to_string(),
                node.node.to_string(),
                node.state.clone(),
                node.subscriptions.to_string(),
                or_dash(node.applied),
                list.head.to_string(),
                or_dash(node.lag),
                or_dash(node.behind_ms),
            ]
        };
        list.items.iter().map(row).collect()
    })
}

/// `purge log`
pub(super) async fn log(
    since: Option<u64>,
    after: u64,
    limit: usize,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let since = since.map_or(String::new(), |since| format!("&since_unix_ms={since}"));
    let path = format!("/v1/purges?after={after}&limit={limit}{since}");
    let list: PurgeList = client.get(&path).await?;
    out.print(&list, ["OFFSET", "ACCEPTED", "PURGE", "KIND", "HOW", "TARGET"], |list| {
        list.purges.iter().map(logged_row).collect()
    })?;
    Ok(Exit::Ok)
}

/// One purge of the log.
fn logged_row(purge: &PurgeView) -> [String; 6] {
    let target = purge.order.as_ref().map(|order| &order.target);
    let is_soft = purge.order.as_ref().is_some_and(|order| order.soft);
    [
        purge.offset.to_string(),
        time(purge.accepted_unix_ms),
        purge.id.to_string(),
        or_dash(target.map(PurgeTarget::kind)),
        how_of(purge.replacement.is_some(), is_soft).to_owned(),
        target.map_or_else(|| "-".to_owned(), name_of),
    ]
}

/// What a purge leaves behind.
pub(super) fn how_of(is_replacing: bool, is_soft: bool) -> &'static str {
    match (is_replacing, is_soft) {
        (true, _) => "replace",
        (false, true) => "soft",
        (false, false) => "hard",
    }
}

/// What is purged. Of a URL the query is left out, which may be signed.
pub(super) fn name_of(target: &PurgeTarget) -> String {
    match target {
        PurgeTarget::Url { host, path } => {
            format!("{host}{}", path.split('?').next().unwrap_or_default())
        }
        PurgeTarget::Prefix { host, path_prefix } => format!("{host}{path_prefix}"),
        PurgeTarget::Key { key } => key.to_string(),
        PurgeTarget::Property { id } => id.to_string(),
        PurgeTarget::All => "-".to_owned(),
    }
}

/// One row for each node, or one alone where nobody waited.
pub(super) fn ordered_rows(purge: &PurgeView) -> Vec<[String; 8]> {
    let row = |node: Option<&PurgeNodeView>| {
        [
            purge.id.to_string(),
            purge.offset.to_string(),
            time(purge.accepted_unix_ms),
            or_dash(node.map(|node| &node.pop)),
            or_dash(node.map(|node| &node.node)),
            node.map_or("accepted", |node| &node.state).to_owned(),
            or_dash(node.and_then(|node| node.ms)),
            or_dash(node.and_then(|node| node.why.clone())),
        ]
    };
    match purge.pops.as_deref() {
        Some(nodes) if !nodes.is_empty() => nodes.iter().map(|node| row(Some(node))).collect(),
        _ => vec![row(None)],
    }
}

/// Of [`ordered_rows`].
pub(super) const ORDERED_HEADER: [&str; 8] =
    ["PURGE", "OFFSET", "ACCEPTED", "POP", "NODE", "STATE", "MS", "WHY"];
