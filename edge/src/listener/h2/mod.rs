//! HTTP/2 (RFC 9113) on one connection: frames, header sections, streams and their windows.
//!
//! Requests are served inside the connection's own task as long as they need not wait, and everything that became
//! ready in one turn leaves in one write. What can be decided from bytes alone is pure and stands in the lower half.
//! Invariant: whatever breaks the protocol ends the stream or the connection with the code that the RFC has for it,
//! before anybody else sees the request; and a client that floods the connection with frames that move nothing loses
//! it.

mod conversation; // the turns of a connection, from its preface to its end
mod arrival; // frames become changes, header sections become requests
mod stream; // one exchange as the app sees it
mod shared; // what the exchanges of a connection share
mod state; // streams and windows, and what waits to leave
mod streams; // which are open, which have ended lately
mod output; // frames and content on their way out
mod order; // whose turn it is while the way is narrow
mod floods; // how many frames may move nothing
pub mod flow; // windows
pub mod response; // a response's header section
pub mod request; // a request's
pub mod reader; // bytes as they come, whole frames
pub mod hpack;
pub mod frame;
pub mod code;
#[cfg(test)]
mod interop; // with the client of the h2 crate

pub(super) use self::conversation::converse;
