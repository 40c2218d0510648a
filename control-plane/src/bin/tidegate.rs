//! `tidegate`: the operators' command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_control::cli::main()
}
