//! `tidegate edge`: what one node of the edge knows, asked at its admin port.

use std::net::SocketAddr;

use clap::Subcommand;
use tidegate_contract::explanation::{Explanation, StoredResponse};

use super::{
    client,
    failure::{Exit, Failure},
    output::{Output, or_dash},
    trace::Calls,
};

/// What is asked of a node.
#[derive(Subcommand)]
pub(super) enum EdgeCommand {
    /// Say whether a resource is cached, where, how fresh, under which names, and why not; exit code 1 when it is not
    /// stored
    Explain {
        /// The resource, as a client asks for it
        url: String,
        /// The admin port of the node
        #[arg(long, value_name = "ADDRESS")]
        admin: SocketAddr,
        /// A request header, for resources that vary. May be repeated
        #[arg(long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
    },
}

/// Runs a command on a node.
pub(super) async fn run(command: EdgeCommand, calls: Calls, out: &Output) -> Result<Exit, Failure> {
    let EdgeCommand::Explain { url, admin, headers } = command;
    let mut query = vec![("url", url)];
    query.extend(headers.into_iter().map(|line| ("header", line)));
    let explanation: Explanation =
        client::ask_admin(&format!("http://{admin}/explain"), &query, calls).await?;
    out.print(&explanation, ["WHAT", "IS"], rows)?;
    Ok(if explanation.stored.is_some() { Exit::Ok } else { Exit::Failed })
}

fn rows(explanation: &Explanation) -> Vec<[String; 2]> {
    let mut rows = vec![
        row("host", &explanation.host),
        row("path", &explanation.path),
        row("property", &explanation.property),
        row("key", &explanation.key),
        row("class", &explanation.class),
        row("decision", &explanation.decision),
        row("reason", or_dash(explanation.reason.as_ref())),
        row("being asked for", explanation.is_being_asked_for),
        row("stored", explanation.stored.is_some()),
    ];
    if let Some(stored) = &explanation.stored {
        rows.extend(stored_rows(stored));
    }
    rows
}

fn stored_rows(stored: &StoredResponse) -> Vec<[String; 2]> {
    vec![
        row("tier", &stored.tier),
        row("status", stored.status),
        row("bytes", or_dash(stored.bytes)),
        row("slice bytes", or_dash(stored.slice_bytes)),
        row("age", format!("{}s", stored.age_s)),
        row("ttl", format!("{}s", stored.ttl_s)),
        row("stale while revalidate", format!("{}s", stored.stale_while_revalidate_s)),
        row("stale if error", format!("{}s", stored.stale_if_error_s)),
        row("purges", &stored.verdict),
        row("names", stored.names),
        row(
            "surrogate keys",
            or_dash(Some(stored.surrogate_keys.join(" ")).filter(|list| !list.is_empty())),
        ),
        row("came with a purge", stored.came_with_purge),
        row("varies by", or_dash(Some(stored.vary.join(", ")).filter(|list| !list.is_empty()))),
    ]
}

fn row(what: &str, value: impl ToString) -> [String; 2] {
    [what.to_owned(), value.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_everything_that_is_known() {
        let stored = StoredResponse {
            tier: "memory".into(),
            status: 200,
            bytes: Some(7),
            slice_bytes: None,
            age_s: 3,
            ttl_s: -1,
            stale_while_revalidate_s: 5,
            stale_if_error_s: 0,
            verdict: "valid".into(),
            names: 4,
            surrogate_keys: vec!["video-1".into(), "all".into()],
            came_with_purge: true,
            vary: vec!["accept-language".into()],
        };
        let explanation = Explanation {
            host: "a.org".into(),
            path: "/x".into(),
            property: "demo".into(),
            key: "00".into(),
            class: "other".into(),
            decision: "serve-stale".into(),
            reason: None,
            is_being_asked_for: true,
            stored: Some(stored),
        };
        let rows = rows(&explanation);
        for expected in [
            ["decision", "serve-stale"],
            ["ttl", "-1s"],
            ["slice bytes", "-"],
            ["surrogate keys", "video-1 all"],
        ] {
            assert!(rows.iter().any(|row| row == &expected), "{expected:?}");
        }
    }
}
