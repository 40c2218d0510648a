//! What values of a scenario must be together, beyond the form of each.
//!
//! Invariant: what passes can be run; nothing in it is endless.

use std::time::Duration;

use super::model::{Fault, Link, Purge, Scenario};
use crate::{arrival::Profile, net::Shape};

/// The first value that is wrong: its key with dots, and why.
pub(super) fn check(scenario: &Scenario) -> Result<(), (String, String)> {
    let wrong = |key: &str, reason: String| Err((key.to_owned(), reason));
    let target = &scenario.target;
    if let Some(at) = target.urls.iter().position(|url| !matches!(url.scheme(), "http" | "https")) {
        return wrong(&format!("target.urls.{at}"), "neither http nor https".to_owned());
    }
    let has_paths = matches!(scenario.arrivals.profile, Profile::Replay { paths: true, .. });
    if target.urls.is_empty() && target.list.is_none() && target.feed.is_none() && !has_paths {
        return wrong("target", "no urls, no list and no feed: nothing to watch".to_owned());
    }
    if target.feed.is_some() && !target.pointer.starts_with('/') {
        return wrong(
            "target.pointer",
            "a feed needs a JSON pointer, which begins with /".to_owned(),
        );
    }
    if has_paths && target.base.is_none() && target.urls.is_empty() {
        return wrong("target.base", "the paths of a log need it".to_owned());
    }
    let arrivals = &scenario.arrivals;
    if let Err(error) = arrivals.profile.check() {
        return wrong("arrivals.profile", error.to_string());
    }
    for (key, time) in
        [("duration", arrivals.duration), ("warm_up", arrivals.warm_up), ("drain", arrivals.drain)]
    {
        within(&format!("arrivals.{key}"), time, RUN_MAX)?;
    }
    if arrivals.duration.is_zero() {
        return wrong("arrivals.duration", "nothing".to_owned());
    }
    if arrivals.sessions_max == 0 {
        return wrong("arrivals.sessions_max", "0".to_owned());
    }
    if let Some(fault) = scenario.popularity.fault() {
        return wrong("popularity", fault.to_owned());
    }
    sessions(scenario)?;
    if let Err(error) = scenario.player.check() {
        return wrong(&format!("player.{}", error.key), error.to_string());
    }
    if let Err(error) = scenario.net.check() {
        return wrong("net", error.to_string());
    }
    for (index, fault) in scenario.faults.iter().enumerate() {
        check_fault(&format!("fault.{index}"), fault, arrivals.duration)?;
    }
    for (index, purge) in scenario.purges.iter().enumerate() {
        check_purge(&format!("purge.{index}"), purge)?;
    }
    rig(scenario)
}

fn sessions(scenario: &Scenario) -> Result<(), (String, String)> {
    let sessions = &scenario.sessions;
    let wrong = |key: &str, reason: &str| Err((format!("sessions.{key}"), reason.to_owned()));
    if let Err(error) = sessions.protocols.check() {
        return wrong("protocols", &error);
    }
    let is_all_plain = scenario.target.urls.iter().all(|url| url.scheme() == "http");
    if sessions.protocols.h3 > 0.0 && is_all_plain && !scenario.target.urls.is_empty() {
        return wrong("protocols", "HTTP/3 needs https");
    }
    for (key, share) in [
        ("resumed_share", sessions.resumed_share),
        ("early_share", sessions.early_share),
        ("migrated_share", sessions.migrated_share),
    ] {
        if !(0.0..=1.0).contains(&share) {
            return wrong(key, "not from 0 to 1");
        }
    }
    if sessions.migrate_every < Duration::from_millis(100) {
        return wrong("migrate_every", "less than 100ms");
    }
    if !(1..=VIDEOS_MAX).contains(&sessions.videos) {
        return wrong("videos", "not from 1 to 1000");
    }
    if sessions.links.len() > LINKS_MAX {
        return wrong("links", "more than 100");
    }
    let weights = || sessions.links.iter().map(|link| link.weight);
    if !weights().all(|weight| (0.0..=1e9).contains(&weight)) {
        return wrong("links", "a weight is a number from 0");
    }
    if !sessions.links.is_empty() && weights().sum::<f64>() == 0.0 {
        return wrong("links", "all weights are 0");
    }
    for (index, link) in sessions.links.iter().enumerate() {
        if let Err(reason) = check_link(link) {
            return wrong(&format!("links.{index}"), &reason);
        }
    }
    Ok(())
}

fn check_link(link: &Link) -> Result<(), String> {
    let kinds = [link.rate > 0, !link.steps.is_empty(), link.trace.is_some()];
    if kinds.into_iter().filter(|is_given| *is_given).count() > 1 {
        return Err("rate, steps and trace: one of them".to_owned());
    }
    if link.rate > 0 {
        Shape::constant(link.rate, link.rtt).map_err(|error| error.to_string())?;
    }
    if !link.steps.is_empty() {
        let trace = link.steps.iter().map(|step| (step.lasts, step.rate)).collect();
        Shape::new(trace, link.rtt).map_err(|error| error.to_string())?;
    }
    if !link.rtt.is_zero() && kinds == [false; 3] {
        return Err("an rtt needs a rate, steps or a trace".to_owned());
    }
    Ok(())
}

fn check_fault(key: &str, fault: &Fault, duration: Duration) -> Result<(), (String, String)> {
    let wrong = |part: &str, reason: &str| Err((format!("{key}.{part}"), reason.to_owned()));
    if fault.run.is_empty() && fault.undo.is_empty() {
        return wrong("run", "there is no command");
    }
    if fault.at > duration {
        return wrong("at", "after the end of the run");
    }
    if fault.every.is_some_and(|every| every < EVERY_MIN) {
        return wrong("every", "less than 100ms");
    }
    if fault.shell && (fault.run.len() > 1 || fault.undo.len() > 1) {
        return wrong("run", "with shell it is one text");
    }
    Ok(())
}

fn check_purge(key: &str, purge: &Purge) -> Result<(), (String, String)> {
    let wrong = |part: &str, reason: &str| Err((format!("{key}.{part}"), reason.to_owned()));
    if purge.run.is_empty() {
        return wrong("run", "there is no command");
    }
    if purge.every.is_some_and(|every| every < EVERY_MIN) {
        return wrong("every", "less than 100ms");
    }
    if purge.shell && (purge.run.len() > 1 || purge.change.len() > 1) {
        return wrong("run", "with shell it is one text");
    }
    if purge.probes.len() > PROBES_MAX {
        return wrong("probes", "more than 256");
    }
    if purge.poll_every.is_some_and(|every| every < Duration::from_millis(1)) {
        return wrong("poll_every", "less than 1ms");
    }
    Ok(())
}

fn rig(scenario: &Scenario) -> Result<(), (String, String)> {
    let wrong = |key: &str, reason: &str| Err((key.to_owned(), reason.to_owned()));
    if scenario.rig.workers > WORKERS_MAX {
        return wrong("rig.workers", "more than 256");
    }
    let Some(knee) = &scenario.knee else { return Ok(()) };
    let is_range = knee.from > 0.0 && knee.from <= knee.to && knee.to.is_finite();
    if !is_range {
        return wrong("knee", "from must be above 0 and not above to");
    }
    if !(1.1..=10.0).contains(&knee.factor) {
        return wrong("knee.factor", "not from 1.1 to 10");
    }
    if !(0.01..=0.5).contains(&knee.precision) {
        return wrong("knee.precision", "not from 0.01 to 0.5");
    }
    if scenario.gates.is_empty() {
        return wrong("gates", "a search for the knee needs gates");
    }
    if !matches!(scenario.arrivals.profile, Profile::Constant { .. }) {
        return wrong("arrivals.profile", "a search for the knee needs a constant profile");
    }
    Ok(())
}

fn within(key: &str, time: Duration, max: Duration) -> Result<(), (String, String)> {
    if time <= max { Ok(()) } else { Err((key.to_owned(), "more than a week".to_owned())) }
}

const RUN_MAX: Duration = Duration::from_secs(7 * 86_400);
const EVERY_MIN: Duration = Duration::from_millis(100);
const VIDEOS_MAX: u32 = 1_000;
const LINKS_MAX: usize = 100;
const PROBES_MAX: usize = 256;
const WORKERS_MAX: u32 = 256;
