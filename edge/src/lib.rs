//! The PoP node: terminates HTTP/1, 2 and 3, answers from a cache, fills from a shield or an origin.
//!
//! Modules stand in the order a request meets them. A module may use only modules listed below it. The cache core
//! (`cache`) knows nothing of sockets, so that another front could use it.

pub mod one_line; // a whole configuration in a few flags
pub mod check_release; // judges a release in a process of its own
pub mod node; // builds the parts, binds first, serves, drains
pub mod watch; // the process beside the node that withdraws its routes when it does not serve
mod self_check; // what the node finds when an operator has it look at itself
mod admin; // what operators ask at the admin port
pub mod engine; // the parts that answer, without sockets
pub mod config; // the node's settings, part by part
pub mod memory; // the most that the settings allow
pub mod upgrade; // hands over to a new process
pub mod anycast; // what is announced, how strongly, and whether this node serves at all
pub mod exchange; // one exchange, phase by phase
pub mod guard; // may this request be answered at all?
pub mod fetch; // what happens when the store alone does not answer
pub mod upstream; // which upstream is asked, and with what
pub mod listener; // sockets become requests and streams; met first, but it knows nothing of who answers
pub mod control; // snapshots and purges in, health out
pub mod cache; // key, freshness, tiers, purge
pub mod demand; // what clients ask for most
pub mod policy; // what the control plane last told us
pub mod metrics; // every number we publish
pub mod error; // whose fault, which status
