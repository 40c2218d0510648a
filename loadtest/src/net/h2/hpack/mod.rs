//! HPACK (RFC 7541) as a client that keeps little needs it. Pure.
//!
//! Requests are written as literals that the server's table never holds, so that writing has no state; reading has the
//! table of 4 KiB that every server may count on. Invariant: a section is read as a whole or the connection ends, so that
//! the table stays what the server takes it for.

mod decode;
mod encode;
mod table;
mod statics;

pub(super) use self::{decode::Decoder, encode::encode};
