//! Health checks: origins whose property wants it are asked now and then whether they are well.
//!
//! Invariant: an origin that is not checked any more is judged by its answers alone again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidegate_chassis::Drain;
use tidegate_contract::property::{H2, HealthCheck, Upstream};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    Upstreams,
    failed::Failed,
    link::{Sent, Times},
    request,
    standing::Stand,
};
use crate::policy::PolicyHandle;

/// What is checked, and how.
#[derive(Clone, PartialEq)]
struct Check {
    upstream: Upstream,
    how: HealthCheck,
    may_h2: bool,
}

impl Upstreams {
    /// Checks the origins of the policy in use until the drain, closes connections that nobody needs any more, and
    /// keeps the gauges up to date. Runs once per process, under its supervision.
    pub async fn watch(self: Arc<Self>, policy: PolicyHandle, drain: Drain) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due: HashMap<String, Instant> = HashMap::new();
        let mut running = JoinSet::new();
        let mut busy = HashSet::new();
        let mut tick: u32 = 0;
        loop {
            tokio::select! {
                () = drain.started() => return,
                Some(ended) = running.join_next(), if !running.is_empty() => match ended {
                    Ok(authority) => _ = busy.remove(&authority),
                    // It panicked, which is logged; whose check it was is not known.
                    Err(_) => busy.clear(),
                },
                _ = ticks.tick() => {
                    tick = tick.wrapping_add(1);
                    if tick.is_multiple_of(TICKS_PER_SWEEP) {
                        self.links.sweep();
                    }
                    self.publish();
                    let checks = checks(&policy);
                    due.retain(|authority, _| {
                        let is_checked = checks.contains_key(authority);
                        if !is_checked {
                            self.standings.unchecked(authority);
                        }
                        is_checked
                    });
                    let now = Instant::now();
                    for (authority, check) in checks {
                        let at = due.entry(authority.clone()).or_insert(now);
                        if *at > now || running.len() >= RUNNING_MAX || busy.contains(&authority) {
                            continue;
                        }
                        *at = now + check.how.interval;
                        busy.insert(authority.clone());
                        let upstreams = self.clone();
                        running.spawn(async move { upstreams.check(&check).await; authority });
                    }
                }
            }
        }
    }

    async fn check(&self, check: &Check) {
        let result = timeout(check.how.timeout, self.send_check(check)).await;
        let result = result.unwrap_or(Err(Failed::FirstByteTime));
        let label = if result.is_ok() { "well" } else { "failed" };
        let authority = &check.upstream.authority;
        let has_changed = self.standings.checked(authority, result.is_ok());
        self.metrics.checks.with_label_values(&[label]).inc();
        if has_changed {
            match result {
                Ok(()) => tracing::info!(upstream = %authority, "health checks succeed again"),
                Err(error) => tracing::warn!(upstream = %authority, %error, "health checks fail"),
            }
        }
    }

    async fn send_check(&self, check: &Check) -> Result<(), Failed> {
        let time = check.how.timeout;
        let target =
            self.links.target(&check.upstream, check.may_h2 && self.config.h2, time).await?;
        let request = request::check(&check.how, &check.upstream)?;
        let times = Times { first_byte: time, read: time, write: time };
        let sent =
            Sent { request: &request, times, interim: None, connect: time, is_repeatable: true };
        let mut received = self.links.exchange(&target, &sent, &mut None).await?;
        let status = received.status.as_u16();
        let is_expected = match check.how.status {
            Some(expected) => status == expected,
            None => (200..400).contains(&status),
        };
        if !is_expected {
            return Err(Failed::Status(status));
        }
        // A small body is read, so that the connection can be used again.
        let mut bytes = 0;
        while let Some(piece) = received.body.next().await? {
            bytes += piece.len();
            if bytes > BODY_BYTES_MAX {
                break;
            }
        }
        Ok(())
    }

    fn publish(&self) {
        for (stand, count) in self.standings.count() {
            let gauge = self.metrics.standings.with_label_values(&[Stand::as_str(stand)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// The checks that the policy in use wants, by authority; the first property's for each.
fn checks(policy: &PolicyHandle) -> HashMap<String, Check> {
    let mut checks = HashMap::new();
    let Some(policy) = policy.current() else { return checks };
    for property in &policy.snapshot.properties {
        let Some(how) = &property.upstream.health else { continue };
        for upstream in &property.origins {
            if checks.len() >= CHECKED_MAX {
                return checks;
            }
            let may_h2 = property.upstream.h2 == H2::Auto;
            let check = Check { upstream: upstream.clone(), how: how.clone(), may_h2 };
            checks.entry(upstream.authority.clone()).or_insert(check);
        }
    }
    checks
}

/// How often it is looked at what is due; the shortest interval is four times that.
const TICK: Duration = Duration::from_millis(250);
/// Unused connections are looked at once a second.
const TICKS_PER_SWEEP: u32 = 4;
/// Checks that run at the same time.
const RUNNING_MAX: usize = 64;
/// Origins that are checked.
const CHECKED_MAX: usize = 1024;
/// More of a check's body is not read.
const BODY_BYTES_MAX: usize = 64 * 1024;
