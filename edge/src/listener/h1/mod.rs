//! HTTP/1.0 and HTTP/1.1 on one connection: strict in what is taken, one exchange after the other.
//!
//! Bytes pass `scan` (where does the head end, are its lines lines?), `head` (what does it say?) and `chunked`; they
//! refuse whatever two readers could read differently. Invariant: nothing of a request that is refused reaches the
//! app, and the connection ends with the refusal, because nobody can tell where the next request begins.

mod conversation; // one exchange after the other, until somebody ends it
mod stream; // one exchange as the app sees it
mod connection; // what has come and what is to leave
mod output; // pieces that wait to be written, in one system call where possible
pub mod response; // the lines of a response's head
pub mod head; // a whole head
pub mod scan; // where a head ends
pub mod chunked; // a body in chunks
#[cfg(test)]
mod strictness; // the table of what is refused

pub(super) use self::conversation::converse;
