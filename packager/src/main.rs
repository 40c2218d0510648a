//! Entry point of `tidegate-packager`: reads the arguments and hands over to the chassis.
//!
//! Nothing is decided here; everything a test needs is in the library.

use std::process::ExitCode;

use clap::Parser;
use tidegate_chassis::{ConfigArgs, Program};
use tidegate_packager::node;

/// Makes uploaded videos into renditions, segments, manifests and images.
#[derive(Debug, Parser)]
#[command(name = "tidegate-packager", version)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tidegate_chassis::run(&PROGRAM, &cli.config, toml::Table::new(), node::run)
}

const PROGRAM: Program = Program { name: "tidegate-packager", env_prefix: "TIDEGATE_PACKAGER" };
