//! Figures as a page for people, with the bars beside them.

use std::fmt::Write;

use super::{figures::Latencies, run::Args};

/// What was measured under one loss.
pub(super) struct UnderLoss {
    pub(super) loss: f64,
    pub(super) latencies: Latencies,
}

/// What some purges took, over all processes of a kind.
pub(super) struct Spent {
    pub(super) purges: f64,
    pub(super) control_s: f64,
    pub(super) agents_s: f64,
}

/// What a purge costs for each PoP, and how fast purges are, at a rate.
pub(super) struct Cost {
    rate: f64,
    control_us: f64,
    agent_us: f64,
    latencies: Latencies,
}

/// What a fleet costs without a purge.
pub(super) struct Standing {
    /// CPU seconds of each PoP and second.
    pub(super) idle: f64,
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
    (costs, standing): (&[Cost], Option<&Standing>),
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
    if let Some(standing) = standing {
        write_costs(&mut page, costs, standing);
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

fn write_costs(page: &mut String, costs: &[Cost], standing: &Standing) {
    let _ = writeln!(
        page,
        "## What a purge costs\n\nCPU time, of user and kernel, of the control plane and of all agents, divided by purges \
         and by PoPs, without loss: both subscriptions of each PoP, the acknowledgements and everything that goes on \
         anyway (heartbeats, reports of health) are in it; the Internet between them and whoever orders are not. \
         Without a purge each PoP takes {:.0} µs a second, which a lower rate spreads over fewer purges; one \
         column has what is left without it.\n\n\
         | purges a second | control plane | PoP | both | without what goes on anyway | per PoP p50 | p99 | last PoP p99 | lost |\n\
         |---|---|---|---|---|---|---|---|---|",
        standing.idle * 1e6,
    );
    for cost in costs {
        let both = cost.control_us + cost.agent_us;
        let (pop, last) = (&cost.latencies.per_pop, &cost.latencies.last);
        let _ = writeln!(
            page,
            "| {} | {:.1} µs | {:.1} µs | {both:.1} µs | {:.1} µs | {:.0} ms | {:.0} ms | {:.0} ms | {} |",
            cost.rate,
            cost.control_us,
            cost.agent_us,
            both - standing.idle * 1e6 / cost.rate,
            pop.percentile(50.0),
            pop.percentile(99.0),
            last.percentile(99.0),
            cost.latencies.lost,
        );
    }
    let _ = writeln!(
        page,
        "\nBar: 10 µs at load: a purge that comes alone pays for its own packets on every way. All purges are of one key \
         here, so that they pack better than those of a real day. Memory: {:.0} MiB the control plane, {:.0} MiB an agent.\n",
        standing.control_mib, standing.agent_mib,
    );
}

impl Cost {
    pub(super) fn of(rate: f64, pops: usize, spent: Spent, latencies: Latencies) -> Self {
        let each = spent.purges * pops as f64 / 1e6;
        let (control_us, agent_us) = (spent.control_s / each, spent.agents_s / each);
        Self { rate, control_us, agent_us, latencies }
    }
}
