//! What the UDP sockets tell of themselves.
//!
//! Invariant: bytes over calls is the mean size of a send, the figure that tells whether batching works.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Handles; clones count into the same numbers.
#[derive(Clone, Debug)]
pub(in crate::listener) struct Metrics {
    pub(super) sends: IntCounter,
    pub(super) sent_bytes: IntCounter,
    pub(super) merged: IntCounter,
    pub(super) blocked: IntCounter,
    steered: IntCounterVec,
}

impl Metrics {
    pub(in crate::listener) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::new()?;
        registry.register(Box::new(metrics.sends.clone()))?;
        registry.register(Box::new(metrics.sent_bytes.clone()))?;
        registry.register(Box::new(metrics.merged.clone()))?;
        registry.register(Box::new(metrics.blocked.clone()))?;
        registry.register(Box::new(metrics.steered.clone()))?;
        Ok(metrics)
    }

    fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            sends: IntCounter::new(
                "edge_quic_sends_total",
                "System calls that sent QUIC datagrams, each up to 64 of one client.",
            )?,
            sent_bytes: IntCounter::new(
                "edge_quic_sent_bytes_total",
                "Bytes of QUIC datagrams that were handed to the kernel.",
            )?,
            merged: IntCounter::new(
                "edge_quic_sends_merged_total",
                "Transmits that left together with one before, and so cost no system call.",
            )?,
            blocked: IntCounter::new(
                "edge_quic_sends_blocked_total",
                "Sends that the kernel did not take because the socket's buffer was full.",
            )?,
            steered: IntCounterVec::new(
                Opts::new(
                    "edge_quic_datagrams_steered_total",
                    "Datagrams that reached another socket than their connection's: forwarded to its worker, handed_back \
                     to the process before this one, or dropped because those did not keep up.",
                ),
                &["outcome"],
            )?,
        })
    }

    pub(super) fn steered(&self, outcome: &'static str) {
        self.steered.with_label_values(&[outcome]).inc();
    }

    #[cfg(test)]
    pub(super) fn unregistered() -> Self {
        Self::new().unwrap()
    }
}
