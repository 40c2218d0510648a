//! `tidegate-geo`: see `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_geo::command::main()
}
