//! TCP: accepts connections, does TLS, and hands them to H1 or H2 as ALPN says.
//!
//! Invariant: a connection is bounded in time from its first moment: handshake, header, body, writing and idleness
//! each have a limit.

mod accept; // connections come in
mod handover; // sockets that a supervisor or an earlier process has bound
mod socket; // sockets that this process binds
mod transport; // the bytes of one connection
mod way; // what the kernel measures

pub(super) use self::{
    accept::accept,
    handover::{Inherited, share},
    socket::bind,
    transport::Transport,
};
