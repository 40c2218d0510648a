//! How the rig itself is: its CPU, its memory, its files; and whether its figures can be believed.
//!
//! Invariant: `saturation` is pure and errs on the side of doubt.

use std::{fs, time::Duration};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::{results::Results, scenario::RigLimits};

/// How many files, sockets among them, this process may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesLimit {
    /// `None` when there is none.
    pub files: Option<u64>,
}

/// Raises the limit of open files to what the system lets this process have.
#[must_use]
pub fn raise_files_limit() -> FilesLimit {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => FilesLimit { files: limit.maximum },
        Err(_) => FilesLimit { files: limit.current },
    }
}

/// CPU time of the calling thread.
pub(super) fn thread_cpu() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time of the process.
pub(super) fn process_cpu() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// The most memory this process has had, in bytes; 0 where the system does not tell.
pub(super) fn memory_peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1_024
}

/// Why the results are not worth anything; empty when they are.
#[must_use]
pub fn saturation(results: &Results, limits: &RigLimits) -> Vec<String> {
    let mut reasons = Vec::new();
    let rig = &results.rig;
    if rig.cpu_max > limits.cpu_max {
        reasons.push(format!(
            "the busiest worker used {:.0} % of its core, more than {:.0} %",
            rig.cpu_max * 100.0,
            limits.cpu_max * 100.0
        ));
    }
    let percentiles = [
        ("timers were late by", &rig.loop_lag_us, limits.loop_lag_max),
        ("sessions began late by", &results.arrivals.schedule_error_us, limits.schedule_error_max),
    ];
    for (what, histogram, limit) in percentiles {
        let Some(p99) = histogram.quantile(0.99).map(Duration::from_micros) else { continue };
        if p99 > limit {
            reasons.push(format!("{what} {p99:.1?} (99th percentile), more than {limit:?}"));
        }
    }
    let fetches: u64 = results.fetches.iter().map(|fetches| fetches.count).sum();
    let share = rig.socket_errors as f64 / fetches.max(1) as f64;
    if share > limits.socket_error_max {
        reasons.push(format!(
            "{} of {fetches} fetches failed for want of sockets, ports or memory",
            rig.socket_errors
        ));
    }
    reasons
}

fn duration(time: rustix::time::Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{ObjectKind, Protocol};

    #[test]
    fn each_limit_is_a_reason_of_its_own() {
        let limits = RigLimits::default();
        let mut results = Results::new("test", 1);
        results.fetches_of(ObjectKind::Segment, Protocol::H1).count = 1_000;
        assert_eq!(saturation(&results, &limits), Vec::<String>::new());

        results.rig.cpu_max = 0.97;
        for _ in 0..100 {
            results.rig.loop_lag_us.record(30_000);
            results.arrivals.schedule_error_us.record(25_000);
        }
        results.rig.socket_errors = 2;
        let reasons = saturation(&results, &limits);
        for (reason, words) in reasons.iter().zip(["97 %", "timers", "sessions began", "2 of 1000"])
        {
            assert!(reason.contains(words), "{reason}");
        }
        assert_eq!(reasons.len(), 4);
    }

    #[test]
    fn the_process_tells_of_itself() {
        let before = thread_cpu();
        let mut sum = 0_u64;
        while thread_cpu() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(process_cpu() >= thread_cpu());
        assert!(memory_peak_bytes() > 1 << 20);
        assert!(raise_files_limit().files.is_none_or(|files| files >= 64));
    }
}
