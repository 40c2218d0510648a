//! `tidegate dev up`: the whole system on one machine, as child processes over one data folder.
//!
//! It does what an operator would do, through the same programs, files and APIs; nothing here is a back door.

mod up; // the order in which things are started
mod settings; // one configuration per program
mod fleet; // PoPs, properties and tokens at the control plane
mod upload; // a video in, by tus
mod ready; // what person and scripts are told
mod child; // child processes
mod certificate; // the demo's authority
mod steering; // what DNS and steering are told
mod ports; // chosen once, kept
mod layout; // where everything lies

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use self::{child::Children, layout::Layout};

/// Runs the whole system on this machine.
#[derive(Debug, Args)]
pub struct DevArgs {
    #[command(subcommand)]
    command: DevCommand,
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Starts all programs, uploads a clip and keeps everything running until Ctrl-C.
    Up(UpArgs),
}

/// How `dev up` is started.
#[derive(Debug, Args)]
struct UpArgs {
    /// The data folder. What is in it survives; delete it to begin anew.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    data: PathBuf,
    /// A video to upload instead of the generated clip.
    #[arg(long, value_name = "FILE", env = "VIDEO", conflicts_with = "no_clip")]
    video: Option<PathBuf>,
    /// Upload nothing.
    #[arg(long)]
    no_clip: bool,
    /// Length of the generated clip.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    clip_seconds: u32,
    /// The built watch page (index.html and assets).
    #[arg(long, value_name = "DIR")]
    web_root: Option<PathBuf>,
    /// Go on without a program that ends by itself: for trying out what its loss does.
    #[arg(long)]
    keep_going: bool,
    /// Settings of a program on top of those chosen here, as PROGRAM:KEY=VALUE (origin:log_level=debug).
    #[arg(long = "set", value_name = "PROGRAM:KEY=VALUE")]
    set: Vec<String>,
}

/// Runs until a signal, or until a program ends by itself.
///
/// # Errors
/// When anything does not start, when a program ends by itself, or when the video cannot be made.
pub async fn run(args: DevArgs) -> anyhow::Result<()> {
    let DevCommand::Up(args) = args.command;
    tidegate_chassis::init_crypto();
    let layout = Layout::create(&args.data)?;
    let _lock = layout.lock()?;
    let mut children = Children::new();
    let ended = tokio::select! {
        ended = up::run(&args, &layout, &mut children) => ended,
        () = interrupted() => Ok(()),
    };
    let _ = std::fs::remove_file(layout.file(READY_FILE));
    children.stop().await;
    ended
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end this process, and the kernel ends the children.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Tells scripts that the system is up.
const READY_FILE: &str = "ready.json";
