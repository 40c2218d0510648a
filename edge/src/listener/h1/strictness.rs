//! What is refused, with its well-formed neighbours, and that no cut on the way changes anything.

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    head::{self, Head},
    scan::{Found, Limits, Scan},
};
use crate::listener::{refusal::Refusal, stream::BodyLength};

const LIMITS: Limits = Limits { line_bytes_max: 200, bytes_max: 2_000, headers_max: 20 };

/// Reads a head as a connection does; `None` when it has not ended.
fn read(text: &[u8]) -> Result<Option<Head>, Refusal> {
    match Scan::default().go_on(text, &LIMITS)? {
        Found::More => Ok(None),
        Found::Head { begin, end, .. } => {
            head::read(&Bytes::copy_from_slice(&text[begin..end])).map(Some)
        }
    }
}

/// The status of the refusal, 0 when the head is taken, 1 when it has not ended.
fn status(text: &[u8]) -> u16 {
    match read(text) {
        Ok(Some(_)) => 0,
        Ok(None) => 1,
        Err(refusal) => refusal.status().as_u16(),
    }
}

#[test]
fn whatever_can_be_read_in_two_ways_is_refused() {
    for (status_expected, text) in REFUSED {
        assert_eq!(status(text.as_bytes()), *status_expected, "{text:?}");
    }
    assert!(REFUSED.len() > 100, "{}", REFUSED.len());
}

#[test]
fn the_well_formed_neighbours_are_taken() {
    for text in TAKEN {
        assert_eq!(status(text.as_bytes()), 0, "{text:?}: {:?}", read(text.as_bytes()).err());
    }
    // Latin-1 in a value is opaque but allowed (RFC 9110 5.5).
    assert_eq!(status(b"GET / HTTP/1.1\r\nhost: a\r\nx: \xe4\r\n\r\n"), 0);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    for text in [
        &b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nhost: \xe4.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx\xe4: y\r\n\r\n",
        b"G\xc9T / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\xa0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: \xb2\r\n\r\n",
    ] {
        assert!(matches!(status(text), 400 | 501), "{:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_head_says_what_the_app_needs() {
    let read = |text: &str| read(text.as_bytes()).unwrap().unwrap();
    let head = read(
        "POST HTTP://A.test:80?q HTTP/1.1\r\nHost: a.test:80\r\nConnection: close, X-Hop, te\r\nX-Hop: 1\r\n\
         TE: gzip\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nContent-Length: 007\r\nExpect: 100-continue\r\nCookie: a=1\r\n\
         cookie: b=2\r\nX-Blank:  \t v w \t\r\nX-Empty:\r\n\r\n",
    );
    assert_eq!((head.authority.as_str(), head.target.as_str()), ("A.test:80", "/?q"));
    assert_eq!(head.body, BodyLength::Known(7));
    assert!(!head.is_kept_alive && !head.is_http10 && head.expects_continue);
    let mut names: Vec<_> = head.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "cookie", "x-blank", "x-empty"]);
    assert_eq!(head.headers["x-blank"], "v w");
    assert_eq!(head.headers["content-length"], "7");
    assert_eq!(head.headers["cookie"], "a=1; b=2");

    let old = read("GET / HTTP/1.0\r\n\r\n");
    assert!(old.is_http10 && !old.is_kept_alive && old.authority.is_empty());
    assert!(read("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n").is_kept_alive);
    assert!(read("GET / HTTP/1.1\r\nhost: a\r\n\r\n").is_kept_alive);
    assert_eq!(read("OPTIONS http://a HTTP/1.1\r\nhost: a\r\n\r\n").target.as_str(), "*");
    assert_eq!(read("GET http://a HTTP/1.1\r\nhost: a\r\n\r\n").target.as_str(), "/");
    let chunked = read("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n");
    assert_eq!(chunked.body, BodyLength::Unknown);
    assert!(!chunked.headers.contains_key("transfer-encoding"));
}

/// As a connection whose input comes in pieces of these lengths.
fn read_cut(
    text: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<Option<(usize, usize)>, Refusal> {
    let (mut scan, mut end) = (Scan::default(), 0);
    for cut in cuts.into_iter().chain([text.len()]) {
        end = (end + cut).min(text.len());
        if let Found::Head { begin, end, .. } = scan.go_on(&text[..end], &LIMITS)? {
            head::read(&Bytes::copy_from_slice(&text[begin..end]))?;
            return Ok(Some((begin, end)));
        }
    }
    Ok(None)
}

#[test]
fn byte_by_byte_everything_reads_the_same() {
    let refused = REFUSED.iter().map(|(_, text)| *text);
    for text in refused.chain(TAKEN.iter().copied()) {
        let whole = read_cut(text.as_bytes(), [text.len()]);
        assert_eq!(read_cut(text.as_bytes(), vec![1; text.len()]), whole, "{text:?}");
        for cut in 0..text.len() {
            assert_eq!(read_cut(text.as_bytes(), [cut]), whole, "{text:?} at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn noise_and_cuts_change_nothing_but_what_they_say(
        base in prop::sample::select(TAKEN),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cuts in prop::collection::vec(1usize..40, 0..20),
    ) {
        let mut text = base.as_bytes().to_vec();
        for (at, byte) in noise {
            let at = at.index(text.len());
            text[at] = byte;
        }
        prop_assert_eq!(read_cut(&text, cuts), read_cut(&text, [text.len()]));
    }

    #[test]
    fn what_is_taken_has_no_control_characters(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut text = b"GET / HTTP/1.1\r\nhost: a\r\nx: ".to_vec();
        text.extend_from_slice(&bytes);
        text.extend_from_slice(b"\r\n\r\n");
        if let Ok(Some(head)) = read(&text) {
            for value in head.headers.values() {
                prop_assert!(value.as_bytes().iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f)));
            }
        }
    }
}

/// The status and the text that gets it.
#[rustfmt::skip]
const REFUSED: &[(u16, &str)] = &[
    // line ends
    (400, "GET / HTTP/1.1\nhost: a\n\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\n\n"),
    (400, "GET / HTTP/1.1\rhost: a\r\r"),
    (400, "GET / HTTP/1.1\r\nhost: a\rx: y\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\r\n\r\n"),
    (400, "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "\rGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    // the first line
    (400, "GET / HTTP/1.1 \r\nhost: a\r\n\r\n"),
    (400, " GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET  / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /  HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /\tHTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /\x0bHTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /\r\nhost: a\r\n\r\n"),
    (400, "GET /\r\n\r\n"),
    (400, "GET HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET  HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, " / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "G(T / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET: / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "\"GET\" / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nhost: a\r\n\r\n"),
    // versions
    (400, "GET / http/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / Http/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.10\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/01.1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP 1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/+1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTPS/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / ICY/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.2\r\n\r\n"),
    (505, "GET / HTTP/0.9\r\nhost: a\r\n\r\n"),
    (505, "GET / HTTP/2.0\r\nhost: a\r\n\r\n"),
    (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    // methods that are not offered
    (501, "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n"),
    (501, "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"),
    // targets
    (400, "GET a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET a.test HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    (400, "GET a.test:80 HTTP/1.1\r\nhost: a.test:80\r\n\r\n"),
    (400, "GET * HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET ?q HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /a?b#c HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET #a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /ä HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /a\\b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET \\a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /<a> HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /\x7f HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "OPTIONS ** HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http:// HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http:///a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http:/a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http:a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET ://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET //a/ x HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://a:80/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://u@a/ HTTP/1.1\r\nhost: u@a\r\n\r\n"),
    (400, "GET http://a#b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://a/ HTTP/1.1\r\n\r\n"),
    (400, "GET http://a b/ HTTP/1.1\r\nhost: a b\r\n\r\n"),
    (400, "GET http://[::1/ HTTP/1.0\r\n\r\n"),
    // hosts
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nx: y\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost:\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n"),
    (400, "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: http://a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a:\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a:b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a:99999\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a:80:80\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a%00b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n"),
    // header lines
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\n: y\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx\t: y\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost : a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n host: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\n x: y\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\tz\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n \r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx(y): z\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\n\"x\": z\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: a\x01b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: a\x0bb\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: a\x7f\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx\0: y\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nä: y\r\n\r\n"),
    // lengths
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5,\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 6\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5.0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1e1\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \"5\"\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent_length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\nContent-Length : 5\r\n\r\n"),
    // transfer codings
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked,\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: , chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked;a=b\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \"chunked\"\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked foo\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer_encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer.encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity, chunked\r\n\r\n"),
    // options of the connection, expectations
    (400, "GET / HTTP/1.1\r\nhost: a\r\nconnection: host\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\nconnection: close, content-length\r\ncontent-length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\nconnection: Transfer-Encoding\r\ntransfer-encoding: chunked\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nconnection: a b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, CDN-Loop\r\ncdn-loop: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nconnection: via\r\n\r\n"),
    (417, "POST / HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\ncontent-length: 5\r\n\r\n"),
    (417, "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nexpect: x\r\ncontent-length: 5\r\n\r\n"),
    // other protocols
    (400, "\x16\x03\x01\x02\0\x01\0\x01"),
    (400, "SSH-2.0-x\r\n\r\n"),
];

const TAKEN: &[&str] = &[
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHOST:a\r\n\r\n",
    "GET / HTTP/1.1\r\nhost:\t a \t\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
    "POST / HTTP/1.9\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
    "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
    "M-SEARCH /a?b=c&d=%20 HTTP/1.1\r\nhost: a.test:8080\r\n\r\n",
    "get / HTTP/1.1\r\nhost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "OPTIONS http://a HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET http://A/x HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET https://[::1]:443/ HTTP/1.1\r\nhost: [::1]:443\r\n\r\n",
    "GET http://a/ HTTP/1.0\r\n\r\n",
    "GET //a//b/../c HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /a?b={c}|d HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx:\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx: a\tb: c\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx_y: z\r\n!#$%&'*+-.^_`|~1: z\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: close,,x\r\nx: 1\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:  5 \r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\tCHUNKED \r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ncontent-length: 5\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue, 100-continue\r\nexpect:\r\ncontent-length: 5\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
];
