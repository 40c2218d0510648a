//! Stories of the client side: upstreams that answer well, badly, late or not at all, over real sockets.

#![allow(clippy::unwrap_used)] // a story that cannot go on should stop right there

mod harness;

mod authority;
mod body;
mod connection;
mod health;
mod hedge;
mod interim;
mod malformed;
mod order;
mod siblings;
