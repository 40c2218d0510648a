//! Purges that origin orders at the control plane when a video changes.
//!
//! An order is written to the outbox in the transaction of the change, and sent from there until the control
//! plane has accepted it. **Invariant.** A change that is committed is purged, no matter which process dies when;
//! an order may be sent twice, which harms nobody.

mod config;
mod control_plane;
mod jobs;
pub mod store;

pub use config::Config;
pub use jobs::send_orders;
