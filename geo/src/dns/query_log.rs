//! A line for some of the queries; off by default.
//!
//! Invariant: no line tells more of a client than its network (/24 or /48).

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tidegate_chassis::ACCESS;

use crate::dns::{answer::Answer, request::Request, subnet::network, transport::Transport};

/// Which queries are logged.
#[derive(Debug, Default)]
pub struct QueryLog {
    every: u64,
    seen: AtomicU64,
}

impl QueryLog {
    /// One in how many; 0: none.
    #[must_use]
    pub fn every(every: u32) -> Self {
        Self { every: u64::from(every), seen: AtomicU64::new(0) }
    }

    /// Whether a query may be answered by who logs none; one whose turn it is goes to the handler, which logs it.
    #[must_use]
    pub fn passes(&self) -> bool {
        if self.every == 0 {
            return true;
        }
        let is_due = self.seen.load(Relaxed).is_multiple_of(self.every);
        if !is_due {
            self.seen.fetch_add(1, Relaxed);
        }
        !is_due
    }

    /// Logs a query if it is its turn.
    pub fn query(&self, request: &Request, client: IpAddr, transport: Transport, answer: &Answer) {
        if self.every == 0 || !self.seen.fetch_add(1, Relaxed).is_multiple_of(self.every) {
            return;
        }
        let Some(question) = &request.question else { return };
        let told = request.edns.as_ref().and_then(|edns| edns.subnet);
        tracing::info!(
            target: ACCESS,
            transport = transport.as_str(),
            client = network(client),
            subnet = told.and_then(|told| told.client()).map(network),
            // The name is what somebody sent: in the form in which nothing but plain text is left.
            name = question.name.to_ascii(),
            record = %question.kind,
            rcode = %answer.code,
            kind = answer.outcome.as_str(),
            scope = answer.scope,
            "query"
        );
    }
}
