//! Verbs and flags of the worker.
//!
//! The packager runs `run`; people run the others. Exit status: 0 a verdict was delivered (a result or a failure
//! frame), 1 the packager could not be reached or the verb failed, 2 wrong usage, 3 the sandbox could not be closed.

use std::{
    io::Write,
    process::{self, ExitCode},
};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};

use crate::{
    codec, generate, logging,
    run::{self, RunEnd},
    sandbox::Policy,
    self_test::{self, Attempt},
};

/// Decodes one upload in a sandbox and encodes its renditions.
#[derive(Debug, Parser)]
#[command(name = "tidegate-packager-worker", version)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs one job: the upload on descriptor 0, the packager on descriptor 3
    Run(SandboxArgs),
    /// Makes a clip with a moving picture, burnt-in time and a tone
    Generate(generate::Clip),
    /// Prints the video encoders that open here, best first
    Encoders {
        /// Also try the encoders of a graphics card
        #[arg(long)]
        allow_gpu: bool,
    },
    /// Closes the sandbox and attempts something that it must stop
    #[command(hide = true)]
    SandboxSelfTest {
        /// What to attempt
        #[arg(value_enum)]
        attempt: Attempt,
        #[command(flatten)]
        sandbox: SandboxArgs,
    },
}

/// How the process is confined.
#[derive(Debug, Args)]
struct SandboxArgs {
    /// Run without Landlock and seccomp; only for systems that lack them
    #[arg(long)]
    unsandboxed: bool,
    /// Leave the device nodes of NVIDIA cards open for NVENC; untested on hardware that has it
    #[arg(long)]
    allow_gpu: bool,
    /// Address space of the process
    #[arg(long, default_value = "4GiB")]
    memory: ByteSize,
    /// Seconds of CPU time, all threads together; the packager has a deadline of its own on top
    #[arg(long, default_value_t = 4 * 3600)]
    cpu_seconds: u64,
}

impl SandboxArgs {
    fn policy(&self) -> Policy {
        Policy {
            confined: !self.unsandboxed,
            gpu: self.allow_gpu,
            memory_bytes: self.memory.as_u64(),
            cpu_seconds: self.cpu_seconds,
        }
    }
}

/// Ends the process on a panic without looking at debug information: inside the sandbox that would open files.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        logging::line(format_args!("panic: {panic}"));
        process::abort();
    }));
}

/// Runs the verb of the command line.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    match &cli.verb {
        Verb::Run(sandbox) => match run::run(sandbox.policy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(RunEnd::Sandbox(error)) => ended(&error, EXIT_SANDBOX),
            Err(error) => ended(&error, EXIT_FAILURE),
        },
        Verb::Generate(clip) => match clip.write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ended(&error, EXIT_FAILURE),
        },
        Verb::Encoders { allow_gpu } => {
            codec::prepare();
            print_line(&codec::usable_encoders(*allow_gpu).join("\n"))
        }
        Verb::SandboxSelfTest { attempt, sandbox } => {
            match self_test::attempt(*attempt, sandbox.policy()) {
                Ok(outcome) => print_line(&outcome),
                Err(error) => ended(&error, EXIT_SANDBOX),
            }
        }
    }
}

/// The encoders' and attempts' answers go to stdout for scripts.
fn print_line(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILURE),
    }
}

fn ended(error: &dyn std::error::Error, status: u8) -> ExitCode {
    logging::line(format_args!("{error}"));
    ExitCode::from(status)
}

const EXIT_FAILURE: u8 = 1;
const EXIT_SANDBOX: u8 = 3;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_is_confined_unless_told_otherwise() {
        let policy = |arguments: &[&str]| match Cli::parse_from(arguments).verb {
            Verb::Run(sandbox) => sandbox.policy(),
            other => panic!("{other:?}"),
        };
        let plain = policy(&["worker", "run"]);
        assert!(plain.confined && !plain.gpu);
        assert_eq!(plain.memory_bytes, 4 << 30);
        assert!(!policy(&["worker", "run", "--unsandboxed"]).confined);
    }
}
