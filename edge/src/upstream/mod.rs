//! Which upstream is asked, and with what: order, standing, hedging, connections.
//!
//! | what                                                     | file                                |
//! |----------------------------------------------------------|-------------------------------------|
//! | whether a sibling is asked first                         | `siblings.rs`                       |
//! | one ask: upstreams in order, hedged, within the budget   | `asking.rs`, `order.rs`, `retry_budget.rs` |
//! | one attempt at one of them                               | `attempt.rs`, `request.rs`          |
//! | health checks                                            | `probe.rs`                          |
//! | what is known of each                                    | `standing/`                         |
//! | connections, H1, H2                                      | `link/`                             |
//!
//! A node that knows its siblings asks the one that owns the resource, by consistent hash, unless it does so itself; then
//! the PoP asks once. An edge asks the shields of its control plane first, by consistent hash so that one resource is filled through
//! one shield, then the property's origins in their order. A shield asks the origins. Invariant: the number of
//! attempts of an ask and the share of repeated requests are bounded, and an answer that broke off is never taken for
//! a whole one.

mod siblings;
mod asking;
mod probe;
mod attempt;
mod answer;
mod request;
mod trace;
mod order;
mod standing;
mod link;
mod retry_budget;
mod failed;
mod metrics;
mod config;
mod ask;

use std::sync::Arc;

use tidegate_chassis::Clock;
use tidegate_contract::property::Upstream;

pub use self::{
    answer::{Answer, AnswerBody},
    ask::{Ask, Candidate, Home, Interim, Piece, RequestBody, Tier},
    config::{Config, ConfigError, Siblings},
    link::{RootsError, read_answer},
    metrics::Metrics,
    trace::{Client, Trace},
};
use self::{link::Links, retry_budget::RetryBudget, standing::Standings};

/// Everything about upstreams that outlives an ask. One for the process, shared by all its runtimes.
pub struct Upstreams {
    config: Config,
    links: Links,
    standings: Standings,
    retries: RetryBudget,
    siblings: Vec<Upstream>,
    /// Shared with what is under way for resources that this node owns among its siblings.
    owned: Arc<()>,
    metrics: Metrics,
    clock: Clock,
}

impl Upstreams {
    /// Nothing known yet.
    ///
    /// # Errors
    /// When the file with the authorities cannot be used.
    pub fn new(config: &Config, metrics: Metrics, clock: Clock) -> Result<Self, RootsError> {
        Ok(Self {
            links: Links::new(config, metrics.clone())?,
            standings: Standings::new(config, clock.clone()),
            retries: RetryBudget::new(config.retry_percent),
            siblings: config.siblings.others(),
            owned: Arc::default(),
            config: config.clone(),
            metrics,
            clock,
        })
    }

    /// Whether an upstream is left alone because it failed, or tried by one request at a time; `None` when it was not asked
    /// yet.
    #[must_use]
    pub fn is_left_alone(&self, authority: &str) -> Option<bool> {
        self.standings.is_left_alone(authority)
    }
}
