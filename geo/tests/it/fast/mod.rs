//! The fast path of UDP: the same answers as the handler's, over real sockets too.

mod differential;
mod plain;
mod sockets;
mod stage;
