//! The tables of the report: fetches, connections, failures, PoPs, faults, steps, and the rig's own health.
//!
//! Invariant: a table is there when it has a row.

use std::cmp::Reverse;

use super::markup::{Align, Cell, Table, escape, section};
use crate::{
    output::number,
    results::{
        Histogram, Results,
        figure::{self, Figure, Unit, class_name, kind_name, protocol_name},
        total,
        verdict::Verdict,
    },
};

pub(super) fn fetches(results: &Results) -> String {
    let mut table = Table::new(&[
        ("Object", Align::Text),
        ("Protocol", Align::Text),
        ("Fetches", Align::Number),
        ("Bytes", Align::Number),
        ("Hits", Align::Number),
        ("Failed", Align::Number),
        ("TTFB p50", Align::Number),
        ("p95", Align::Number),
        ("p99", Align::Number),
        ("Took p50", Align::Number),
        ("p99", Align::Number),
        ("Over duration p50", Align::Number),
        ("p99", Align::Number),
    ]);
    for it in &results.fetches {
        let hits = figure::hit_ratio(it.hits, it.misses);
        let pace = |share| it.time_over_duration.quantile(share).map(|value| value as f64 / 1e3);
        table.row([
            kind_name(it.kind).into(),
            protocol_name(it.protocol).to_uppercase().into(),
            number::count(it.count).into(),
            number::bytes(it.bytes).into(),
            bar(hits),
            failed(it.failed(), it.count),
            micro(&it.first_byte_us, 0.5),
            micro(&it.first_byte_us, 0.95),
            micro(&it.first_byte_us, 0.99),
            micro(&it.took_us, 0.5),
            micro(&it.took_us, 0.99),
            number::value(pace(0.5), Unit::Multiple).into(),
            number::value(pace(0.99), Unit::Multiple).into(),
        ]);
    }
    filled(
        "fetches",
        "By object and protocol",
        "TTFB: from when the player wanted the object to its first byte, with what it had to wait for. Over duration: \
         fetch time over media duration; above ×1 a player runs dry.",
        &table,
    )
}

pub(super) fn connections(results: &Results) -> String {
    let mut table = Table::new(&[
        ("Protocol", Align::Text),
        ("Opened", Align::Number),
        ("Resumed", Align::Number),
        ("0-RTT", Align::Number),
        ("Migrated", Align::Number),
        ("Failed", Align::Number),
        ("DNS p50", Align::Number),
        ("p99", Align::Number),
        ("Connect p50", Align::Number),
        ("p99", Align::Number),
        ("Handshake p50", Align::Number),
        ("p99", Align::Number),
    ]);
    for (protocol, it) in &results.connections {
        let failures = total(it.failures.values().copied());
        table.row([
            protocol_name(*protocol).to_uppercase().into(),
            number::count(it.opened).into(),
            number::count(it.resumed).into(),
            number::count(it.early).into(),
            number::count(it.migrated).into(),
            failed(failures, it.opened.saturating_add(failures)),
            micro(&it.dns_us, 0.5),
            micro(&it.dns_us, 0.99),
            micro(&it.connect_us, 0.5),
            micro(&it.connect_us, 0.99),
            micro(&it.handshake_us, 0.5),
            micro(&it.handshake_us, 0.99),
        ]);
    }
    filled("connections", "Connections", "", &table)
}

pub(super) fn failures(results: &Results) -> String {
    let fetches = total(results.fetches.iter().map(|it| it.count));
    let mut table = Table::new(&[
        ("Class", Align::Text),
        ("Fetches", Align::Number),
        ("Of all", Align::Number),
        ("Where", Align::Text),
    ]);
    for (class, count) in figure::failures(results) {
        let mut places: Vec<_> = results
            .fetches
            .iter()
            .filter_map(|it| Some((*it.failures.get(&class).filter(|count| **count > 0)?, it)))
            .collect();
        places.sort_by_key(|(count, _)| Reverse(*count));
        let places: Vec<String> = places
            .iter()
            .take(PLACES_MAX)
            .map(|(count, it)| {
                let protocol = protocol_name(it.protocol).to_uppercase();
                format!("{} {protocol} ({})", kind_name(it.kind), number::count(*count))
            })
            .collect();
        let share = (fetches > 0).then(|| count as f64 / fetches as f64);
        table.row([
            class_name(class).into(),
            number::count(count).into(),
            number::value(share, Unit::Share).into(),
            places.join(", ").into(),
        ]);
    }
    filled("failures", "Failures", "Fetches that gave no object, by why.", &table)
}

pub(super) fn pops(results: &Results) -> String {
    let all = total(results.pops.values().map(|pop| pop.count));
    let mut table = Table::new(&[
        ("PoP", Align::Text),
        ("Answers", Align::Number),
        ("Of all", Align::Number),
        ("Bytes", Align::Number),
        ("Hits", Align::Number),
        ("Failed", Align::Number),
        ("TTFB p50", Align::Number),
        ("p99", Align::Number),
        ("Fresh after purge p50", Align::Number),
        ("max", Align::Number),
    ]);
    let mut pops: Vec<_> = results.pops.iter().collect();
    pops.sort_by_key(|(_, pop)| Reverse(pop.count));
    for (name, pop) in pops.iter().take(POPS_SHOWN) {
        let share = (all > 0).then(|| pop.count as f64 / all as f64);
        let milli = |share| pop.first_fresh_ms.quantile(share).map(|value| value as f64);
        table.row([
            name.as_str().into(),
            number::count(pop.count).into(),
            number::value(share, Unit::Share).into(),
            number::bytes(pop.bytes).into(),
            bar(figure::hit_ratio(pop.hits, pop.misses)),
            failed(total(pop.failures.values().copied()), pop.count),
            micro(&pop.first_byte_us, 0.5),
            micro(&pop.first_byte_us, 0.99),
            number::value(milli(0.5), Unit::Milliseconds).into(),
            number::value(milli(1.0), Unit::Milliseconds).into(),
        ]);
    }
    let words = match pops.len().checked_sub(POPS_SHOWN) {
        Some(rest @ 1..) => {
            format!("Who answered, the busiest {POPS_SHOWN}; {rest} more are in the JSON.")
        }
        _ => "Who answered, by the name in Cache-Status or Via, else by address.".to_owned(),
    };
    filled("pops", "PoPs", &words, &table)
}

pub(super) fn faults(results: &Results) -> String {
    let mut table = Table::new(&[
        ("", Align::Number),
        ("At", Align::Number),
        ("Fault", Align::Text),
        ("Took", Align::Number),
        ("Exit", Align::Number),
    ]);
    for (index, fault) in results.faults.iter().enumerate().take(FAULTS_SHOWN) {
        let exit = match fault.exit {
            Some(0) => Cell::from("0"),
            Some(code) => Cell::Markup(format!("<b class=\"bad\">{code}</b>")),
            None => Cell::from(number::DASH),
        };
        table.row([
            (index + 1).to_string().into(),
            number::seconds(fault.at_s).into(),
            fault.name.as_str().into(),
            number::seconds(fault.took_s).into(),
            exit,
        ]);
    }
    let words = match results.faults.len().checked_sub(FAULTS_SHOWN) {
        Some(rest @ 1..) => format!("What was done to the system; {rest} more are in the JSON."),
        _ => "What was done to the system; the numbers are those on the plots.".to_owned(),
    };
    filled("faults", "Faults", &words, &table)
}

pub(super) fn steps(results: &Results) -> String {
    let most = results.steps.iter().map(|step| step.rate).fold(0.0, f64::max);
    let mut table = Table::new(&[
        ("At", Align::Number),
        ("Sessions a second", Align::Number),
        ("", Align::Text),
        ("", Align::Text),
        ("Breached", Align::Text),
    ]);
    for step in &results.steps {
        let breached: Vec<String> = step
            .gates
            .iter()
            .filter(|gate| !gate.is_held)
            .map(|gate| format!("{} ({})", gate.gate, number::measured(gate)))
            .collect();
        let share = if most > 0.0 { step.rate / most * 100.0 } else { 0.0 };
        let class = if step.is_held { "held" } else { "breached" };
        table.row([
            number::seconds(step.at_s).into(),
            number::digits(step.rate).into(),
            Cell::Markup(format!(
                "<span class=\"rate {class}\"><i style=\"width:{share:.1}%\"></i></span>"
            )),
            held(step.is_held),
            breached.join(", ").into(),
        ]);
    }
    let held = results.steps.iter().filter(|step| step.is_held).map(|step| step.rate);
    let words = match held.reduce(f64::max) {
        Some(rate) => format!(
            "The search for the knee. The highest rate that held every gate: {} sessions a second.",
            number::digits(rate)
        ),
        None => "The search for the knee. No rate held every gate.".to_owned(),
    };
    filled("knee", "Steps to the knee", &words, &table)
}

/// What was asked of the run, and what came of it.
pub(super) fn gates(results: &Results) -> String {
    let mut table = Table::new(&[
        ("Gate", Align::Text),
        ("Measured", Align::Number),
        ("", Align::Text),
        ("What it says", Align::Text),
    ]);
    let is_valid = Verdict::of(results).is_valid();
    for gate in &results.gates {
        let meaning = Figure::of(number::figure_name(&gate.gate)).map_or("", |it| it.meaning);
        table.row([
            Cell::Markup(format!("<code>{}</code>", escape(&gate.gate))),
            number::measured(gate).into(),
            if is_valid { held(gate.is_held) } else { "not valid".into() },
            Cell::Markup(format!("<span class=\"meaning\">{}</span>", escape(meaning))),
        ]);
    }
    if table.is_empty() { String::new() } else { table.markup() }
}

/// `plots` is markup.
pub(super) fn rig(results: &Results, plots: &str) -> String {
    let rig = &results.rig;
    let milli = |values: &Histogram, share| {
        let value = values.quantile(share).map(|us| us as f64 / 1e3);
        number::value(value, Unit::Milliseconds)
    };
    let arrivals = &results.arrivals;
    let skew = match rig.clock_skew_ms {
        None => number::DASH.to_owned(),
        Some(0) => "none".to_owned(),
        Some(skew) => {
            let way = if skew > 0 { "ahead" } else { "behind" };
            format!("{} {way}", number::milliseconds(skew.unsigned_abs() as f64))
        }
    };
    let facts = [
        (
            "Busiest worker",
            number::value(Some(rig.cpu_max), Unit::Share),
            "its share of one core, over the run",
        ),
        ("CPU time", number::seconds(rig.cpu_s), "of the whole process"),
        ("Workers", rig.workers.to_string(), "threads with players"),
        ("Memory, at most", number::bytes(rig.memory_peak_bytes), "of all machines together"),
        (
            "Timers late, p99",
            milli(&rig.loop_lag_us, 0.99),
            "how long a ready player waits for its turn",
        ),
        (
            "Sessions late, p99",
            milli(&arrivals.schedule_error_us, 0.99),
            "between the schedule and the real beginning",
        ),
        ("Socket errors", number::count(rig.socket_errors), "out of ports, sockets or memory"),
        ("Server's clock", skew, "by the Date header; its grain is a second"),
        (
            "Sessions",
            format!("{} of {}", number::count(arrivals.begun), number::count(arrivals.scheduled)),
            "begun, of those scheduled",
        ),
        ("Blocked", number::count(arrivals.blocked), "could not begin in time"),
    ];
    let facts: String = facts
        .iter()
        .map(|(name, value, words)| {
            format!(
                "<div><dt>{}</dt><dd><b>{}</b><span>{}</span></dd></div>",
                escape(name),
                escape(value),
                escape(words)
            )
        })
        .collect();
    let reasons: String =
        rig.saturated.iter().map(|reason| format!("<li>{}</li>", escape(reason))).collect();
    let reasons = match reasons.as_str() {
        "" => String::new(),
        list => format!("<ul class=\"reasons\">{list}</ul>"),
    };
    section(
        "rig",
        "The rig itself",
        "A rig at its end measures itself. These must be small for the rest of the page to mean anything.",
        &format!("{reasons}<dl class=\"facts\">{facts}</dl>\n{plots}"),
    )
}

fn filled(id: &str, title: &str, words: &str, table: &Table) -> String {
    if table.is_empty() { String::new() } else { section(id, title, words, &table.markup()) }
}

fn micro(values: &Histogram, share: f64) -> Cell {
    let value = values.quantile(share).map(|us| us as f64 / 1e3);
    number::value(value, Unit::Milliseconds).into()
}

/// A share, with a bar behind it.
fn bar(share: Option<f64>) -> Cell {
    let text = escape(&number::value(share, Unit::Share));
    match share {
        Some(share) => Cell::Markup(format!(
            "<span class=\"bar\"><i style=\"width:{:.1}%\"></i></span><span class=\"share\">{text}</span>",
            share.clamp(0.0, 1.0) * 100.0
        )),
        None => Cell::Markup(text),
    }
}

fn failed(count: u64, of: u64) -> Cell {
    if count == 0 {
        return "0".into();
    }
    let share = number::value((of > 0).then(|| count as f64 / of as f64), Unit::Share);
    let count = escape(&number::count(count));
    Cell::Markup(format!("<b class=\"bad\" title=\"{}\">{count}</b>", escape(&share)))
}

fn held(is_held: bool) -> Cell {
    Cell::Markup(if is_held {
        "<b class=\"held\">✓ held</b>".to_owned()
    } else {
        "<b class=\"bad\">✕ breached</b>".to_owned()
    })
}

const PLACES_MAX: usize = 4;
const POPS_SHOWN: usize = 60;
const FAULTS_SHOWN: usize = 100;
