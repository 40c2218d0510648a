//! Stories of a node and its control plane, over real sockets and real certificates, against a scripted server.

mod enrolment;
mod fake;
mod node;
mod purge;
mod snapshot;
