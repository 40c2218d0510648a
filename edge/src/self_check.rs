//! What a node finds when an operator has it look at itself, beyond what its agent sees.
//!
//! The same probes as ever, once more and now; the settings as another start would read them; what is known of
//! certificates, of the speaker and of origins. Invariant: each look takes at most [`LOOK_MAX`], and nothing outside of
//! this machine is asked.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt;
use tidegate_chassis::{Clock, ConfigReading, Process};
use tidegate_contract::{
    node_question::Check,
    telemetry::{Probe, Report},
};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    anycast::self_test::{SelfTester, Tried},
    control::{Checks, left},
    listener::tls::Certificates,
    policy::PolicyHandle,
    upstream::Upstreams,
};

/// What is looked at.
pub(crate) struct Parts {
    pub(crate) process: Process,
    pub(crate) tester: Arc<SelfTester>,
    pub(crate) report: Arc<dyn Fn() -> Report + Send + Sync>,
    /// Absent: nothing is served over TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) policy: PolicyHandle,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) clock: Clock,
}

/// What looks.
pub(crate) fn checks(parts: Parts) -> Checks {
    let parts = Arc::new(parts);
    Arc::new(move || look(Arc::clone(&parts)).boxed())
}

async fn look(parts: Arc<Parts>) -> Vec<Check> {
    let tested = timeout(LOOK_MAX, parts.tester.tried());
    let (tested, settings) = tokio::join!(tested, settings(parts.process.config_reading()));
    let mut all = vec![looked("ready", || ready(&parts.process))];
    match tested {
        Ok(tested) => all.extend(tested.into_iter().map(tried)),
        Err(_) => all.push(late("https")),
    }
    all.extend(settings);
    if let Some(certificates) = &parts.certificates {
        let (count, first) = certificates.first_end();
        all.push(looked("certificates", || lasting(count, first, parts.clock.now())));
    }
    let report = (parts.report)();
    if report.speaker.is_some() {
        all.push(looked("speaker", || speaking(&report)));
    }
    all.push(looked("origins", || reachable(&parts.policy, &parts.upstreams)));
    all
}

fn looked(name: &str, look: impl FnOnce() -> (bool, String)) -> Check {
    let began = Instant::now();
    let (is_ok, found) = look();
    Check { check: name.to_owned(), is_ok, found, took_ms: millis(began.elapsed()) }
}

fn tried(Tried { probe, is_good, found, took }: Tried) -> Check {
    let name = match probe {
        Probe::Https => "https",
        Probe::H3 => "h3",
        Probe::Disk => "disk",
        Probe::Nic => "interfaces",
    };
    Check { check: name.to_owned(), is_ok: is_good, found, took_ms: millis(took) }
}

fn late(name: &str) -> Check {
    let found = format!("not known after {} s", LOOK_MAX.as_secs());
    Check { check: name.to_owned(), is_ok: false, found, took_ms: millis(LOOK_MAX) }
}

fn ready(process: &Process) -> (bool, String) {
    match (process.is_ready(), process.drain().is_started()) {
        (_, true) => (false, "the process drains".to_owned()),
        (true, false) => (true, "every part is ready".to_owned()),
        (false, false) => (false, "not every part is ready".to_owned()),
    }
}

/// The settings as another start would read them.
async fn settings(reading: Option<ConfigReading>) -> Option<Check> {
    let reading = reading?;
    let began = Instant::now();
    let read = timeout(LOOK_MAX, spawn_blocking(move || reading())).await;
    let Ok(Ok(read)) = read else { return Some(late("settings")) };
    let (is_ok, found) = match read {
        Ok(true) => (true, "good, and as they are in use".to_owned()),
        Ok(false) => (true, "good, and others than in use: the next start takes them".to_owned()),
        Err(why) => (false, format!("another start would fail: {why}")),
    };
    let took_ms = millis(began.elapsed());
    Some(Check { check: "settings".to_owned(), is_ok, found, took_ms })
}

fn lasting(count: usize, first: Option<(String, SystemTime)>, now: SystemTime) -> (bool, String) {
    let Some((name, end)) = first else {
        return (false, "no certificate that can be read".to_owned());
    };
    let remains = end.duration_since(now).unwrap_or_default();
    let found =
        format!("{count} in use; the first to end, of {name}, lasts {} more", left(remains));
    (remains >= CERTIFICATE_LEFT_MIN, found)
}

fn speaking(report: &Report) -> (bool, String) {
    let Some(speaker) = &report.speaker else { return (true, String::new()) };
    if !speaker.is_up {
        return (false, "the speaker does not answer".to_owned());
    }
    let gate = if speaker.is_gate_closed { ", the gate is CLOSED" } else { "" };
    let found = format!("{} of {} sessions{gate}", speaker.established, speaker.sessions);
    let has_sessions = speaker.established > 0 || speaker.sessions == 0;
    (has_sessions && !speaker.is_gate_closed, found)
}

/// Whether the origins and shields of the configuration in use answer, as far as they were asked.
fn reachable(policy: &PolicyHandle, upstreams: &Upstreams) -> (bool, String) {
    let Some(policy) = policy.current() else {
        return (false, "no configuration is in use".to_owned());
    };
    let origins = policy.snapshot.properties.iter().flat_map(|property| &property.origins);
    let shields = policy.snapshot.shields.iter().map(|shield| &shield.upstream);
    let all: BTreeSet<_> =
        origins.chain(shields).map(|upstream| upstream.authority.as_str()).collect();
    let (mut unasked, mut bad) = (0, Vec::new());
    for authority in &all {
        match upstreams.is_left_alone(authority) {
            None => unasked += 1,
            Some(true) => bad.push(*authority),
            Some(false) => {}
        }
    }
    let count = all.len();
    if bad.is_empty() {
        return (true, format!("{} of {count} answer, {unasked} were not asked", count - unasked));
    }
    let (named, more) = (bad.len().min(NAMED_MAX), bad.len().saturating_sub(NAMED_MAX));
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (false, format!("do not answer: {}{rest}", bad[..named].join(", ")))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The longest look; a probe has a limit of its own below this.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// Authorities renew at a third of 90 days; those with six days left are renewed at half.
const CERTIFICATE_LEFT_MIN: Duration = Duration::from_secs(2 * 24 * 3600);
/// Origins that are named one by one.
const NAMED_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use tidegate_contract::telemetry::SpeakerReport;

    use super::*;

    #[test]
    fn a_certificate_about_to_end_fails() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (hours, is_ok) in [(0, false), (47, false), (49, true)] {
            let end = now + Duration::from_secs(hours * 3600);
            let (found, text) = lasting(3, Some(("a.test".into(), end)), now);
            assert_eq!(found, is_ok, "{text}");
            assert!(text.contains("3 in use") && text.contains("a.test"), "{text}");
        }
        assert!(!lasting(0, None, now).0);
    }

    #[test]
    fn a_speaker_is_good_with_a_session_and_an_open_gate() {
        let speaker = |is_up, established, is_gate_closed| {
            let speaker = SpeakerReport {
                is_up,
                established,
                sessions: 2,
                is_gate_closed,
                ..Default::default()
            };
            speaking(&Report { speaker: Some(speaker), ..Report::default() }).0
        };
        let found = [
            speaker(true, 1, false),
            speaker(true, 0, false),
            speaker(true, 2, true),
            speaker(false, 2, false),
        ];
        assert_eq!(found, [true, false, false, false]);
    }

    #[tokio::test]
    async fn settings_are_read_as_another_start_would() {
        for (read, is_ok, word) in [
            (Ok(true), true, "as they are in use"),
            (Ok(false), true, "the next start takes them"),
            (Err("listen.htpp: unknown key".to_owned()), false, "listen.htpp"),
        ] {
            let reading: ConfigReading = Arc::new(move || read.clone());
            let check = settings(Some(reading)).await.expect("there are some");
            assert_eq!(check.is_ok, is_ok, "{check:?}");
            assert!(check.found.contains(word), "{check:?}");
        }
        assert_eq!(settings(None).await, None);
    }
}
