//! `--trace`: every call of the API on standard error, one line when it has ended.
//!
//! Method, address, status, time, the server's id of the call, sizes. Invariant: neither heads nor bodies are shown, since
//! tokens and secrets travel in them; nor is a password in the address.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use reqwest::{Request, Response};
use url::Url;

/// How calls are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    /// The longest that one may take.
    pub(super) timeout: Duration,
    /// Whether each is shown.
    pub(super) is_traced: bool,
}

/// A call under way that is shown when it has ended.
pub(super) struct Trace {
    what: String,
    sent: usize,
    began: Instant,
}

impl Trace {
    /// A call that is about to be made.
    pub(super) fn begin(request: &Request) -> Self {
        let sent = request.body().and_then(reqwest::Body::as_bytes).map_or(0, <[u8]>::len);
        let what = format!("{} {}", request.method(), shown(request.url()));
        Self { what, sent, began: Instant::now() }
    }

    /// The head of the answer is here.
    pub(super) fn answered(self, response: &Response) {
        let id = response.headers().get(ID_HEADER).and_then(|id| id.to_str().ok());
        let received = response.content_length();
        self.write(&format!(
            "{} id={} received={}",
            response.status().as_u16(),
            id.unwrap_or("-"),
            received.map_or_else(|| "?".to_owned(), |bytes| format!("{bytes}B")),
        ));
    }

    /// There is no answer.
    pub(super) fn failed(self, why: &str) {
        self.write(&format!("no answer: {why}"));
    }

    fn write(self, end: &str) {
        let Self { what, sent, began } = self;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        // Nobody may be reading.
        let _ = writeln!(io::stderr(), "trace: {what} sent={sent}B {took:.1}ms {end}");
    }
}

/// An address without a name and a password in it.
fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    // Addresses that cannot have any are shown as they are.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// The server's id of a call; its log has it too.
const ID_HEADER: &str = "tidegate-request-id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let url = Url::parse("https://ann:secret@a.org/v1/pops?limit=3").expect("good");
        assert_eq!(shown(&url).as_str(), "https://a.org/v1/pops?limit=3");
    }
}
