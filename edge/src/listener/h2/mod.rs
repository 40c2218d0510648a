//! HTTP/2 on one connection: the h2 crate reads and writes frames; here stand what it leaves open.
//!
//! Requests are served inside the connection's own task as long as they need not wait, and everything that became
//! ready in one turn leaves in one write. Invariant: a client that floods the connection with frames that move nothing
//! loses it.

mod conversation; // the streams of one connection, each an exchange
mod stream; // one exchange as the app sees it
mod exchanges; // what the exchanges of a connection share
mod order; // whose turn it is while the way is narrow
mod gather; // the connection as the h2 crate sees it
mod frame_watch; // which frames come, and how often

pub(super) use self::conversation::converse;
