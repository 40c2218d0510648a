//! Requests of HTTP/2 and HTTP/3 whose fields break the protocol (RFC 9113 8.2 and 8.3, RFC 9114 4.2 and 4.3).
//!
//! One table for the stories of both; the long one stands beside the reader of header sections. Invariant: a request
//! of the table differs from [`GET`] by its fault alone.

/// A name and a value.
pub(crate) type Field = (&'static str, &'static str);

/// What the app of both stories answers.
pub(crate) const GET: [Field; 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/bytes/5")];

/// What is wrong, and the request.
pub(crate) fn requests() -> Vec<(&'static str, Vec<Field>)> {
    vec![
        ("connection", and(&[("connection", "close")])),
        ("keep-alive", and(&[("keep-alive", "5")])),
        ("proxy-connection", and(&[("proxy-connection", "close")])),
        ("transfer-encoding", and(&[("transfer-encoding", "chunked")])),
        ("transfer-encoding in disguise", and(&[("transfer_encoding", "chunked")])),
        ("upgrade", and(&[("upgrade", "websocket")])),
        ("te", and(&[("te", "gzip")])),
        ("capital name", and(&[("X-Up", "1")])),
        ("line end in a value", and(&[("x-a", "1\r\nx-b: 2")])),
        ("nul in a value", and(&[("x-a", "1\x002")])),
        ("blank in a name", and(&[("x a", "1")])),
        ("another host", and(&[("host", "elsewhere.test")])),
        ("two hosts", and(&[("host", "localhost"), ("host", "localhost")])),
        ("conflicting lengths", and(&[("content-length", "1"), ("content-length", "2")])),
        ("length that is no number", and(&[("content-length", "x")])),
        ("length with a sign", and(&[("content-length", "+0")])),
        ("length in disguise", and(&[("content_length", "0")])),
        ("unknown pseudo-header", and(&[(":other", "1")])),
        ("status", and(&[(":status", "200")])),
        ("method twice", and(&[(":method", "GET")])),
        ("pseudo-header behind a field", [&[("x", "y")][..], &GET[..]].concat()),
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no scheme", without(":scheme")),
        ("no authority and no host", without(":authority")),
        ("empty path", with(":path", "")),
        ("path without slash", with(":path", "x")),
        ("absolute path field", with(":path", "http://elsewhere.test/")),
        ("star for GET", with(":path", "*")),
        ("blank in the path", with(":path", "/a b")),
        ("line end in the path", with(":path", "/a\r\nhost: x")),
        ("fragment", with(":path", "/a#b")),
        ("user information", with(":authority", "user@localhost")),
        ("empty authority", with(":authority", "")),
        ("foreign scheme", with(":scheme", "ftp")),
        ("no method name", with(":method", "G E T")),
        ("tunnel with a path", with(":method", "CONNECT")),
    ]
}

fn with(name: &'static str, value: &'static str) -> Vec<Field> {
    GET.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect()
}

fn without(name: &str) -> Vec<Field> {
    GET.iter().copied().filter(|(n, _)| *n != name).collect()
}

fn and(more: &[Field]) -> Vec<Field> {
    [&GET[..], more].concat()
}
