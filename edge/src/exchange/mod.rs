//! One exchange, phase by phase, the same for all protocols.
//!
//! | phase (in the order a request meets them)            | file                              |
//! |------------------------------------------------------|-----------------------------------|
//! | another node? a circle? which property?              | `edge.rs`, `route.rs`             |
//! | the node's own question to itself?                   | `self_test.rs`                    |
//! | does it end here?                                    | `last_stop.rs`                    |
//! | may it be answered at all?                           | `guard/`, asked by `edge.rs`      |
//! | which key, cache or not                              | `route.rs`                        |
//! | what upstream is told of the client                  | `claims.rs`                       |
//! | stored? then at once; else fetched                   | `read.rs`, `fetch/`               |
//! | past the cache, bodies both ways                     | `pass.rs`                         |
//! | the head of the answer: range, age, traces           | `respond.rs`, `multipart.rs`, `cache_status.rs`, `cmsd.rs` |
//! | the body                                             | `deliver.rs`                      |
//! | what went wrong                                      | `refuse.rs`                       |
//! | one line, some numbers                               | `access_log.rs`, `counts.rs`, `cmcd.rs`, `player_metrics.rs` |
//!
//! `context.rs` is what one exchange carries through them. Invariant: nothing here knows which protocol it answers.

mod edge; // the way through the phases
mod read; // GET and HEAD of what may be stored
mod pass; // everything else
mod self_test; // the local object
mod last_stop; // OPTIONS that go no further
mod refuse; // what went wrong
mod respond; // the head of the answer
mod deliver; // its body
mod multipart; // several ranges
mod route; // which property, which key
mod access_log;
mod counts;
mod player_metrics; // what players say, in numbers
mod context; // what one exchange carries
mod claims; // of clients, which upstreams must not believe
mod cache_status;
pub mod cmcd; // what players say
pub mod cmsd; // what we say to players
#[cfg(test)]
mod testing;

pub use self::{
    access_log::LogPolicy,
    edge::{Edge, Parts},
    player_metrics::PlayerMetrics,
};
