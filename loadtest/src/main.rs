//! `tidegate-load`: see `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_load::command::main()
}
