//! Which verbs can be run dry, and who makes the plan.
//!
//! One table of all commands: a dry run that a verb does not know must never change anything, so it is refused before the
//! first call.

use super::{
    Command, access, backup, bgp, ca, change, consent::DryRun, context, dns, failure, node, pop,
    property, purge, release, resource, sign, token,
};
use access::{ApprovalCommand, RoleCommand};
use backup::BackupCommand;
use bgp::{BgpCommand, InterlockCommand};
use ca::{CaCommand, RotateCommand};
use change::ChangeCommand;
use context::ContextCommand;
use dns::{DnsCommand, MapCommand};
use failure::{Exit, Failure};
use node::NodeCommand;
use pop::PopCommand;
use property::PropertyCommand;
use purge::PurgeCommand;
use release::ReleaseCommand;
use resource::ResourceCommand;
use sign::SignCommand;
use token::TokenCommand;

/// Who makes the plan of a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planner {
    /// It changes nothing anyway.
    Nobody,
    /// There is no plan.
    None,
    /// This program alone.
    Client,
    /// The control plane alone.
    Server,
    /// Either.
    Both,
}

/// Refuses a dry run that the command does not know.
///
/// # Errors
/// [`Exit::Usage`]
pub(super) fn check(command: &Command, wanted: Option<DryRun>) -> Result<(), Failure> {
    let refused = match (wanted, planner(command)) {
        (None, _) | (_, Planner::Nobody | Planner::Both) => None,
        (Some(_), Planner::None) => Some(("this has no dry run: nothing was done", None)),
        (Some(DryRun::Server), Planner::Client) => Some((
            "the control plane has no dry run of this: nothing was done",
            Some("--dry-run=client shows what would be sent"),
        )),
        (Some(DryRun::Client), Planner::Server) => Some((
            "the control plane alone can plan this: nothing was done",
            Some("--dry-run=server shows the plan"),
        )),
        (Some(_), Planner::Client | Planner::Server) => None,
    };
    let Some((text, hint)) = refused else { return Ok(()) };
    let failure = Failure::new(Exit::Usage, text);
    Err(match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    })
}

fn planner(command: &Command) -> Planner {
    match command {
        Command::Resource(command) => match command {
            ResourceCommand::Apply(_)
            | ResourceCommand::Edit { .. }
            | ResourceCommand::Delete { .. } => Planner::Both,
            ResourceCommand::Get { .. }
            | ResourceCommand::Describe { .. }
            | ResourceCommand::Explain { .. }
            | ResourceCommand::Diff { .. }
            | ResourceCommand::Validate { .. }
            | ResourceCommand::Export { .. } => Planner::Nobody,
        },
        Command::Pop(command) => match command {
            PopCommand::Drain(_)
            | PopCommand::Cordon(_)
            | PopCommand::Undrain(_)
            | PopCommand::Uncordon(_)
            | PopCommand::Add { .. }
            | PopCommand::Remove { .. }
            | PopCommand::Revoke { node: None, .. } => Planner::Server,
            PopCommand::List { .. }
            | PopCommand::Status { .. }
            | PopCommand::Logs(_)
            | PopCommand::ExecCheck(_) => Planner::Nobody,
            PopCommand::Revoke { node: Some(_), .. } => Planner::Client,
            // What it would print is a secret that is made for it.
            PopCommand::Enrol { .. } => Planner::None,
        },
        Command::Node(command) => match command {
            NodeCommand::Restart(_) | NodeCommand::RollbackLocal(_) => Planner::Server,
            NodeCommand::List { .. } | NodeCommand::Status { .. } => Planner::Nobody,
        },
        Command::Bgp(command) => match command {
            BgpCommand::Announce(_)
            | BgpCommand::Prepend { .. }
            | BgpCommand::Gshut(_)
            | BgpCommand::NoExport { .. }
            | BgpCommand::Withdraw(_)
            | BgpCommand::Interlock(InterlockCommand::Set { .. }) => Planner::Server,
            BgpCommand::Status { .. }
            | BgpCommand::Catchment(_)
            | BgpCommand::Interlock(InterlockCommand::Show { .. }) => Planner::Nobody,
            // A trial is its own dry run: the speaker takes it back by itself, and only it reads its file.
            BgpCommand::Configure { .. } | BgpCommand::Confirm { .. } => Planner::None,
        },
        Command::Dns(command) => match command {
            DnsCommand::Map(MapCommand::Freeze | MapCommand::Thaw) => Planner::Client,
            DnsCommand::Sign(SignCommand::Roll(_)) => Planner::Server,
            DnsCommand::Map(_)
            | DnsCommand::Resolve { .. }
            | DnsCommand::Zone(_)
            | DnsCommand::Sign(SignCommand::Status { .. })
            | DnsCommand::Nodes => Planner::Nobody,
        },
        Command::Purge(command) => match command {
            PurgeCommand::Status { .. } | PurgeCommand::Lag { .. } | PurgeCommand::Log { .. } => {
                Planner::Nobody
            }
            PurgeCommand::Url { .. }
            | PurgeCommand::Key { .. }
            | PurgeCommand::Prefix { .. }
            | PurgeCommand::Property { .. }
            | PurgeCommand::All { .. } => Planner::Server,
        },
        Command::Change(command) => match command {
            ChangeCommand::Create { .. } => Planner::Both,
            ChangeCommand::List | ChangeCommand::Show { .. } => Planner::Nobody,
            ChangeCommand::Approve { .. }
            | ChangeCommand::Abandon { .. }
            | ChangeCommand::Publish { .. } => Planner::Client,
        },
        Command::Release(command) => match command {
            ReleaseCommand::Promote
            | ReleaseCommand::Pause
            | ReleaseCommand::Resume
            | ReleaseCommand::Rollback { .. } => Planner::Client,
            _ => Planner::Nobody,
        },
        Command::Property(command) => match command {
            PropertyCommand::Apply { .. } => Planner::Both,
            PropertyCommand::Delete { .. } => Planner::Server,
            PropertyCommand::List | PropertyCommand::Show { .. } => Planner::Nobody,
        },
        Command::Token(command) => match command {
            TokenCommand::Create(_) | TokenCommand::Revoke { .. } => Planner::Client,
            TokenCommand::List | TokenCommand::Sign(_) => Planner::Nobody,
            TokenCommand::Key { .. } => Planner::None,
        },
        Command::Role(command) => match command {
            RoleCommand::Set { .. } | RoleCommand::Delete { .. } => Planner::Client,
            RoleCommand::List => Planner::Nobody,
        },
        Command::Approval(command) => match command {
            ApprovalCommand::List => Planner::Nobody,
            ApprovalCommand::Approve { .. } | ApprovalCommand::Reject { .. } => Planner::Server,
        },
        Command::Ca(command) => match command {
            CaCommand::Issue { .. } | CaCommand::Trust | CaCommand::Revoke { .. } => {
                Planner::Client
            }
            CaCommand::Status | CaCommand::Rotate(RotateCommand::Status) => Planner::Nobody,
            CaCommand::Rotate(_) => Planner::Server,
        },
        Command::Backup(command) => match command {
            BackupCommand::Create { .. } => Planner::None,
            BackupCommand::Verify { .. } => Planner::Nobody,
            BackupCommand::Restore { .. } => Planner::Client,
        },
        Command::Doctor { purge: false } | Command::Context(ContextCommand::List) => {
            Planner::Nobody
        }
        Command::Health(_)
        | Command::Edge(_)
        | Command::Steer(_)
        | Command::Whoami
        | Command::CanI { .. }
        | Command::Audit(_)
        | Command::Top { .. }
        | Command::Completions { .. } => Planner::Nobody,
        // The files of this machine, and what runs on it. The doctor's purge goes all the way, or finds nothing out.
        Command::Login { .. }
        | Command::Logout { .. }
        | Command::Doctor { purge: true }
        | Command::Man { .. }
        | Command::Context(_)
        | Command::Dev(_) => Planner::None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::Cli, *};

    #[test]
    fn a_dry_run_that_a_verb_does_not_know_is_refused() {
        let checked = |words: &str| {
            let cli = Cli::try_parse_from(words.split(' ')).expect(words);
            check(&cli.command, cli.global.dry_run).map_err(|failure| failure.exit as u8)
        };
        for good in [
            "tidegate --dry-run apply -f x",
            "tidegate apply -f x --dry-run=client",
            "tidegate apply -f x --dry-run=server",
            "tidegate pop drain fra --dry-run --reason x",
            "tidegate pop drain fra --dry-run=server",
            "tidegate dns sign roll cdn.example --dry-run=server",
            "tidegate bgp withdraw g --pop fra --dry-run",
            "tidegate release promote --dry-run=client",
            "tidegate --dry-run release promote",
            "tidegate property apply -f x --dry-run",
            "tidegate pop list --dry-run=client",
            "tidegate purge all --yes",
            "tidegate purge all --dry-run",
            "tidegate purge key a b --dry-run=server",
            "tidegate pop remove fra --node n1 --dry-run",
            "tidegate approval approve x --dry-run",
            "tidegate bgp interlock set g --freeze --dry-run=server",
            "tidegate property delete demo --dry-run",
        ] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for bad in [
            "tidegate purge all --yes --dry-run=client",
            "tidegate pop remove fra --dry-run=client",
            "tidegate pop enrol fra --dry-run",
            "tidegate bgp confirm --pop fra --dry-run",
            "tidegate pop drain fra --dry-run=client",
            "tidegate dns sign roll cdn.example --dry-run=client",
            "tidegate node restart fra/n1 --dry-run=client",
            "tidegate release promote --dry-run=server",
            "tidegate approval approve x --dry-run=client",
        ] {
            assert_eq!(checked(bad), Err(2), "{bad}");
        }
        assert!(Cli::try_parse_from(["tidegate", "--dry-run=maybe", "pop", "list"]).is_err());
    }
}
