//! `tidegate ca`: the identities that the authority gave out: how long they last, a new one, one taken away.
//!
//! A node renews at half of its certificate's life; one that did not is told here long before it matters.

use std::{fs, io, time::SystemTime};

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use tidegate_contract::id::{NodeId, PopId};
use x509_parser::pem::Pem;

use super::{
    client::Client,
    consent::Consent,
    context::Target,
    failure::{Exit, Failure},
    output::{Output, time},
    revoke,
};
use crate::{
    api::model::{
        AuthorityItem, AuthorityView, EnrolmentTokenView, PopList, RotationRequest, pop_path,
    },
    rotation::{CutOff, Step},
    unix_time::unix_ms,
};

/// What is done with identities.
#[derive(Subcommand)]
pub(super) enum CaCommand {
    /// Show how long the authority and every node's certificate last; exit code 1 when one has ended
    Status,
    /// Print a token that gives one node of a PoP an identity, once
    Issue {
        /// The PoP
        pop: PopId,
    },
    /// Replace the authority, step by step, without losing a node
    #[command(subcommand)]
    Rotate(RotateCommand),
    /// Write the certificates of those who are believed now into the context's file
    Trust,
    /// Make a node's identity worthless, on lanes that are open as well
    Revoke {
        /// Its PoP
        pop: PopId,
        /// The node
        node: NodeId,
    },
}

/// The steps of a rotation.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum RotateCommand {
    /// Show how far a rotation is, and which nodes hold up the next step
    Status,
    /// Make the next authority; nodes learn of it when they renew
    Begin,
    /// Let the next authority sign; the one before is still believed
    Switch,
    /// Drop the authority that signed before
    Finish,
    /// Drop the next authority before it signed anything
    Abandon,
}

/// One certificate.
#[derive(Debug, Serialize)]
struct Lasting {
    name: String,
    state: &'static str,
    ends_unix_ms: u64,
    hours_left: u64,
}

/// Runs a command on identities.
pub(super) async fn run(
    command: CaCommand,
    target: &Target,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        CaCommand::Status => return status(target, client, out).await,
        CaCommand::Issue { pop } => {
            let path = format!("{}/enrolment-tokens", pop_path(&pop));
            if consent.goes_on() {
                let token: EnrolmentTokenView = client.post(&path, &json!({})).await?;
                out.print_line(&token, &token.token, |token| token.token.clone())?;
                out.note(&format!("good for one node until {}", time(token.expires_unix_ms)));
            }
        }
        CaCommand::Rotate(command) => return rotate(command, target, client, consent, out).await,
        CaCommand::Trust => {
            let authority: AuthorityView = client.get(AUTHORITY_PATH).await?;
            if consent.goes_on() {
                trust(target, &authority, out)?;
            }
        }
        CaCommand::Revoke { pop, node } => {
            return revoke::node(&pop, &node, client, consent, out).await;
        }
    }
    Ok(Exit::Ok)
}

async fn rotate(
    command: RotateCommand,
    target: &Target,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let (step, plan) = match command {
        RotateCommand::Status => {
            let authority: AuthorityView = client.get(AUTHORITY_PATH).await?;
            show(&authority, out)?;
            return Ok(Exit::Ok);
        }
        RotateCommand::Begin => {
            (Step::Begin, "a next authority is made; nodes learn of it when they renew")
        }
        RotateCommand::Switch => (
            Step::Switch,
            "the next authority signs from now on; programs and operators that do not believe it \
             are cut off: let them run `tidegate ca trust` before",
        ),
        RotateCommand::Finish => {
            (Step::Finish, "the authority that signed before is believed no more")
        }
        RotateCommand::Abandon => (Step::Abandon, "the next authority is dropped"),
    };
    out.note(plan);
    let body = RotationRequest { step };
    let dry = format!("{ROTATION_PATH}?dry_run=true");
    client.post::<AuthorityView>(&dry, &body).await?;
    if consent.confirm("authority")? {
        let authority: AuthorityView = client.post(ROTATION_PATH, &body).await?;
        // Whoever makes the step must not be the first whom it cuts off.
        trust(target, &authority, out)?;
        show(&authority, out)?;
    }
    Ok(Exit::Ok)
}

fn show(authority: &AuthorityView, out: &Output) -> Result<(), Failure> {
    out.print(authority, ["AUTHORITY", "ROLE", "ENDS"], |authority| {
        let row = |one: &AuthorityItem| {
            let name = one.sha256.chars().take(NAME_CHARS).collect();
            [name, one.role.clone(), time(one.ends_unix_ms)]
        };
        authority.authorities.iter().map(row).collect()
    })?;
    for CutOff { node, why } in &authority.lacking {
        out.note(&format!("{node} holds up the next step: {why}"));
    }
    Ok(())
}

/// Replaces the file by which this command line knows the control plane, whole.
fn trust(target: &Target, authority: &AuthorityView, out: &Output) -> Result<(), Failure> {
    let Some(path) = &target.ca else {
        out.note("no file of authorities is set: the system's are believed");
        return Ok(());
    };
    let failed =
        |error: io::Error| Failure::new(Exit::Failed, format!("{}: {error}", path.display()));
    let beside = path.with_extension("new");
    fs::write(&beside, &authority.bundle_pem).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)?;
    out.note(&format!("{}: {} authorities", path.display(), authority.authorities.len()));
    Ok(())
}

async fn status(target: &Target, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let now_unix_ms = unix_ms(SystemTime::now());
    let mut all = Vec::new();
    if let Some(path) = &target.ca {
        let pem = fs::read(path)
            .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))?;
        // Ten years long, renewed by nobody: said a year before.
        let ends = authorities(&pem).into_iter();
        all.extend(ends.map(|ends| lasting("authority", ends, YEAR_HOURS, now_unix_ms)));
    }
    let list: PopList = client.get("/v1/pops").await?;
    for pop in &list.pops {
        for node in &pop.nodes {
            let name = format!("{}/{}", pop.pop, node.node);
            let ends = node.certificate_expires_unix_ms;
            all.push(lasting(&name, ends, NODE_HOURS_LEFT_MIN, now_unix_ms));
        }
    }
    out.print(&all, ["CERTIFICATE", "STATE", "HOURS LEFT", "ENDS"], |all| {
        let row = |one: &Lasting| {
            let left = one.hours_left.to_string();
            [one.name.clone(), one.state.to_owned(), left, time(one.ends_unix_ms)]
        };
        all.iter().map(row).collect()
    })?;
    Ok(if all.iter().any(|one| one.state == "ended") { Exit::Failed } else { Exit::Ok })
}

fn lasting(name: &str, ends_unix_ms: u64, hours_min: u64, now_unix_ms: u64) -> Lasting {
    let left_ms = ends_unix_ms.saturating_sub(now_unix_ms);
    let hours_left = left_ms / HOUR_MS;
    let state = match (left_ms, hours_left < hours_min) {
        (0, _) => "ended",
        (_, true) => "late",
        _ => "ok",
    };
    Lasting { name: name.to_owned(), state, ends_unix_ms, hours_left }
}

/// The ends of the authorities in a file, which may hold several.
fn authorities(pem: &[u8]) -> Vec<u64> {
    let found = Pem::iter_from_buffer(pem).filter_map(Result::ok);
    let end = |pem: Pem| {
        let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
        Some(u64::try_from(end).ok()?.saturating_mul(1000))
    };
    found.filter_map(end).collect()
}

const AUTHORITY_PATH: &str = "/v1/authority";
const ROTATION_PATH: &str = "/v1/authority/rotation";
/// Enough of a fingerprint to tell two apart.
const NAME_CHARS: usize = 16;
const HOUR_MS: u64 = 3_600_000;
/// A leaf is good for 24 hours and renewed at half of that.
const NODE_HOURS_LEFT_MIN: u64 = 10;
const YEAR_HOURS: u64 = 365 * 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_renewed_in_time_is_late_and_then_ended() {
        for (left_ms, state) in
            [(0, "ended"), (1, "late"), (10 * HOUR_MS - 1, "late"), (10 * HOUR_MS, "ok")]
        {
            assert_eq!(lasting("n", 1000 + left_ms, 10, 1000).state, state, "{left_ms}");
        }
        assert_eq!(lasting("n", 5, 10, 1000).state, "ended");
    }

    #[test]
    fn every_authority_of_a_file_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let pem = crate::offline::ca_pem(folder.path()).expect("writable");
        let ends = authorities(format!("{pem}{pem}").as_bytes());
        assert_eq!(ends.len(), 2);
        assert!(ends[0] > unix_ms(SystemTime::now()));
        assert!(authorities(b"nothing").is_empty());
    }
}
