//! A packager in this process.

use std::{io::Write, path::PathBuf, time::Duration};

use prometheus::Registry;
use tempfile::NamedTempFile;
use tidegate_chassis::{Drain, Process};
use tidegate_packager::{
    job::{Limits, Packager},
    jobs::{self, Slot},
    ladder,
    metrics::Metrics,
    origin_client::{self, OriginClient},
    store::Store,
    track, worker_process,
};
use tokio::task::JoinHandle;

use super::{FakeOrigin, fake_origin::TOKEN, fake_worker};

/// What a packager is started with; the defaults suit short clips.
pub(crate) struct TestPackager {
    worker_binary: PathBuf,
    pub(crate) worker: worker_process::Config,
    pub(crate) ladder: ladder::Config,
    pub(crate) segment: track::Config,
    pub(crate) limits: Limits,
}

/// A running packager; dropping it stops it as a crash would.
pub(crate) struct RunningPackager {
    pub(crate) registry: Registry,
    drain: Drain,
    task: JoinHandle<anyhow::Result<()>>,
}

impl TestPackager {
    /// With the fake worker.
    pub(crate) fn new() -> Self {
        Self::with_worker(fake_worker())
    }

    /// With another worker.
    pub(crate) fn with_worker(worker_binary: PathBuf) -> Self {
        Self {
            worker_binary,
            worker: worker_process::Config {
                deadline_base: Duration::from_secs(60),
                threads: 2,
                ..Default::default()
            },
            ladder: ladder::Config { h264_preset: "ultrafast".into(), ..Default::default() },
            segment: track::Config::default(),
            limits: Limits::default(),
        }
    }

    /// Starts it against an origin.
    pub(crate) fn start(self, origin: &FakeOrigin) -> RunningPackager {
        tidegate_chassis::init_crypto();
        let process = Process::for_test();
        let mut token = NamedTempFile::new().expect("a file");
        writeln!(token, "{TOKEN}").expect("written");
        let client = OriginClient::new(&origin_client::Config {
            url: origin.url.clone(),
            token_file: Some(token.path().to_owned()),
            timeout: Duration::from_secs(90),
        });
        let packager = Packager {
            limits: self.limits,
            ladder: self.ladder,
            segment: self.segment,
            worker: self.worker,
            worker_binary: self.worker_binary,
            store: Store::open(&origin.store_url()).expect("a store"),
            scratch: None,
            metrics: Metrics::register(process.registry()),
        };
        let slot = Slot {
            client: client.expect("a client"),
            packager,
            name: "packager-1".into(),
            config: jobs::Config { poll: Duration::from_millis(20), ..Default::default() },
            ready: process.ready("origin"),
        };
        let drain = process.drain();
        let task = tokio::spawn(slot.serve(drain.clone()));
        RunningPackager { registry: process.registry().clone(), drain, task }
    }
}

impl RunningPackager {
    /// Drains it and waits for its end.
    pub(crate) async fn drain(mut self) {
        self.drain.begin();
        (&mut self.task).await.expect("no panic").expect("no error");
    }

    /// The value of a counter with one label.
    pub(crate) fn count(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        families
            .iter()
            .filter(|family| family.name() == name)
            .flat_map(|family| family.get_metric())
            .filter(|metric| metric.get_label().iter().any(|pair| pair.value() == label))
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }
}

impl Drop for RunningPackager {
    fn drop(&mut self) {
        self.task.abort();
    }
}
