//! The origin program: parse the command line, load the config, run.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tidegate_chassis::{ConfigArgs, Program};
use tidegate_origin::{config::Config, node, role::Role, web};

/// Takes uploads, keeps the catalog of videos, hands jobs to packagers, delivers to the edge.
#[derive(Debug, Parser)]
#[command(name = "tidegate-origin", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the roles of the config, or those named here.
    Serve(Serve),
    /// Brings the schema of the database up to date, and ends.
    Migrate(ConfigArgs),
    /// API tokens of clients.
    #[command(subcommand)]
    Token(Token),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// What this process does, separated by commas.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<Role>,
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Makes a token, adds its hash to the file, and prints the token: nobody can read it again.
    Create {
        /// The file of `auth.tokens_file`.
        #[arg(long)]
        file: PathBuf,
        /// Whose token it is; uploads belong to this name.
        #[arg(long)]
        name: String,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(serve) => {
            let overrides = overrides(&serve.roles);
            tidegate_chassis::run(&PROGRAM, &serve.config, overrides, node::run)
        }
        Command::Migrate(config) => {
            let migrate = |config: std::sync::Arc<Config>, _| node::migrate(config);
            tidegate_chassis::run(&PROGRAM, &config, toml::Table::new(), migrate)
        }
        Command::Token(Token::Create { file, name }) => create_token(&file, &name),
    }
}

fn overrides(roles: &[Role]) -> toml::Table {
    let names: Vec<_> = roles.iter().map(|role| toml::Value::from(role.as_str())).collect();
    if names.is_empty() {
        toml::Table::new()
    } else {
        toml::Table::from_iter([("roles".to_owned(), names.into())])
    }
}

fn create_token(file: &std::path::Path, name: &str) -> ExitCode {
    let done =
        web::create_token(file, name).and_then(|token| Ok(writeln!(std::io::stdout(), "{token}")?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tidegate-origin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const PROGRAM: Program = Program { name: "tidegate-origin", env_prefix: "TIDEGATE_ORIGIN" };

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
