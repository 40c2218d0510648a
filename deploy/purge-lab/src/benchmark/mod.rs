//! The benchmark: real control plane, real agents, real TCP, over a lab's Internet.
//!
//! Every process is one of its own, in a network namespace of its own; all share one machine and one clock, so that
//! times of different processes can be subtracted.

pub mod run; // the whole: stages, phases, report
mod stage; // the processes of one setting
mod report; // figures as a page
mod figures; // percentiles
mod cpu; // what a process used
pub mod order; // orders purges and says when
pub mod agent; // one PoP, which says when it applied them
