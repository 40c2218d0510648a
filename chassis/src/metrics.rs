//! Declaring metrics, the metrics of the process itself, and the text that Prometheus scrapes.
//!
//! A program declares its metrics in one file with the functions here. They panic on a bad or doubled name: that
//! is a mistake in the program text, found the first time it starts.
//!
//! **Invariant.** A name is declared once per registry, with a help text.

use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::{build_info, lines};

/// A number that only grows.
pub fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    declare(registry, IntCounter::new(name, help))
}

/// Numbers that only grow, one for each combination of labels.
pub fn counter_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    declare(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// A number that goes up and down.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    declare(registry, IntGauge::new(name, help))
}

/// Numbers that go up and down, one for each combination of labels.
pub fn gauge_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    declare(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// How often a value fell below each of the `buckets`, which are in the unit of the name.
pub fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    declare(registry, Histogram::with_opts(opts))
}

/// Histograms, one for each combination of labels.
pub fn histogram_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    declare(registry, HistogramVec::new(opts, labels))
}

/// Everything in the registry, in the text format that Prometheus scrapes.
pub(crate) fn text(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_else(|error| {
        tracing::error!(%error, "metrics could not be written");
        String::new()
    })
}

/// Adds the metrics that every process has.
pub(crate) fn register_process(registry: &Registry, program: &str) {
    let build = gauge_vec(
        registry,
        "process_build_info",
        "Which build runs; always 1.",
        &["program", "version", "commit"],
    );
    build.with_label_values(&[program, build_info::VERSION, build_info::COMMIT]).set(1);
    registry.register(Box::new(ProcessMetrics::new())).expect("a process is registered once");
}

/// Numbers of the process, read from /proc each time they are asked for. Where there is no /proc they stay 0.
struct ProcessMetrics {
    start: Gauge,
    cpu: Counter,
    resident: Gauge,
    fds: Gauge,
    threads: Gauge,
    lines_dropped: Counter,
}

/// What is read from /proc.
#[derive(Debug, Default, PartialEq)]
struct ProcessStat {
    cpu_seconds: f64,
    threads: f64,
    resident_bytes: f64,
}

impl ProcessMetrics {
    fn new() -> Self {
        let gauge = |name: &str, help: &str| Gauge::new(name, help).expect(NAME_IS_VALID);
        let metrics = Self {
            start: gauge(
                "process_start_time_seconds",
                "When the process started, in seconds since 1970.",
            ),
            cpu: Counter::new("process_cpu_seconds_total", "CPU time used, user and system.")
                .expect(NAME_IS_VALID),
            resident: gauge("process_resident_memory_bytes", "Memory in RAM."),
            fds: gauge("process_open_fds", "Open file descriptors."),
            threads: gauge("process_threads", "Threads of the operating system."),
            lines_dropped: Counter::new(
                "process_log_lines_dropped_total",
                "Lines of the access log that found no room, since the log is not read as fast.",
            )
            .expect(NAME_IS_VALID),
        };
        let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        metrics.start.set(since_1970.as_secs_f64());
        metrics
    }

    fn read(&self) {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let stat = parse_stat(&stat).unwrap_or_default();
        self.cpu.inc_by((stat.cpu_seconds - self.cpu.get()).max(0.0));
        self.lines_dropped.inc_by((lines::dropped() as f64 - self.lines_dropped.get()).max(0.0));
        self.threads.set(stat.threads);
        self.resident.set(stat.resident_bytes);
        self.fds.set(std::fs::read_dir("/proc/self/fd").map_or(0.0, |dir| dir.count() as f64));
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [&self.start, &self.resident, &self.fds, &self.threads];
        let counters = [&self.cpu, &self.lines_dropped];
        let counters = counters.into_iter().flat_map(Collector::desc);
        gauges.into_iter().flat_map(Collector::desc).chain(counters).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        let gauges = [&self.start, &self.resident, &self.fds, &self.threads];
        let counters = [&self.cpu, &self.lines_dropped];
        let counters = counters.into_iter().flat_map(Collector::collect);
        gauges.into_iter().flat_map(Collector::collect).chain(counters).collect()
    }
}

/// Reads a line of /proc/PID/stat. The second field is a name in parentheses that may itself hold spaces and
/// parentheses, so counting starts behind the last one.
fn parse_stat(line: &str) -> Option<ProcessStat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(ProcessStat {
        cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
        threads: field(20)?,
        resident_bytes: field(24)? * PAGE_BYTES,
    })
}

fn declare<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect(NAME_IS_VALID);
    registry.register(Box::new(metric.clone())).expect("a metric is declared once");
    metric
}

const NAME_IS_VALID: &str = "metric names are written by hand and valid";
/// Linux reports CPU time in this unit to programs, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
/// The page of the machines we run on.
const PAGE_BYTES: f64 = 4096.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_spaces_and_parentheses() {
        let line = "7 (a) (b c) S 1 1 1 0 -1 0 9 0 0 0 250 50 0 0 20 0 4 0 99 1000000 3 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, ProcessStat { cpu_seconds: 3.0, threads: 4.0, resident_bytes: 12288.0 });
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat("7 (short) S 1"), None);
    }

    #[test]
    fn the_text_names_the_process_and_the_declared_metrics() {
        let registry = Registry::new();
        register_process(&registry, "tidegate-test");
        counter_vec(&registry, "test_things_total", "Things seen.", &["kind"])
            .with_label_values(&["good"])
            .inc();

        let text = text(&registry);
        for line in [
            "# HELP test_things_total Things seen.",
            "test_things_total{kind=\"good\"} 1",
            "program=\"tidegate-test\"",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.contains(line), "{line:?} is missing in:\n{text}");
        }
        let resident = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
            .unwrap();
        assert!(resident.parse::<f64>().unwrap() > 100_000.0);
    }

    #[test]
    #[should_panic(expected = "declared once")]
    fn a_doubled_name_is_found_at_start() {
        let registry = Registry::new();
        counter(&registry, "test_things_total", "Things.");
        counter(&registry, "test_things_total", "Things.");
    }
}
