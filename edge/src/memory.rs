//! The most memory that a node can take with its settings, as a sum of named terms.
//!
//! Everything that can grow has a limit, and each limit is a term here. Invariant: a node does not start with settings
//! whose sum is more than there is.

use std::{fmt, fs, path::Path};

use bytesize::ByteSize;
use tidegate_chassis::lines;

use crate::{cache, fetch, listener, upstream};

/// One part of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The key that limits it.
    pub key: &'static str,
    /// The most that it takes.
    pub bytes: u64,
}

/// All parts, the largest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorstCase(Vec<Term>);

/// The settings allow more than there is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "with these settings the node may take {}, and memory_max is {}; lower some of {largest}",
    ByteSize(*.sum), ByteSize(*.max)
)]
pub struct TooMuch {
    sum: u64,
    max: u64,
    largest: String,
}

impl WorstCase {
    /// What these settings allow.
    #[must_use]
    pub fn of(
        listen: &listener::Config,
        cache: &cache::Config,
        fetch: &fetch::Config,
        upstream: &upstream::Config,
    ) -> Self {
        let each = |count: usize, bytes: u64| (count as u64).saturating_mul(bytes);
        let workers = listener::workers(listen);
        let mut terms = vec![
            ("(process)", PROCESS),
            ("cache.memory", cache.memory.as_u64()),
            ("cache.in_flight", cache.in_flight.as_u64()),
            ("cache.purged_names_max", each(cache.purged_names_max, PURGED_NAME)),
            ("cache.unstorable_max", each(cache.unstorable_max, HINT)),
            ("fetch.playlists_max", each(fetch.playlists_max, HINT)),
            ("fetch.successors_max", each(fetch.successors_max, HINT)),
            ("listen.limits.buffers", listen.limits.buffers.as_u64()),
            ("listen.workers", each(workers, WORKER)),
            ("(lines of the access log)", each(workers + 1, lines::BUFFER_BYTES_MAX as u64)),
            ("upstream.idle_connections_max", each(upstream.idle_connections_max, IDLE_UPSTREAM)),
        ];
        if cache.disk.path.is_some() {
            terms.extend([
                ("cache.disk.read_buffers", cache.disk.read_buffers.as_u64()),
                ("cache.disk.objects_max", each(cache.disk.objects_max, DISK_OBJECT)),
                ("cache.disk.read_threads", each(cache.disk.read_threads, THREAD)),
                ("(purges that wait for the disk)", JOURNAL),
            ]);
        }
        if !listen.https.is_empty() {
            terms.push(("listen.quic.sessions_max", each(listen.quic.sessions_max, SESSION)));
            if listen.h3 {
                terms.push(("listen.quic.incoming_buffer", listen.quic.incoming_buffer.as_u64()));
            }
        }
        let mut terms: Vec<_> = terms.into_iter().map(|(key, bytes)| Term { key, bytes }).collect();
        terms.sort_by_key(|term| std::cmp::Reverse(term.bytes));
        Self(terms)
    }

    /// With one term more, unless it is nothing.
    #[must_use]
    pub fn and(mut self, key: &'static str, bytes: u64) -> Self {
        if bytes > 0 {
            self.0.push(Term { key, bytes });
            self.0.sort_by_key(|term| std::cmp::Reverse(term.bytes));
        }
        self
    }

    /// All of it together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, term| sum.saturating_add(term.bytes))
    }

    /// The parts.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// Whether it fits.
    ///
    /// # Errors
    /// [`TooMuch`], with what to lower.
    pub fn check(&self, max: u64) -> Result<(), TooMuch> {
        let sum = self.sum();
        if sum <= max {
            return Ok(());
        }
        let named = self.0.iter().filter(|term| !term.key.starts_with('(')).take(NAMED);
        let largest: Vec<_> =
            named.map(|term| format!("{} ({})", term.key, ByteSize(term.bytes))).collect();
        Err(TooMuch { sum, max, largest: largest.join(", ") })
    }
}

impl fmt::Display for WorstCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for term in &self.0 {
            writeln!(f, "{:>10}  {}", ByteSize(term.bytes).to_string(), term.key)?;
        }
        Ok(())
    }
}

/// The memory that this process may use: that of its control group, or of the machine when that is less.
#[must_use]
pub fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let group = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| of_group(Path::new("/sys/fs/cgroup"), &text));
    machine.into_iter().chain(group).min()
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of a group and those above it.
fn of_group(root: &Path, cgroup: &str) -> Option<u64> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let groups = Path::new(own).ancestors().map(|group| root.join(group).join("memory.max"));
    groups.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

/// The program, its runtime, and what is small and counted nowhere.
const PROCESS: u64 = 64 << 20;
/// One thread that serves: its stack, its mailbox, its buffers for datagrams.
const WORKER: u64 = 8 << 20;
/// One thread that waits for the disk.
const THREAD: u64 = 2 << 20;
/// A name in the table of purges, which is at most half full after it grew.
const PURGED_NAME: u64 = 128;
/// An entry of a table of hints, with its key and the table's own lists.
const HINT: u64 = 512;
/// An entry of the index of the disk tier, as measured.
const DISK_OBJECT: u64 = 84;
/// A TLS session that may be resumed.
const SESSION: u64 = 1024;
/// An idle connection to an upstream, with TLS.
const IDLE_UPSTREAM: u64 = 48 << 10;
/// What the journal of purges keeps until it is written.
const JOURNAL: u64 = 16 << 20;
/// Terms that are named when the sum is too large.
const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn worst(config: &Config) -> WorstCase {
        WorstCase::of(&config.listen, &config.cache, &config.fetch, &config.upstream)
    }

    #[test]
    fn the_sum_has_every_limit_and_what_is_too_much_is_named() {
        let mut config = Config::default();
        config.listen.workers = 2;
        let plain = worst(&config);
        assert_eq!(plain.sum(), plain.terms().iter().map(|term| term.bytes).sum::<u64>());
        assert!(plain.check(plain.sum()).is_ok());
        let refused = plain.check(2 << 30).unwrap_err().to_string();
        assert!(refused.contains("memory_max is 2.0 GiB"), "{refused}");
        assert!(refused.contains("listen.limits.buffers (1.0 GiB)"), "{refused}");
        assert!(refused.contains("cache.memory (1.0 GiB)"), "{refused}");
        assert!(!refused.contains("(process)"), "{refused}");

        config.cache.memory = ByteSize::gib(2);
        assert_eq!(worst(&config).sum(), plain.sum() + (1 << 30));
        config.cache.disk.path = Some("/nowhere".into());
        let with_disk = worst(&config).sum() - plain.sum() - (1 << 30);
        let disk = &config.cache.disk;
        assert!(with_disk >= disk.read_buffers.as_u64() + disk.objects_max as u64 * DISK_OBJECT);
        config.cache.memory = ByteSize(u64::MAX);
        assert!(worst(&config).check(u64::MAX - 1).is_err());
    }

    #[test]
    fn the_least_limit_of_machine_and_groups_counts() {
        assert_eq!(of_machine("MemFree: 1 kB\nMemTotal:   2048 kB\n"), Some(2 << 20));
        assert_eq!(of_machine("nothing"), None);
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(of_group(root.path(), "0::/a/b\n"), None);
        fs::write(root.path().join("a/memory.max"), "4096\n").unwrap();
        assert_eq!(of_group(root.path(), "1:name=x:/\n0::/a/b\n"), Some(4096));
        fs::write(inner.join("memory.max"), "1024\n").unwrap();
        assert_eq!(of_group(root.path(), "0::/a/b\n"), Some(1024));
        assert_eq!(of_group(root.path(), ""), None);
        assert!(available().is_some_and(|bytes| bytes > 64 << 20));
    }
}
