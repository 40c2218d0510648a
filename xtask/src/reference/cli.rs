//! `docs/cli.md`: the help of every program and subcommand, as the built programs give it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// The whole document. Builds the programs first.
pub(super) fn document(root: &Path) -> anyhow::Result<String> {
    let programs = programs(root)?;
    let mut build = cargo(root);
    // As everybody builds them, so that nothing is built twice for other features.
    build.args(["build", "-q", "--workspace", "--bins"]);
    ensure!(build.status()?.success(), "the programs do not build");

    let mut text = HEAD.to_owned();
    for program in &programs {
        text.push_str(&format!("\n## {}\n", program.name));
        let mut ask = |words: &[String]| help(&program.binary, words);
        sections(&program.name, &mut Vec::new(), &mut ask, &mut text)?;
    }
    Ok(text)
}

/// A program that has a command line.
struct Program {
    name: String,
    binary: PathBuf,
}

/// The workspace's binaries that a person starts.
fn programs(root: &Path) -> anyhow::Result<Vec<Program>> {
    let mut metadata = cargo(root);
    let args = ["metadata", "--no-deps", "--format-version", "1"];
    let output = metadata.args(args).output().context("cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let built = Path::new(metadata["target_directory"].as_str().context("no target directory")?);

    let mut programs = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            let is_binary = target["kind"][0] == "bin";
            let name = target["name"].as_str().unwrap_or_default();
            if is_binary && name.starts_with("tidegate") && !LEFT_OUT.contains(&name) {
                programs.push(Program {
                    name: name.to_owned(),
                    binary: built.join("debug").join(name),
                });
            }
        }
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// Adds the help of a command and of the commands beneath it.
fn sections(
    name: &str,
    words: &mut Vec<String>,
    ask: &mut impl FnMut(&[String]) -> anyhow::Result<String>,
    text: &mut String,
) -> anyhow::Result<()> {
    if words.len() > DEPTH_MAX {
        bail!("{name} {} goes too deep", words.join(" "));
    }
    let help = ask(words)?;
    if !words.is_empty() {
        text.push_str(&format!("\n### {name} {}\n", words.join(" ")));
    }
    // What every command of a program takes is said once, with the program.
    let own = match help.split_once("\nGlobal options:\n") {
        Some((own, _)) if !words.is_empty() => own,
        _ => &help,
    };
    let lines: Vec<&str> = own.trim().lines().map(str::trim_end).collect();
    text.push_str(&format!("\n```\n{}\n```\n", lines.join("\n")));
    for command in commands(&help) {
        words.push(command);
        sections(name, words, ask, text)?;
        words.pop();
    }
    Ok(())
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with(' '));
    // A command stands two columns in; what follows it further in is the rest of its description.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// Asks a program for its help, with nothing of our environment in it and no terminal to fit.
fn help(binary: &Path, words: &[String]) -> anyhow::Result<String> {
    let mut ask = Command::new(binary);
    ask.args(words)
        .arg("--help")
        .env_clear()
        .env("COLUMNS", "100")
        .stdin(std::process::Stdio::null());
    let output = ask.output().with_context(|| binary.display().to_string())?;
    let said = String::from_utf8(output.stdout).context("help is text")?;
    let good = output.status.success() && !said.trim().is_empty();
    ensure!(good, "{} {} --help gives no help", binary.display(), words.join(" "));
    Ok(said)
}

/// Cargo, without what the cargo that runs this program says of this program: build scripts that look at such variables
/// (ring's does) would run again, and then half of what there is be built again, now and when the next one runs.
fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let is_ours =
            |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|p| name.starts_with(p));
        if name.to_str().is_some_and(is_ours) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root);
    cargo
}

/// The worker is started by a packager, which speaks to it in frames; the bench is a tool of this repository.
const LEFT_OUT: &[&str] = &["tidegate-packager-worker", "tidegate-bench"];
const DEPTH_MAX: usize = 4;
const HEAD: &str = "# Command lines

Written by `cargo xtask docs` from the programs' own help.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_subcommands_follows_that_of_their_command() {
        let top = "Tool\n\nUsage: tool <COMMAND>\n\nCommands:\n  pop   PoPs and\n        nodes\n  help  Print\n\nOptions:\n  -h\n";
        let mut ask = |words: &[String]| {
            Ok(match words.join(" ").as_str() {
                "" => top.to_owned(),
                "pop" => "Pops\n\nCommands:\n  list  List\n".to_owned(),
                "pop list" => "List pops   \n".to_owned(),
                other => bail!("{other} was not listed"),
            })
        };
        let mut text = String::new();
        sections("tool", &mut Vec::new(), &mut ask, &mut text).unwrap();
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(heads, ["### tool pop", "### tool pop list"]);
        assert!(text.ends_with("\n```\nList pops\n```\n"), "{text}");
    }

    #[test]
    fn commands_that_never_end_are_refused() {
        let mut ask = |_: &[String]| Ok("Commands:\n  again  And again\n".to_owned());
        assert!(sections("tool", &mut Vec::new(), &mut ask, &mut String::new()).is_err());
    }
}
