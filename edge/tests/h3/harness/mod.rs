//! A listener with a small app behind it, and clients.
//!
//! Invariant: every address is on loopback with a free port, and dropping an [`Edge`] ends it.

pub(crate) mod app;
pub(crate) mod client;
#[path = "../../listener/patience.rs"]
mod patience;
pub(crate) mod raw;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tidegate_chassis::Drain;
use tidegate_edge::listener::{Config, Listener};
use tokio::task::JoinHandle;

use self::patience::be_patient;
pub(crate) use self::{
    app::TestApp,
    client::Client,
    patience::{PATIENCE, until},
};

/// A running listener.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) registry: prometheus::Registry,
    pub(crate) app: Arc<TestApp>,
    pub(crate) traces: Option<tidegate_edge::listener::quic::Traces>,
    pub(crate) account: tidegate_edge::listener::account::Account,
    pub(crate) leaving: tidegate_edge::listener::Leaving,
    serving: JoinHandle<()>,
}

impl Edge {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with settings changed from the default of tests.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        tidegate_chassis::init_crypto();
        let mut config = Config {
            http: Vec::new(),
            https: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            workers: 1,
            ..Config::default()
        };
        config.tls.self_signed = true;
        be_patient(&mut config);
        change(&mut config);
        let registry = prometheus::Registry::new();
        let listener = Listener::bind(&config, &registry).await.unwrap();
        let (traces, account) = (listener.traces(), listener.account());
        let leaving = listener.leaving();
        let addresses = listener.addresses();
        let address = addresses.iter().find(|(listener, _)| *listener == "quic").unwrap().1;
        let (drain, app) = (Drain::new(), Arc::new(TestApp::default()));
        let serving = tokio::spawn({
            let (drain, app) = (drain.clone(), app.clone());
            async move { listener.serve(app, drain).await.unwrap() }
        });
        Self { address, drain, registry, app, traces, account, leaving, serving }
    }

    pub(crate) async fn client(&self) -> Client {
        within(Client::connect(self.address)).await
    }

    /// Waits until the drain is over.
    pub(crate) async fn drained(&mut self) {
        within(&mut self.serving).await.unwrap();
    }

    /// Waits until a metric has at least a value.
    pub(crate) async fn expect_metric(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let what = format!("{name}{labels:?}");
        until(&what, || self.metric(name, labels) >= expected).await;
    }

    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
        let metric = family.get_metric().iter().find(|metric| {
            labels.iter().all(|(name, value)| {
                metric.get_label().iter().any(|l| l.name() == *name && l.value() == *value)
            })
        });
        metric
            .map_or(0.0, |metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.drain.begin();
        self.serving.abort();
    }
}

/// Waits with a limit that only a hang reaches.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// A body that differs at every place, so that lost, doubled and swapped pieces show.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect::<Vec<_>>().into()
}
