//! Figures as a page for people, with the bars beside them.

use std::fmt::Write;

use super::{figures::Latencies, run::Args};

/// What was measured under one loss.
pub(super) struct UnderLoss {
    pub(super) loss: f64,
    pub(super) latencies: Latencies,
}

/// What a purge costs.
pub(super) struct Cost {
    pub(super) rate: f64,
    pub(super) control_us: f64,
    pub(super) agent_us: f64,
    pub(super) control_mib: f64,
    pub(super) agent_mib: f64,
}

/// How long a PoP takes that was away.
pub(super) struct CatchUp {
    pub(super) purges: u64,
    pub(super) took_ms: f64,
}

/// The page.
pub(super) fn page(
    args: &Args,
    under: &[UnderLoss],
    cost: Option<&Cost>,
    ingest: Option<f64>,
    catch_up: Option<&CatchUp>,
) -> String {
    let mut page = String::new();
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let matrix =
        if args.matrix.is_some() { "measured round trips" } else { "modelled round trips" };
    let _ = writeln!(
        page,
        "# Purges: figures\n\n\
         {} PoPs, {} purges at {} a second for each loss, over {matrix}. The leader is in {}; the second address \
         belongs to the same process and is placed in {}, and what it sends has first come the way from the leader, \
         as it would to a replica there. Time is from before the call of the API, in the leader's city, until a PoP \
         no longer answers from its cache what was purged. One machine with {} CPUs runs all processes and the \
         Internet between them.\n\n\
         Written by `tidegate-bench-purge {command}`.\n",
        args.pops,
        args.count,
        args.rate,
        args.leader,
        args.replica,
        std::thread::available_parallelism().map_or(0, usize::from),
    );
    let _ = writeln!(
        page,
        "| loss | per PoP p50 | p99 | last PoP p50 | p99 | samples | lost |\n|---|---|---|---|---|---|---|"
    );
    for UnderLoss { loss, latencies } in under {
        let (pop, last) = (&latencies.per_pop, &latencies.last);
        let _ = writeln!(
            page,
            "| {loss} % | {:.0} ms | {:.0} ms | {:.0} ms | {:.0} ms | {} | {} |",
            pop.percentile(50.0),
            pop.percentile(99.0),
            last.percentile(50.0),
            last.percentile(99.0),
            pop.len(),
            latencies.lost,
        );
    }
    let _ = writeln!(
        page,
        "\nBars: at 0.1 % per PoP p50 ≤ 100 and p99 ≤ 260 ms, last of 150 p50 ≤ 215 and p99 ≤ 320 ms; at 1 % last PoP \
         p99 ≤ 480 ms.\n"
    );
    if let Some(cost) = cost {
        let _ = writeln!(
            page,
            "A purge costs {:.1} µs of CPU time per PoP at {} a second: {:.1} µs in the control plane and {:.1} µs in \
             the PoP, both subscriptions and what goes on anyway taken in (bar: 10 µs). Memory: {:.0} MiB the control \
             plane, {:.0} MiB an agent.\n",
            cost.control_us + cost.agent_us,
            cost.rate,
            cost.control_us,
            cost.agent_us,
            cost.control_mib,
            cost.agent_mib,
        );
    }
    if let Some(ingest) = ingest {
        let _ = writeln!(
            page,
            "The API takes {ingest:.0} durable purges a second from 256 callers at once (bar: 5,000), the callers on \
             the same machine.\n"
        );
    }
    if let Some(CatchUp { purges, took_ms }) = catch_up {
        let _ = writeln!(
            page,
            "A PoP that missed {purges} purges has all of them {took_ms:.0} ms after the first one, each of them in its \
             journal (bar: 1 s).\n"
        );
    }
    page
}
