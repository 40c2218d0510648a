//! The origin as clients, packagers and edges see it, over real sockets.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod harness;

mod auth;
mod bad_input;
mod catalog;
mod command;
mod crash;
mod delivery;
mod events;
mod package;
mod purge;
mod tls;
mod upload;
mod watch;
