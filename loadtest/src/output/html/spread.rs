//! How values are spread: percentile curves, the far end as wide as the near one.
//!
//! Invariant: a curve ends where its values end; a percentile that no value stands for is not drawn.

use super::{
    markup::section,
    plot::{Axis, Plot, Series, nines},
};
use crate::{
    kind::{ObjectKind, Protocol},
    results::{
        Histogram, Results,
        figure::{Unit, Values},
    },
};

pub(super) fn distributions(results: &Results) -> String {
    let of = |values: Values, protocol| values.find(results, protocol).into_owned();
    let all = |values| of(values, None);
    let segment = Some(ObjectKind::Segment);
    let by_protocol = |values: Values| {
        [("H1", Protocol::H1), ("H2", Protocol::H2), ("H3", Protocol::H3)]
            .map(|(name, protocol)| (name, of(values, Some(protocol))))
            .to_vec()
    };
    let plots = [
        plot("Startup time", Unit::Milliseconds, 1.0, vec![("all views", all(Values::Startup))]),
        plot(
            "Time to first byte, segments",
            Unit::Milliseconds,
            1e-3,
            by_protocol(Values::FirstByte(segment)),
        ),
        plot(
            "Time to first byte, by kind",
            Unit::Milliseconds,
            1e-3,
            vec![
                ("multivariant", all(Values::FirstByte(Some(ObjectKind::Multivariant)))),
                ("playlist", all(Values::FirstByte(Some(ObjectKind::Playlist)))),
                ("init", all(Values::FirstByte(Some(ObjectKind::Init)))),
                ("segment", all(Values::FirstByte(segment))),
                ("part", all(Values::FirstByte(Some(ObjectKind::Part)))),
            ],
        ),
        plot(
            "Fetch time over media duration, segments",
            Unit::Multiple,
            1e-3,
            by_protocol(Values::TimeOverDuration(segment)),
        ),
        plot("Length of stalls", Unit::Milliseconds, 1.0, vec![("stalls", all(Values::Stall))]),
        plot("Handshake", Unit::Milliseconds, 1e-3, by_protocol(Values::Handshake)),
        plot(
            "Live latency",
            Unit::Milliseconds,
            1.0,
            vec![("all views", all(Values::LiveLatency))],
        ),
        plot(
            "First fresh answer after a purge",
            Unit::Milliseconds,
            1.0,
            vec![("all PoPs", all(Values::FirstFresh))],
        ),
        plot(
            "The rig's own lateness",
            Unit::Milliseconds,
            1e-3,
            vec![
                ("sessions begun late", all(Values::ScheduleError)),
                ("timers fired late", all(Values::LoopLag)),
            ],
        ),
    ];
    let plots: String = plots.into_iter().flatten().collect();
    if plots.is_empty() {
        return String::new();
    }
    section(
        "distributions",
        "Distributions",
        "How much of everything was below a value. To the right each step is ten times rarer: 99 is the worst one \
         in a hundred, 99.9 the worst in a thousand. The values are on a logarithmic scale.",
        &format!("<div class=\"plots\">{plots}</div>"),
    )
}

/// `None` where nothing was measured.
fn plot(title: &str, unit: Unit, scale: f64, named: Vec<(&str, Histogram)>) -> Option<String> {
    let most = named.iter().map(|(_, values)| values.count()).max().unwrap_or(0);
    if most == 0 {
        return None;
    }
    let last = share_max(most);
    let steps = (nines(last) * STEPS_PER_NINE).ceil().max(1.0) as u32;
    let shares: Vec<f64> = (0..=steps)
        .map(|step| 1.0 - 10_f64.powf(-nines(last) * f64::from(step) / f64::from(steps)))
        .collect();
    let series = named
        .iter()
        .enumerate()
        .filter(|(_, (_, values))| !values.is_empty())
        .map(|(colour, (name, values))| {
            let end = share_max(values.count()) + 1e-9;
            let value = |share: &f64| {
                let value = (*share <= end).then(|| values.quantile(*share))??;
                Some(value as f64 * scale)
            };
            let values = shares.iter().map(value).collect();
            Series::line(name, colour, values)
        })
        .collect();
    let axis = Axis::Percentiles(shares);
    Some(Plot { title, unit, is_log: true, axis: &axis, series, marks: &[] }.markup())
}

/// Of a hundred values, the last percentile that one of them stands for is the 99th.
fn share_max(count: u64) -> f64 {
    (1.0 - 1.0 / count.max(2) as f64).min(0.999_99)
}

const STEPS_PER_NINE: f64 = 24.0;
