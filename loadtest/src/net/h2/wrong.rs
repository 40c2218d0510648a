//! What a server says that is no HTTP/2: the connection ends by it.
//!
//! Invariant: the text is ours, never the server's.

/// An error of the connection, with the code that the server is told (RFC 9113 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) code: u32,
    pub(super) detail: &'static str,
}

impl Wrong {
    pub(super) fn new(code: u32, detail: &'static str) -> Self {
        Self { code, detail }
    }
}
