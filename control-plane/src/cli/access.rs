//! `tidegate whoami, can-i, approval, role, audit`: who may do what, what waits for a second person, what was done.
//!
//! `audit verify` does not believe the server: it reads every row and computes the chain itself.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, or_dash, time},
    plan,
};
use crate::{
    access::{Approval, ApprovalState, Grant, Role, verify},
    api::access_model::{
        ApprovalList, AuditList, AuditView, CanIRequest, CanIView, RoleList, WhoamiView,
    },
};

/// What is done with approvals.
#[derive(Subcommand)]
pub(super) enum ApprovalCommand {
    /// List what was asked for, newest first
    List,
    /// Let somebody else do what they asked for, once
    Approve {
        /// Its id
        id: String,
    },
    /// Say no
    Reject {
        /// Its id
        id: String,
    },
}

/// What is done with roles.
#[derive(Subcommand)]
pub(super) enum RoleCommand {
    /// List roles
    List,
    /// Make or replace a role; it changes every token that has it at once
    Set {
        /// Its name
        name: String,
        /// What it holds, such as purge:property/demo; may be given several times
        #[arg(long, required = true, value_name = "SCOPE")]
        scope: Vec<Grant>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Delete a role
    Delete {
        /// Its name
        name: String,
    },
}

/// What is done with the audit log.
#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Show the newest rows
    List {
        /// Rows after this number, instead of the newest
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// Check that no row was changed, left out or put in; exit code 1 when one was
    Verify {
        /// A number and a hash that somebody else wrote down, as NUMBER:HASH; may be given several times
        #[arg(long, value_name = "NUMBER:HASH", value_parser = witness)]
        witness: Vec<(u64, String)>,
    },
}

/// `tidegate whoami`
pub(super) async fn whoami(client: &Client, out: &Output) -> Result<Exit, Failure> {
    let me: WhoamiView = client.get("/v1/whoami").await?;
    out.print(&me, ["TOKEN", "LABEL", "SCOPES"], |me| {
        vec![[me.id.clone(), me.label.clone(), me.scopes.join(" ")]]
    })?;
    Ok(Exit::Ok)
}

/// `tidegate can-i`
pub(super) async fn can_i(
    verb: String,
    target: String,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let answer: CanIView = client.post("/v1/can-i", &CanIRequest { verb, target }).await?;
    out.print_line(&answer, if answer.allowed { "yes" } else { "no" }, |answer| {
        match answer.allowed {
            true => format!("yes, by {}", answer.by.join(" ")),
            false => "no".to_owned(),
        }
    })?;
    Ok(if answer.allowed { Exit::Ok } else { Exit::Failed })
}

/// Runs a command on approvals.
pub(super) async fn approval(
    command: ApprovalCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let (id, word) = match command {
        ApprovalCommand::List => {
            let list: ApprovalList = client.get("/v1/approvals").await?;
            print_approvals(&list.items, out)?;
            return Ok(Exit::Ok);
        }
        ApprovalCommand::Approve { id } => (id, "approve"),
        ApprovalCommand::Reject { id } => (id, "reject"),
    };
    let mut path = format!("/v1/approvals/{id}/{word}");
    if !consent.goes_on() {
        let call = match word {
            "approve" => "/v1/approvals/{id}/approve",
            _ => "/v1/approvals/{id}/reject",
        };
        plan::is_wanted(("post", call), client, consent, out).await?;
        out.note(&format!("plan: {word} this, as it stands:"));
        path.push_str("?dry_run=true");
    }
    let approval: Approval = client.post(&path, &json!({})).await?;
    out.print_line(&approval, &approval.id, |approval| {
        let claim = &approval.claim;
        format!(
            "{} {}: {} {} for {}",
            approval.id,
            state(approval.state),
            claim.danger.as_str(),
            claim.target,
            claim.person
        )
    })?;
    Ok(Exit::Ok)
}

/// Runs a command on roles.
pub(super) async fn role(
    command: RoleCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        RoleCommand::List => {
            let list: RoleList = client.get("/v1/roles").await?;
            out.print(&list.items, ["ROLE", "SCOPES", "FOR"], |roles| {
                let row = |role: &Role| {
                    let scopes: Vec<_> = role.scopes.iter().map(ToString::to_string).collect();
                    [role.name.clone(), scopes.join(" "), role.description.clone()]
                };
                roles.iter().map(row).collect()
            })?;
        }
        RoleCommand::Set { name, scope, description } => {
            let role = Role { name, scopes: scope, description };
            out.note(&format!("role {}: every token that has it changes at once", role.name));
            if consent.goes_on() {
                let path = format!("/v1/roles/{}", role.name);
                let _: Value = client.put(&path, &role, None).await?;
            }
        }
        RoleCommand::Delete { name } => {
            out.note(&format!("role {name}: tokens that have it hold nothing by it any more"));
            if consent.confirm(&name)? {
                client.delete(&format!("/v1/roles/{name}")).await?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Runs a command on the audit log.
pub(super) async fn audit(
    command: AuditCommand,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        AuditCommand::List { after, limit } => {
            let after = match after {
                Some(after) => after,
                None => {
                    let head: AuditList = client.get("/v1/audit?limit=1").await?;
                    head.head.number.saturating_sub(limit)
                }
            };
            let path = format!("/v1/audit?after={after}&limit={limit}");
            let list: AuditList = client.get(&path).await?;
            print_rows(&list.items, out)?;
            Ok(Exit::Ok)
        }
        AuditCommand::Verify { witness } => verify_chain(&witness, client, out).await,
    }
}

async fn verify_chain(
    witnesses: &[(u64, String)],
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let (mut known, mut rows, mut after) = (None::<(u64, String)>, 0_u64, 0);
    let mut seen = 0;
    let head = loop {
        let page: AuditList = client.get(&format!("/v1/audit?after={after}&limit=1000")).await?;
        let entries: Vec<_> = page.items.into_iter().map(|item| item.entry).collect();
        let Some(last) = entries.last() else { break page.head };
        if known.is_none() && page.head.first <= 1 {
            known = Some((0, String::new()));
        }
        let before = known.as_ref().map(|(number, hash)| (*number, hash.as_str()));
        let hash = verify(before, &entries).map_err(|found| broken(&found.to_string()))?;
        for (number, witnessed) in witnesses {
            let Some(entry) = entries.iter().find(|entry| entry.number == *number) else {
                continue;
            };
            seen += 1;
            if entry.link.hash != *witnessed {
                return Err(broken(&format!("row {number} is not the one that was witnessed")));
            }
        }
        (rows, after) = (rows + entries.len() as u64, last.number);
        known = Some((last.number, hash));
    };
    let (number, hash) = known.unwrap_or_default();
    if number < head.number || (number == head.number && hash != head.hash) {
        return Err(broken("the log ends before its head, or in another row"));
    }
    if seen < witnesses.len() {
        return Err(broken("a witnessed row is not there"));
    }
    let verdict = json!({"ok": true, "rows": rows, "number": number, "hash": hash});
    out.print_line(&verdict, number, |_| format!("whole: {rows} rows, to {number}:{hash}"))?;
    Ok(Exit::Ok)
}

fn broken(why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("the audit log is broken: {why}"))
        .with_hint("compare with what nodes and logs elsewhere witnessed; docs/operate/security.md")
}

fn print_approvals(approvals: &[Approval], out: &Output) -> Result<(), Failure> {
    let header = ["APPROVAL", "STATE", "WHO", "ACT", "TARGET", "REASON", "ENDS", "DECIDED BY"];
    out.print(&approvals, header, |approvals| {
        let row = |approval: &Approval| {
            let claim = &approval.claim;
            [
                approval.id.clone(),
                state(approval.state).to_owned(),
                claim.person.clone(),
                claim.danger.as_str().to_owned(),
                if claim.target.is_empty() {
                    "everything".to_owned()
                } else {
                    claim.target.clone()
                },
                claim.reason.clone(),
                time(approval.expires_unix_ms),
                or_dash(approval.decided_by.as_ref()),
            ]
        };
        approvals.iter().map(row).collect()
    })
}

fn print_rows(rows: &[AuditView], out: &Output) -> Result<(), Failure> {
    let header = ["ROW", "TIME", "WHO", "ACTION", "STATUS", "WHAT", "REASON"];
    out.print(&rows, header, |rows| {
        let row = |view: &AuditView| {
            let number = view.entry.number.to_string();
            let Some(row) = &view.row else {
                return [
                    number,
                    String::new(),
                    String::new(),
                    "?".into(),
                    String::new(),
                    String::new(),
                    String::new(),
                ];
            };
            [
                number,
                time(row.at_unix_ms),
                if row.label.is_empty() { row.token.clone() } else { row.label.clone() },
                row.action.clone(),
                row.status.to_string(),
                row.notes.join("; "),
                row.reason.clone(),
            ]
        };
        rows.iter().map(row).collect()
    })
}

fn state(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending => "pending",
        ApprovalState::Approved => "approved",
        ApprovalState::Rejected => "rejected",
        ApprovalState::Used => "used",
    }
}

fn witness(text: &str) -> Result<(u64, String), String> {
    let (number, hash) = text.split_once(':').ok_or("a witness is NUMBER:HASH")?;
    let number = number.parse().map_err(|_| "a witness is NUMBER:HASH")?;
    Ok((number, hash.to_ascii_lowercase()))
}
