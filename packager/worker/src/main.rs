//! The program: reads the arguments and runs one verb; a panic ends the process at once.

use std::process::ExitCode;

use clap::Parser;
use tidegate_packager_worker::cli::{self, Cli};

fn main() -> ExitCode {
    cli::abort_on_panic();
    cli::run(&Cli::parse())
}
