//! `scenarios`: what the program brings, and what gates and hooks are.
//!
//! Invariant: what is explained is read from what is run, not written twice.

use clap::{Args, Subcommand};

use super::{
    exit::{Exit, Failure},
    say::print,
};
use crate::{
    gate::units,
    results::figure,
    run::HOOK_VARIABLES,
    scenario::{Builtin, builtins},
};

#[derive(Subcommand)]
pub(super) enum ScenariosCommand {
    /// List the scenarios
    List,
    /// Print a scenario with its comments, the figures of gates, or what hooks are told
    Explain(ExplainArgs),
}

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// A scenario's name, `gates` or `hooks`
    name: String,
}

pub(super) fn scenarios(command: &ScenariosCommand) -> Result<Exit, Failure> {
    match command {
        ScenariosCommand::List => print(&list()),
        ScenariosCommand::Explain(args) if args.name == "gates" => print(&gates()),
        ScenariosCommand::Explain(args) if args.name == "hooks" => print(&hooks()),
        ScenariosCommand::Explain(args) => match Builtin::of(&args.name) {
            Some(builtin) => print(builtin.text),
            None => return Err(Failure::usage(format!("there is no scenario {}", args.name))),
        },
    }
    Ok(Exit::Ok)
}

fn list() -> String {
    let mut text = String::new();
    for builtin in builtins() {
        text.push_str(&format!("{:<20} {}\n", builtin.name, builtin.about()));
        let needed: Vec<String> = builtin
            .variables()
            .into_iter()
            .filter(|(name, otherwise)| otherwise.is_none() && name != "target")
            .map(|(name, _)| name)
            .collect();
        if !needed.is_empty() {
            text.push_str(&format!("{:<20}   needs --var {}\n", "", needed.join(", --var ")));
        }
    }
    text
}

fn gates() -> String {
    let mut text = "A gate is FIGURE, one of < <= > >= ==, and a value: startup_p95<800ms. pN is a percentile (p95, p99.9),\n\
                    or mean or max; KIND is multivariant, playlist, init, segment, part or steering. @h1, @h2 and @h3 behind\n\
                    a figure of fetches or connections mean one protocol. A figure that was not measured holds no gate.\n\n"
        .to_owned();
    for (name, unit, meaning) in figure::patterns() {
        let names: Vec<&str> =
            units(unit).iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        text.push_str(&format!("{name:<34} {:<20} {meaning}\n", names.join(" ")));
    }
    text
}

fn hooks() -> String {
    let mut text = "Faults and purges are commands: a program and its arguments, without a shell unless the scenario\n\
                    says shell = true. They are run on this machine, with these variables in their environment:\n\n"
        .to_owned();
    for (name, meaning) in HOOK_VARIABLES {
        text.push_str(&format!("{name:<24} {meaning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_explanations_name_what_there_is() {
        assert!(list().contains("needs --var kill, --var revive"));
        assert_eq!(list().lines().filter(|line| !line.starts_with(' ')).count(), builtins().len());
        assert!(hooks().contains("TIDEGATE_LOAD_PHASE"));
        assert!(gates().contains("startup_pN") && gates().contains("rebuffer_ratio"));
    }
}
