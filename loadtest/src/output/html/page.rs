//! The report's order: the verdict, how it was for viewers, when, how spread, for whom, and whether to believe it.
//!
//! Invariant: the verdict stands first, and a saturated rig's page says so before any number.

use super::{
    markup::{escape, frame, section},
    spread, tables, tiles, time,
};
use crate::{
    output::number,
    results::{Results, verdict::Verdict},
};

pub(super) fn page(results: &Results) -> String {
    let parts = [
        head(results),
        tiles::tiles(results),
        time::section_of(results),
        tables::faults(results),
        tables::steps(results),
        spread::distributions(results),
        tables::fetches(results),
        tables::connections(results),
        tables::failures(results),
        tables::pops(results),
        tables::rig(results, &time::of_rig(results)),
        again(results),
    ];
    let title = format!("{}: {}", results.scenario, Verdict::of(results).as_str());
    let key = format!("{}{}{:?}", results.started_at, results.seed, results);
    frame(&title, &format!("<main>\n{}</main>", parts.concat()), key.as_bytes())
}

fn head(results: &Results) -> String {
    let verdict = Verdict::of(results);
    let sign = match verdict {
        Verdict::Held | Verdict::Measured => "✓",
        Verdict::Breached | Verdict::Failed => "✕",
        Verdict::Saturated | Verdict::Interrupted => "!",
    };
    let interrupted = match (results.is_interrupted, verdict) {
        (true, Verdict::Breached | Verdict::Saturated | Verdict::Failed) => {
            " <span>The run was interrupted.</span>"
        }
        _ => "",
    };
    let facts = [
        ("began", results.started_at.clone()),
        ("lasted", number::seconds(results.duration_s)),
        ("sessions", number::count(results.arrivals.begun)),
        ("seed", results.seed.to_string()),
        ("rig", results.rig_version.clone()),
    ];
    let facts: String = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("<span>{name} <b>{}</b></span>", escape(value)))
        .collect();
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"run\">{facts}</p>\n<div class=\"verdict {}\"><p><i aria-hidden=\"true\">{sign}</i>\
         <b>{}</b>{interrupted}</p>\n{}</div>\n</header>\n",
        escape(&results.scenario),
        verdict.as_str(),
        escape(&verdict.sentence(results)),
        tables::gates(results),
    )
}

/// How to get the same requests once more.
fn again(results: &Results) -> String {
    let command = if results.scenario_text.is_empty() {
        format!("tidegate-load run {} --seed {}", results.scenario, results.seed)
    } else {
        format!("tidegate-load run scenario.toml --seed {}", results.seed)
    };
    let text = match results.scenario_text.as_str() {
        "" => String::new(),
        text => format!(
            "<details><summary>scenario.toml, as it was run</summary><pre>{}</pre></details>",
            escape(text)
        ),
    };
    section(
        "again",
        "Run it again",
        "The same scenario and seed give the same schedule of requests. Save the scenario as scenario.toml where one \
         is shown, and give the variables and flags again that it was given.",
        &format!("<pre>{}</pre>\n{text}", escape(&command)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::fixture,
        results::{Fault, GateOutcome, Step},
    };

    #[test]
    fn nothing_that_came_from_outside_becomes_markup() {
        const EVIL: &str = "\"><script>alert('1')</script><img src=x onerror=a>&";
        let mut results = fixture::results(7);
        let evil = || EVIL.to_owned();
        results.scenario = evil();
        results.rig_version = evil();
        results.started_at = evil();
        results.scenario_text = evil();
        results.failed = vec![evil()];
        results.rig.saturated = vec![evil()];
        results.pops.insert(evil(), results.pops["fra-1"].clone());
        results.faults.push(Fault { at_s: 10.0, name: evil(), exit: Some(1), took_s: 0.1 });
        let gate = || GateOutcome { gate: evil(), measured: Some(1.0), is_held: false };
        results.gates.push(gate());
        results.steps.push(Step { rate: 1.0, at_s: 0.0, is_held: false, gates: vec![gate()] });
        let page = page(&results);
        assert_eq!(page.matches("<script").count(), 1, "only the page's own");
        assert!(!page.contains("<img"), "an image got in");
        assert!(page.matches("&lt;script&gt;alert(&#39;1&#39;)").count() >= 9);
    }

    #[test]
    fn the_page_says_what_was_asked_and_every_tag_is_closed() {
        let page = page(&fixture::results(7));
        for part in [
            "1 of 4 gates breached.",
            "Startup time",
            "Over time",
            "kill pop ams",
            "Distributions",
            "By object and protocol",
            "Connections",
            "Failures",
            "PoPs",
            "The rig itself",
            "tidegate-load run scenario.toml --seed 7",
            "A crowd comes to one video",
            "The highest rate that held every gate: 150 sessions a second.",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for tag in [
            "section", "table", "figure", "article", "svg", "g", "span", "div", "p", "b", "button",
            "dl",
        ] {
            let opened = page.matches(&format!("<{tag} ")).count()
                + page.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!page.contains("NaN") && page.len() < 1 << 20, "{} bytes", page.len());
    }

    #[test]
    fn of_nothing_there_is_still_a_page() {
        let page = page(&Results::new("smoke", 1));
        assert!(page.contains("Measured; no gate was set.") && page.contains("The rig itself"));
        assert!(!page.contains("Over time") && !page.contains("Distributions"));
    }

    /// Writes the page to look at: `TIDEGATE_LOAD_PAGES=dir cargo test -p tidegate-load --lib pages_to_look_at`.
    #[test]
    fn pages_to_look_at_are_written_where_asked() {
        let Some(dir) = std::env::var_os("TIDEGATE_LOAD_PAGES") else { return };
        let mut results = fixture::results(7);
        std::fs::write(std::path::Path::new(&dir).join("breached.html"), page(&results)).unwrap();
        results.rig.saturated = vec!["loop lag p99 was 48 ms, and 10 ms is the most".to_owned()];
        std::fs::write(std::path::Path::new(&dir).join("saturated.html"), page(&results)).unwrap();
    }
}
