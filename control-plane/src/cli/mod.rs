//! `tidegate`, the operators' command line: one file per noun, over the HTTP API and nothing else.
//!
//! Standard output carries data alone, as a table or as JSON; messages go to standard error. The exit code says
//! what happened, so that scripts need not read either.

pub mod dev;
mod purge;
mod release;
mod change;
mod bgp;
mod catchment; // from where clients reach which PoP
mod steer;
mod dns;
mod zone;
mod sign;
mod pop;
mod drain;
mod pop_check;
mod pop_log;
mod node;
mod health;
mod property;
mod edge;
mod token;
mod resource;
mod access;
mod login;
mod ca;
mod revoke; // identities of nodes become worthless
mod backup;
mod doctor;
mod top;
mod manual;
mod arrival; // of a release, where it shall be
mod dry_run; // which verbs can be run dry
mod plan; // what the control plane would do
mod watch; // again whenever it changes
mod said; // what a geo node said
mod near; // the word that was meant
mod moment; // a time as people type it
mod context;
mod client;
mod trace;
mod consent;
mod output;
mod failure;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::{
    access::{ApprovalCommand, AuditCommand, RoleCommand},
    backup::BackupCommand,
    bgp::BgpCommand,
    ca::CaCommand,
    change::ChangeCommand,
    client::Client,
    consent::{Consent, DryRun},
    context::{ContextCommand, GLOBAL, Place},
    dev::DevArgs,
    dns::DnsCommand,
    edge::EdgeCommand,
    failure::{Exit, Failure},
    health::HealthCommand,
    node::NodeCommand,
    output::{Color, Format, Output},
    pop::PopCommand,
    property::PropertyCommand,
    purge::PurgeCommand,
    release::ReleaseCommand,
    resource::ResourceCommand,
    steer::SteerCommand,
    token::TokenCommand,
    top::TopCommand,
    trace::Calls,
};

/// Operate a Tidegate CDN.
///
/// Exit codes: 0 ok, 1 condition not met, 2 usage, 3 not found, 4 not allowed, 5 changed in between,
/// 6 invalid or refused by a node, 7 deadline over (the operation goes on), 8 refused, 9 server not available,
/// 10 changed (apply --detailed-exitcode), 130 interrupted.
#[derive(Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
struct Global {
    #[command(flatten)]
    place: Place,
    /// How data is printed
    #[arg(help_heading = GLOBAL, short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The longest that one call of the API may take
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "TIME", default_value = "40s", value_parser = humantime::parse_duration)]
    timeout: std::time::Duration,
    /// Tables without their first line
    #[arg(help_heading = GLOBAL, long, global = true)]
    no_headers: bool,
    /// When states are coloured; NO_COLOR is heeded
    #[arg(help_heading = GLOBAL, long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    /// Data alone, no messages
    #[arg(help_heading = GLOBAL, short, long, global = true)]
    quiet: bool,
    /// Say what would be done, change nothing. client: by what is known here, nothing is sent that changes or checks
    /// anything; server: the control plane checks and plans. Without a value: server where it can plan, client elsewhere
    #[arg(
        help_heading = GLOBAL,
        long,
        global = true,
        value_enum,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto"
    )]
    dry_run: Option<DryRun>,
    /// Show every call of the API on standard error: method, address, sizes, time, status, the server's id of it
    #[arg(help_heading = GLOBAL, long, global = true)]
    trace: bool,
    /// Why; stands in the audit log, and must be said for what is dangerous
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "TEXT")]
    reason: Option<String>,
    /// The approval of a second person
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "ID")]
    approval: Option<String>,
    /// Do not ask
    #[arg(help_heading = GLOBAL, long, global = true)]
    yes: bool,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Resource(ResourceCommand),
    /// PoPs and their nodes
    #[command(subcommand)]
    Pop(PopCommand),
    /// The nodes of PoPs
    #[command(subcommand)]
    Node(NodeCommand),
    /// What PoPs announce, and how strongly
    #[command(subcommand)]
    Bgp(BgpCommand),
    /// What clients are told by the DNS, and why; the map behind it
    #[command(subcommand)]
    Dns(DnsCommand),
    /// What players are told in the middle of a video, and why
    #[command(subcommand)]
    Steer(SteerCommand),
    /// How PoPs are
    #[command(subcommand)]
    Health(HealthCommand),
    /// Remove or mark stale what is cached, in every PoP
    #[command(subcommand)]
    Purge(PurgeCommand),
    /// Change-sets: drafts that become releases
    #[command(subcommand)]
    Change(ChangeCommand),
    /// Releases: how far they are, and the way back
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Properties: hosts, origins, cache policy
    #[command(subcommand)]
    Property(PropertyCommand),
    /// What one node of the edge knows
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// API tokens; playback tokens and keys for them
    #[command(subcommand)]
    Token(TokenCommand),
    /// Keep a token that is read from standard input, and use it with --server and --ca from then on
    Login {
        /// The name of the context
        #[arg(default_value = "default")]
        name: String,
    },
    /// Remove the token that `login` kept
    Logout {
        /// The name of the context; without, the current one
        name: Option<String>,
    },
    /// Say who you are and what you may do
    Whoami,
    /// Ask whether you may; exit code 0 for yes, 1 for no
    CanI {
        /// The verb, as it stands in a scope: purge, config:write, pop:drain, …
        verb: String,
        /// What it is done to, as kind/name; without, to everything
        #[arg(default_value = "")]
        target: String,
    },
    /// Roles: named sets of scopes
    #[command(subcommand)]
    Role(RoleCommand),
    /// What waits for a second person
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// What was done, by whom, and whether the log is whole
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Identities: how long they last, a new one, one taken away
    #[command(subcommand)]
    Ca(CaCommand),
    /// A consistent copy of what the control plane keeps
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Look at everything, and say what to do about what is wrong
    Doctor {
        /// Send one purge of a key that nothing carries through every node and back
        #[arg(long)]
        purge: bool,
    },
    /// Show the PoPs live, or what clients ask for most
    Top {
        /// What is shown; without, the PoPs
        #[command(subcommand)]
        command: Option<TopCommand>,
        /// Print it once as a table; -o json and the like do so too
        #[arg(long, global = true)]
        once: bool,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    Man {
        /// The folder
        folder: std::path::PathBuf,
    },
    /// Which control plane to talk to
    #[command(subcommand)]
    Context(ContextCommand),
    /// The whole system on this machine
    Dev(DevArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unread(&error),
    };
    tidegate_chassis::init_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report(&Failure::new(Exit::Failed, error.to_string()), cli.global.output);
        }
    };
    let format = cli.global.output;
    match runtime.block_on(run(cli)) {
        Ok(exit) => exit.code(),
        Err(failure) => report(&failure, format),
    }
}

async fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    // It has signals of its own: it stops what it started.
    if let Command::Dev(args) = command {
        return match dev::run(args).await {
            Ok(()) => Ok(Exit::Ok),
            Err(error) => Err(Failure::new(Exit::Failed, format!("{error:#}"))),
        };
    }
    tokio::select! {
        done = operate(global, command) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
}

async fn operate(global: Global, command: Command) -> Result<Exit, Failure> {
    let out = Output::new(global.output, !global.no_headers, global.color, global.quiet);
    dry_run::check(&command, global.dry_run)?;
    let consent =
        Consent { dry_run: global.dry_run, is_given: global.yes, reason: global.reason.clone() };
    let calls = Calls { timeout: global.timeout, is_traced: global.trace };
    let client = || {
        let client = Client::new(&global.place.target()?, calls)?;
        Ok::<_, Failure>(client.saying(global.reason.clone(), global.approval.clone()))
    };
    match command {
        Command::Change(command) => change::run(command, &client()?, &out, &consent).await,
        Command::Release(command) => release::run(command, &client()?, &out, &consent).await,
        Command::Pop(command) => pop::run(command, &client()?, &consent, &out).await,
        Command::Node(command) => node::run(command, &client()?, &consent, &out).await,
        Command::Bgp(command) => bgp::run(command, &client()?, &consent, &out).await,
        Command::Dns(command) => dns::run(command, &client()?, &consent, &out).await,
        Command::Steer(command) => steer::run(command, &client()?, &out).await,
        Command::Health(command) => health::run(command, &client()?, &out).await,
        Command::Purge(command) => purge::run(command, &client()?, &consent, &out).await,
        Command::Property(command) => property::run(command, &client()?, &consent, &out).await,
        Command::Edge(command) => edge::run(command, calls, &out).await,
        Command::Token(command) => token::run(command, client, &consent, &out).await,
        Command::Resource(command) => resource::run(command, client, &consent, &out).await,
        Command::Login { name } => login::login(&name, &global.place, calls, &out).await,
        Command::Logout { name } => login::logout(name.as_deref(), &global.place, &out),
        Command::Whoami => access::whoami(&client()?, &out).await,
        Command::CanI { verb, target } => access::can_i(verb, target, &client()?, &out).await,
        Command::Role(command) => access::role(command, &client()?, &consent, &out).await,
        Command::Approval(command) => access::approval(command, &client()?, &consent, &out).await,
        Command::Audit(command) => access::audit(command, &client()?, &out).await,
        Command::Ca(command) => {
            ca::run(command, &global.place.target()?, &client()?, &consent, &out).await
        }
        Command::Backup(command) => backup::run(command, client, &consent, &out).await,
        Command::Doctor { purge } => doctor::run(&global.place.target()?, calls, purge, &out).await,
        Command::Top { command, once } => top::run(command, once, &client()?, &out).await,
        Command::Completions { shell } => Ok(manual::completions(shell, Cli::command())),
        Command::Man { folder } => manual::manual(&folder, Cli::command()),
        Command::Context(command) => context::run(command, &global.place, &out),
        Command::Dev(_) => Err(Failure::new(Exit::Usage, "dev has no server")),
    }
}

/// What is not a command line, in the form that it asks for; help and the version are no failures.
fn unread(error: &clap::Error) -> ExitCode {
    let words: Vec<_> = env::args().collect();
    let wants = |name: &str| {
        let pairs =
            words.windows(2).any(|two| ["-o", "--output"].contains(&&*two[0]) && two[1] == name);
        let joined = [format!("-o{name}"), format!("-o={name}"), format!("--output={name}")];
        pairs || words.iter().any(|word| joined.contains(word))
    };
    let format = [("json", Format::Json), ("yaml", Format::Yaml)];
    let format = format.into_iter().find(|(name, _)| wants(name)).filter(|_| error.use_stderr());
    let Some((_, format)) = format else {
        // Nobody may be reading; the exit code says it too.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
    };
    let text = error.render().to_string();
    let first = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let first = first.collect::<Vec<_>>().join(" ");
    let failure = Failure::new(Exit::Usage, first.trim_start_matches("error: "));
    report(&failure.with_hint("tidegate help says what there is"), format)
}

fn report(failure: &Failure, format: Format) -> ExitCode {
    let text = match format {
        Format::Json => failure.to_json().to_string(),
        Format::Yaml => output::yaml(&failure.to_json()).unwrap_or_else(|_| failure.to_string()),
        _ => match failure.hint() {
            Some(hint) => format!("tidegate: {failure}\nhint: {hint}"),
            None => format!("tidegate: {failure}"),
        },
    };
    // Nobody may be reading; the exit code says it too.
    let _ = writeln!(io::stderr(), "{text}");
    failure.exit.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
