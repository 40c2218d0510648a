//! How a node judges a release in the first seconds after it was put to use.
//!
//! Pure: figures from before and since in, a verdict out. Figures of few requests say nothing; that a process ends
//! altogether is for the journal to tell.

/// What is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Exchanges that ended.
    pub(super) requests: u64,
    /// Those that failed by our or upstream's fault.
    pub(super) errors: u64,
    /// Memory of the process, in bytes; 0 where nobody can tell.
    pub(super) memory_bytes: u64,
}

/// The harm that is seen, in words.
pub(super) fn harm(before: Figures, now: Figures) -> Option<String> {
    let requests = now.requests.saturating_sub(before.requests);
    let errors = now.errors.saturating_sub(before.errors);
    if requests >= REQUESTS_MIN {
        let (share, share_before) =
            (permille(errors, requests), permille(before.errors, before.requests));
        if share > share_before + ERROR_RISE_PERMILLE {
            return Some(format!(
                "{errors} of {requests} requests failed since it was put to use, before {share_before} of 1000"
            ));
        }
    }
    let (was, is) = (before.memory_bytes, now.memory_bytes);
    let allowed = was.saturating_mul(2).max(was + MEMORY_RISE_BYTES);
    (was > 0 && is > allowed).then(|| format!("memory rose from {} to {} MiB", was / MIB, is / MIB))
}

/// The memory of this process; 0 where nobody can tell.
pub(super) fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

fn permille(part: u64, of: u64) -> u64 {
    part.saturating_mul(1000) / of.max(1)
}

/// Below this nothing is said about errors.
const REQUESTS_MIN: u64 = 100;
/// By how much the failing requests of a thousand may rise.
const ERROR_RISE_PERMILLE: u64 = 50;
/// A cache that fills takes memory, too; a release that takes this much more within seconds is at fault.
const MEMORY_RISE_BYTES: u64 = 1024 * MIB;
const MIB: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(requests: u64, errors: u64, mib: u64) -> Figures {
        Figures { requests, errors, memory_bytes: mib * MIB }
    }

    #[test]
    fn more_failures_or_much_more_memory_are_harm() {
        let before = figures(1000, 10, 500);
        for (now, says) in [
            (figures(2000, 20, 500), None),
            (figures(2000, 100, 500), Some("failed")),
            (figures(1099, 90, 500), None),
            (figures(1000, 10, 1500), None),
            (figures(1000, 10, 1600), Some("memory")),
        ] {
            let verdict = harm(before, now);
            match says {
                None => assert_eq!(verdict, None),
                Some(word) => assert!(verdict.is_some_and(|text| text.contains(word)), "{word}"),
            }
        }
        assert_eq!(harm(figures(0, 0, 0), figures(0, 0, 9999)), None, "nobody could tell before");
        assert!(harm(figures(0, 0, 0), figures(200, 200, 0)).is_some());
    }
}
