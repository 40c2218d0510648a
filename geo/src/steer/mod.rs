//! Content steering: players are told in the middle of a video which PoP to fetch from.
//!
//! ```text
//!  player ── GET /steering/{policy}?_HLS_pathway=a ──▶ edge ──▶ server ─▶ request: who asks, what it plays from
//!                                                                  │
//!         {"PATHWAY-PRIORITY":["b","a"],"PATHWAY-CLONES":[…]} ◀── manifest ◀─ choose ◀─ policy, newest world
//! ```
//!
//! The form is that of draft-pantos-content-steering for HLS and DASH. The order comes from the same world as the answers
//! of the DNS. Nothing is remembered of a session: what it plays from stands in what it asks, so every node of the DNS
//! says the same, and one that is gone is missed by nobody.

mod server; // connections, routes
mod manifest; // the form of an answer
mod session; // from a question to an order
mod choose; // the order of pathways for a session
mod request; // who asks, and what it plays from
mod policies; // the policies in use
mod config; // section `[steering]`
mod metrics; // what is counted

pub use choose::{
    Order, Outcome, PATHWAYS_NAMED_MAX, PathwayView, Standing, TTL_DOUBTFUL_SECONDS, order,
};
pub use config::{PolicyConfig, SteeringConfig};
pub use manifest::Manifest;
pub use policies::{Named, Policies};
pub use server::Steering;
pub use session::{has, session, standing};
