//! A listener with a small app behind it, and clients.
//!
//! Invariant: every address is on loopback with a free port, and dropping an [`Edge`] ends it.

mod app;
mod client;
#[path = "../patience.rs"]
mod patience;
pub(crate) mod raw_h1;
pub(crate) mod raw_h2;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_chassis::Drain;
pub(crate) use tidegate_chassis::believe::client_of_anyone;
use tidegate_edge::listener::{Config, Listener, tls::Certificates};
use tokio::task::JoinHandle;

pub(crate) use self::app::SmallApp;
pub(crate) use self::client::Client;
use self::patience::be_patient;
pub(crate) use self::patience::{PATIENCE, until};

/// The protocols that every story about exchanges is told for.
pub(crate) const ALL: [Wire; 2] = [Wire::H1, Wire::H2];

/// Which protocol a client speaks; all over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    H1,
    H2,
}

/// A running listener.
pub(crate) struct Edge {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) registry: prometheus::Registry,
    pub(crate) pem: Option<String>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) app: Arc<SmallApp>,
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
            http: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            https: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            h3: false,
            workers: 2,
            ..Config::default()
        };
        config.tls.self_signed = true;
        be_patient(&mut config);
        change(&mut config);
        let registry = prometheus::Registry::new();
        let listener = Listener::bind(&config, &registry).await.unwrap();
        let address = |name| {
            let addresses = listener.addresses();
            addresses.iter().find(|(listener, _)| *listener == name).unwrap().1
        };
        let (http, https) = (address("http"), address("https"));
        let (account, leaving) = (listener.account(), listener.leaving());
        let (drain, pem) = (Drain::new(), listener.self_signed_pem());
        let certificates = listener.certificates().unwrap();
        let app = Arc::new(SmallApp::new());
        let serving = tokio::spawn({
            let (app, drain) = (app.clone(), drain.clone());
            async move { listener.serve(app, drain).await.unwrap() }
        });
        Self { https, http, drain, registry, pem, certificates, app, account, leaving, serving }
    }

    pub(crate) async fn client(&self, wire: Wire) -> Client {
        within(Client::connect(wire, self.https)).await
    }

    /// Waits until the drain is over.
    pub(crate) async fn drained(&mut self) {
        within(&mut self.serving).await.unwrap();
    }

    /// Waits until a metric has a value.
    pub(crate) async fn expect_metric(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        until(&format!("{name}{labels:?} is {expected}"), || {
            self.metric(name, labels) == Some(expected)
        })
        .await;
    }

    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let metric = family.get_metric().iter().find(|metric| {
            labels.iter().all(|(name, value)| {
                metric.get_label().iter().any(|l| l.name() == *name && l.value() == *value)
            })
        })?;
        Some(metric.get_counter().get_value() + metric.get_gauge().get_value())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
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
