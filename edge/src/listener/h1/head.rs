//! Reads a request's head (RFC 9112 2 to 6) and refuses whatever two readers could read differently. Pure.
//!
//! Invariant: a head that is read has one host, one length of body and one target, and no header that concerns the
//! connection alone.

use bytes::Bytes;
use http::{
    HeaderMap, Method,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
    },
    uri::PathAndQuery,
};

use super::super::{
    authority,
    field_line::is_framing_in_disguise,
    refusal::Refusal,
    request::{content_length, join_cookies, take_expectation},
    stream::BodyLength,
};
use super::scan::plain_bytes;

/// What a head says.
#[derive(Debug, Clone)]
pub struct Head {
    /// Neither CONNECT nor TRACE.
    pub method: Method,
    /// The host with its port; empty when a client of HTTP/1.0 names none.
    pub authority: String,
    /// An absolute path with its query, or `*`.
    pub target: PathAndQuery,
    /// End-to-end headers, without `Host`.
    pub headers: HeaderMap,
    /// What follows; `Unknown` when it comes in chunks.
    pub body: BodyLength,
    /// The client speaks HTTP/1.0.
    pub is_http10: bool,
    /// The connection may be used again afterwards.
    pub is_kept_alive: bool,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The client keeps trailers of a response.
    pub takes_trailers: bool,
}

/// Reads a head: its lines without the empty one at the end.
///
/// # Errors
/// The rule that it breaks.
pub fn read(head: &Bytes) -> Result<Head, Refusal> {
    let end = line_end(head, 0);
    let first = first_line(&head[..end])?;
    let mut headers = HeaderMap::with_capacity(HEADERS_EXPECTED);
    let mut at = end + 2;
    while at < head.len() {
        let end = line_end(head, at);
        let (name, value) = header_line(head, at, end)?;
        headers.append(name, value);
        at = end + 2;
    }
    let options = connection_options(&headers)?;
    let body = body_length(&headers, first.is_http10)?;
    let (authority, target) = target_and_host(&first, head, &headers)?;
    let is_kept_alive = !options.has_close && (!first.is_http10 || options.has_keep_alive);
    let takes_trailers = headers.get_all(TE).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name.eq_ignore_ascii_case(b"trailers"))
    });
    remove_hop_by_hop(&mut headers, &options);
    let expects_continue =
        take_expectation(&mut headers)? && !first.is_http10 && body != BodyLength::Empty;
    join_cookies(&mut headers);
    if let BodyLength::Known(length) = body {
        // Digits, but perhaps with zeros in front.
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(Head {
        method: first.method,
        authority,
        target,
        headers,
        body,
        is_http10: first.is_http10,
        is_kept_alive,
        expects_continue,
        takes_trailers,
    })
}

/// Reads one field line (RFC 9112 5); also used for trailers.
pub(super) fn header_line(
    section: &Bytes,
    begin: usize,
    end: usize,
) -> Result<(HeaderName, HeaderValue), Refusal> {
    let line = &section[begin..end];
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::Malformed("folded header line"));
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Err(Refusal::Malformed("header line without colon"));
    };
    let name = &line[..colon];
    // Also what has a blank before the colon.
    if name.is_empty() || !name.iter().all(|byte| IS_TOKEN[usize::from(*byte)]) {
        return Err(Refusal::Malformed("header name"));
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = &line[colon + 1..];
    let skipped = value.iter().take_while(|byte| is_blank(byte)).count();
    let trailing = value[skipped..].iter().rev().take_while(|byte| is_blank(byte)).count();
    let range = begin + colon + 1 + skipped..end - trailing;
    let name = HeaderName::from_bytes(name).map_err(|_| Refusal::Malformed("header name"))?;
    if is_framing_in_disguise(name.as_str()) {
        return Err(Refusal::Malformed("header name that some readers take for another"));
    }
    let value = HeaderValue::from_maybe_shared(section.slice(range))
        .map_err(|_| Refusal::Malformed("header value"))?;
    Ok((name, value))
}

/// The characters of a token (RFC 9110 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| IS_TOKEN[usize::from(*byte)])
}

struct FirstLine {
    method: Method,
    /// Where the target stands in the head.
    target: std::ops::Range<usize>,
    is_http10: bool,
}

/// What `Connection` says.
#[derive(Default)]
struct Options {
    has_close: bool,
    has_keep_alive: bool,
    named: Vec<HeaderName>,
}

fn first_line(line: &[u8]) -> Result<FirstLine, Refusal> {
    let mut blanks = line.iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(at, _)| at);
    let (Some(first), Some(second), None) = (blanks.next(), blanks.next(), blanks.next()) else {
        return Err(Refusal::Malformed("the first line is not method, target and version"));
    };
    let (method, version) = (&line[..first], &line[second + 1..]);
    let is_http10 = match version {
        b"HTTP/1.0" => true,
        // What is newer than we are is spoken to as far as we are (RFC 9110 2.5).
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => false,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::Malformed("version")),
    };
    if !is_token(method) || method.len() > METHOD_BYTES_MAX {
        return Err(Refusal::Malformed("method"));
    }
    let method = Method::from_bytes(method).map_err(|_| Refusal::Malformed("method"))?;
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    if first + 1 == second {
        return Err(Refusal::Malformed("no target"));
    }
    Ok(FirstLine { method, target: first + 1..second, is_http10 })
}

/// The one host and the target in origin form (RFC 9112 3.2).
fn target_and_host(
    first: &FirstLine,
    head: &Bytes,
    headers: &HeaderMap,
) -> Result<(String, PathAndQuery), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("more than one host"));
    }
    if host.is_none() && !first.is_http10 {
        return Err(Refusal::Malformed("no host"));
    }
    let text = head.slice(first.target.clone());
    let (named, target) = if text[0] == b'/' || &text[..] == b"*" {
        (None, authority::target(&first.method, text)?)
    } else {
        let (named, path) = absolute_form(&text)?;
        let is_star = path.is_empty() && first.method == Method::OPTIONS;
        let path = match path.first() {
            Some(b'/') => path,
            None if is_star => Bytes::from_static(b"*"),
            _ => [b"/", &path[..]].concat().into(),
        };
        (Some(named), authority::target(&first.method, path)?)
    };
    let name = match (named, host) {
        // RFC 9112 3.2.2 lets the target's authority win; where both differ somebody is up to something.
        (Some(named), Some(host)) if !authority::is_same(&named, host) => {
            return Err(Refusal::Malformed("host differs from the target's"));
        }
        (Some(named), _) => named,
        (None, Some(host)) => Bytes::copy_from_slice(host),
        (None, None) => return Ok((String::new(), target)),
    };
    authority::check(&name)?;
    // What was checked is ASCII.
    Ok((String::from_utf8_lossy(&name).into_owned(), target))
}

/// Takes `http://authority` and what follows it apart.
fn absolute_form(text: &Bytes) -> Result<(Bytes, Bytes), Refusal> {
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            text.len() > scheme.len() && text[..scheme.len()].eq_ignore_ascii_case(scheme)
        })
        .ok_or(Refusal::Malformed("the target is not an absolute path"))?;
    let rest = text.slice(scheme.len()..);
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    Ok((rest.slice(..end), rest.slice(end..)))
}

/// One way to tell where the body ends, or none at all (RFC 9112 6.3).
fn body_length(headers: &HeaderMap, is_http10: bool) -> Result<BodyLength, Refusal> {
    let length = content_length(headers)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(length.map_or(BodyLength::Empty, BodyLength::Known));
    };
    if length.is_some() {
        return Err(Refusal::Malformed("both content-length and transfer-encoding"));
    }
    if is_http10 {
        return Err(Refusal::Malformed("transfer-encoding in HTTP/1.0"));
    }
    if codings.next().is_some() {
        return Err(Refusal::Malformed("more than one transfer-encoding"));
    }
    if coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(BodyLength::Unknown);
    }
    Err(why_not_chunked(coding.as_bytes()))
}

/// Why a transfer-encoding is not the one that we take: nonsense, or something that we do not know.
fn why_not_chunked(value: &[u8]) -> Refusal {
    let mut names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked");
    let last = names.next_back().unwrap_or_default();
    let mut before = names;
    if is_chunked(last) && before.all(|name| is_token(name) && !is_chunked(name)) {
        return Refusal::Coding;
    }
    if is_token(value) {
        // One coding that is not chunked: the body would end with the connection, which requests cannot.
        return Refusal::Coding;
    }
    Refusal::Malformed("transfer-encoding")
}

fn connection_options(headers: &HeaderMap) -> Result<Options, Refusal> {
    let mut options = Options::default();
    for value in headers.get_all(CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.is_empty() {
                continue;
            }
            let name = HeaderName::from_bytes(option)
                .map_err(|_| Refusal::Malformed("connection option"))?;
            match name.as_str() {
                "close" => options.has_close = true,
                "keep-alive" => options.has_keep_alive = true,
                // Taking these away would change what the request means (RFC 9110 7.6.1), or hide a circle.
                "host" | "content-length" | "transfer-encoding" | "content-type"
                | "authorization" | "cookie" | "range" | "via" | "cdn-loop" => {
                    return Err(Refusal::Malformed("connection option that is no option"));
                }
                _ => options.named.push(name),
            }
        }
    }
    Ok(options)
}

fn remove_hop_by_hop(headers: &mut HeaderMap, options: &Options) {
    for name in &options.named {
        headers.remove(name);
    }
    for name in [&CONNECTION, &HOST, &TE, &TRANSFER_ENCODING, &UPGRADE] {
        headers.remove(name);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
}

/// Where the line ends that begins at `at`; the scan has seen that nothing but CR LF ends it.
fn line_end(head: &[u8], at: usize) -> usize {
    at + plain_bytes(&head[at..])
}

const fn tokens() -> [bool; 256] {
    let mut table = [false; 256];
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < 256 {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}

static IS_TOKEN: [bool; 256] = tokens();
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Headers for which room is made at once; browsers send about so many.
const HEADERS_EXPECTED: usize = 16;
/// The longest registered method has 17.
const METHOD_BYTES_MAX: usize = 32;
