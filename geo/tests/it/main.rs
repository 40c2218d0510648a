//! `tidegate-geo` as a user runs it.

mod command;
<<<<<<< HEAD
mod fast;
=======
>>>>>>> part/geo-steer
mod dns;
mod dnssec;
mod dnssec_node;
mod encrypted;
mod fetch;
mod harness;
mod live;
mod steer;
