//! A lab of network namespaces with real BIRD: two PoPs, two routers, two clients; and ten PoPs that lose their control
//! plane.
//!
//! It has a harness of its own, because the program is also what runs inside the namespaces: `echo` answers at the
//! anycast address, `probe` sends a packet every millisecond. Where namespaces or BIRD are not to be had it says so and
//! ends well. Figures are medians of runs whose clock was not disturbed.

// A lab that cannot go on ends, and it talks to whoever started it.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, dead_code)]

#[path = "../control/fake.rs"]
mod fake;
mod figure; // runs become figures
mod flow; // the packets of a client
mod network; // namespaces, BIRD, processes
#[path = "../control/node.rs"]
mod node;
#[path = "../control/publisher.rs"]
mod publisher;
mod ten; // PoPs that lose their control plane

use std::{process::ExitCode, time::Duration};

use tidegate_contract::{anycast::Level, id::PrefixId};
use tidegate_edge::anycast::Speaker;

use self::{
    figure::{Figure, Run},
    network::Lab,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("echo") => flow::echo(&arguments[1]),
        Some("probe") => flow::probe(arguments[1].parse().unwrap()),
        // What cargo asks of every test program.
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    if let Some(why) = network::missing() {
        println!("anycast lab: skipped, {why}");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let figures = runtime.block_on(told());
    println!("\n{:<44} {:>5} {:>12} {:>12}", "event at PoP A", "runs", "moved, ms", "lost, ms");
    let mut is_good = true;
    for figure in &figures {
        println!("{figure}");
        is_good &= figure.is_good();
    }
    println!("{} stories told", figures.len() + 1);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn told() -> Vec<Figure> {
    ten::pops_that_lose_their_control_plane_withdraw_nothing().await;
    let lab = Lab::start().await;
    let mut figures = Vec::new();
    for (name, level, lost_max) in [
        ("drain by prepend", "prepend-3", 0),
        ("drain by the community of RFC 8326", "gshut", 0),
        ("withdraw", "withdrawn", 5),
    ] {
        let mut figure = Figure::new(name, lost_max);
        while figure.wants_more() {
            figure.add(level_changes(&lab, &level.parse().unwrap()).await);
        }
        figures.push(figure);
    }
    let mut figure = Figure::new("the node is killed (watch closes the gate)", NODE_LOST_MAX);
    while figure.wants_more() {
        figure.add(node_dies(&lab).await);
    }
    figures.push(figure);
    let mut figure = Figure::new("the site goes silent (BFD 300 ms x 3)", SILENT_LOST_MAX);
    while figure.wants_more() {
        figure.add(site_goes_silent(&lab).await);
    }
    figures.push(figure);
    figures
}

/// PoP A announces less, and the packets of client 1 go to B.
async fn level_changes(lab: &Lab, level: &Level) -> Run {
    let prefix = PrefixId::parse("lab").unwrap();
    lab.at_home().await;
    let probe = lab.probe(Duration::from_millis(2500));
    probe.begun(Duration::from_millis(800)).await;
    let at = flow::now();
    lab.speaker_a().announce(&prefix, level).await.unwrap();
    let run = probe.ended(at).await;
    lab.speaker_a().announce(&prefix, &Level::Normal).await.unwrap();
    run
}

/// The node of PoP A dies without a word; the watch beside it takes its routes back. The packets that it is too late for
/// are still answered here, by the echo, so what counts is when they went to B.
async fn node_dies(lab: &Lab) -> Run {
    lab.at_home().await;
    let probe = lab.probe(Duration::from_secs(6));
    probe.begun(Duration::from_millis(800)).await;
    let at = flow::now();
    lab.kill_node_a();
    let run = probe.ended(at).await;
    lab.start_node_a().await;
    run
}

/// Everything from and to PoP A is lost, and nobody is told.
async fn site_goes_silent(lab: &Lab) -> Run {
    lab.at_home().await;
    let probe = lab.probe(Duration::from_secs(4));
    probe.begun(Duration::from_millis(800)).await;
    let at = flow::now();
    lab.silence_a(true);
    let run = probe.ended(at).await;
    lab.silence_a(false);
    run
}

/// Nothing is lost in this lab when a node dies: another answers in its place until its routes are gone.
const NODE_LOST_MAX: u64 = 5;
/// One second of one packet per millisecond.
const SILENT_LOST_MAX: u64 = 1000;
