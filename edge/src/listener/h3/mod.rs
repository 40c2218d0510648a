//! HTTP/3 (RFC 9114): frames, field sections, and the streams of a connection.
//!
//! What can be decided from bytes alone is pure and stands in the lower half; `connection`, `exchange` and `stream` put
//! it on QUIC's streams. Invariant: whatever breaks the protocol ends the stream or the connection with the code that
//! the RFC has for it, before anybody else sees the request.

mod connection; // accepts, answers at once or spawns, takes its leave
mod uni; // control stream and QPACK streams
mod stream; // one exchange, as the app sees it
mod incoming; // its receiving half
mod outgoing; // its sending half
mod peer; // what the streams of a connection share
mod windows; // how much of a connection may be on its way
mod worker; // what the connections of a worker share
pub mod response; // a response's frames
mod pace; // is the client fast enough
pub mod message; // the frames of one request
pub mod request; // its header section
pub mod control; // the client's control stream
pub mod settings;
pub mod priority;
pub mod qpack;
pub mod frame;
pub mod code;

pub(super) use connection::converse;
pub(super) use worker::Worker;
