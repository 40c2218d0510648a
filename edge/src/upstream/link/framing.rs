//! Where the body of an answer ends (RFC 9112 6.3), and which answers are refused because two readers could disagree
//! about it.
//!
//! Pure. Invariant: there is exactly one reading of every head that is accepted.

use http::{HeaderMap, Method, StatusCode, header};

/// What follows the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Whatever comes until the connection is closed.
    UntilClose,
}

/// Why an answer cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::upstream) struct Malformed(pub(super) &'static str);

/// What follows the head of an answer of HTTP/1.
pub(super) fn of_h1(
    method: &Method,
    status: StatusCode,
    is_http_1_1: bool,
    headers: &HeaderMap,
) -> Result<Framing, Malformed> {
    let length = length(headers)?;
    let coding = transfer_coding(headers)?;
    if coding.is_some() && length.is_some() {
        return Err(Malformed("both content-length and transfer-encoding"));
    }
    if coding.is_some() && !is_http_1_1 {
        return Err(Malformed("transfer-encoding in HTTP/1.0"));
    }
    if is_without_body(method, status, length, coding.is_some())? {
        return Ok(Framing::Empty);
    }
    Ok(match (coding, length) {
        (Some(Coding::Chunked), _) => Framing::Chunked,
        (None, Some(0)) => Framing::Empty,
        (None, Some(length)) => Framing::Length(length),
        (Some(Coding::Other), None) | (None, None) => Framing::UntilClose,
        (Some(Coding::Other), Some(_)) => return Err(Malformed("two lengths")),
    })
}

/// How long the body of an answer of H2 must be, if it says.
pub(super) fn of_h2(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<u64>, Malformed> {
    let length = length(headers)?;
    let is_empty = is_without_body(method, status, length, false)?;
    Ok(if is_empty { Some(0) } else { length })
}

/// The length that the headers announce.
pub(super) fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed("two content-lengths"));
    }
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("content-length is not a number"));
    }
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or(Malformed("content-length is too large"))
}

/// How a body is coded for the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    /// One that nobody here knows; its body ends with the connection (RFC 9112 6.3).
    Other,
}

fn transfer_coding(headers: &HeaderMap) -> Result<Option<Coding>, Malformed> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed("two transfer-encodings"));
    }
    let name = value.as_bytes().to_ascii_lowercase();
    let is_token = !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric);
    match &name[..] {
        b"chunked" => Ok(Some(Coding::Chunked)),
        // Readers disagree on these: long obsolete, or written by who means something else.
        b"identity" | b"close" | b"none" => Err(Malformed("transfer-encoding without meaning")),
        _ if is_token && !name.windows(5).any(|part| part == b"chunk") => Ok(Some(Coding::Other)),
        _ => Err(Malformed("transfer-encoding is not chunked alone")),
    }
}

fn is_without_body(
    method: &Method,
    status: StatusCode,
    length: Option<u64>,
    is_chunked: bool,
) -> Result<bool, Malformed> {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // A length of zero is forbidden too, but it is common and says the same.
        if is_chunked || length.is_some_and(|length| length > 0) {
            return Err(Malformed("a body where none can be"));
        }
        return Ok(true);
    }
    // RFC 9110 15.3.6; clients that go by it would take the content for the next answer.
    if status == StatusCode::RESET_CONTENT && length.is_some_and(|length| length > 0) {
        return Err(Malformed("content where none may be"));
    }
    Ok(method == Method::HEAD || status == StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        method: Method,
        status: u16,
        is_1_1: bool,
        fields: &[(&'static str, &str)],
    ) -> Result<Framing, Malformed> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        of_h1(&method, StatusCode::from_u16(status).unwrap(), is_1_1, &headers)
    }

    #[test]
    fn the_head_says_where_the_body_ends() {
        const CL: &str = "content-length";
        const TE: &str = "transfer-encoding";
        for (method, status, fields, expected) in [
            (Method::GET, 200, vec![(CL, "5")], Framing::Length(5)),
            (Method::GET, 200, vec![(CL, "0")], Framing::Empty),
            (Method::GET, 200, vec![(TE, "Chunked")], Framing::Chunked),
            (Method::GET, 200, vec![], Framing::UntilClose),
            (Method::GET, 200, vec![(TE, "xyz")], Framing::UntilClose),
            (Method::HEAD, 200, vec![(CL, "5")], Framing::Empty),
            (Method::HEAD, 200, vec![(TE, "chunked")], Framing::Empty),
            (Method::GET, 304, vec![(CL, "5")], Framing::Empty),
            (Method::GET, 204, vec![(CL, "0")], Framing::Empty),
            (Method::GET, 103, vec![], Framing::Empty),
        ] {
            assert_eq!(of(method, status, true, &fields), Ok(expected), "{status} {fields:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        const CL: &str = "content-length";
        const TE: &str = "transfer-encoding";
        for (status, is_1_1, fields) in [
            (200, true, vec![(CL, "5"), (TE, "chunked")]),
            (200, true, vec![(CL, "5"), (CL, "5")]),
            (200, true, vec![(CL, "5, 5")]),
            (200, true, vec![(CL, "+5")]),
            (200, true, vec![(CL, "-1")]),
            (200, true, vec![(CL, "0x5")]),
            (200, true, vec![(CL, "")]),
            (200, true, vec![(CL, "18446744073709551616")]),
            (200, true, vec![(TE, "gzip, chunked")]),
            (200, true, vec![(TE, "chunked"), (TE, "chunked")]),
            (200, true, vec![(TE, "identity")]),
            (200, true, vec![(TE, "xchunked")]),
            (200, true, vec![(TE, "xyz"), (CL, "5")]),
            (200, true, vec![(TE, "chunked;q=1")]),
            (200, false, vec![(TE, "chunked")]),
            (205, true, vec![(CL, "5")]),
            (204, true, vec![(CL, "5")]),
            (204, true, vec![(TE, "chunked")]),
            (103, true, vec![(CL, "5")]),
        ] {
            assert!(of(Method::GET, status, is_1_1, &fields).is_err(), "{status} {fields:?}");
            if status == 200 {
                assert!(of(Method::HEAD, status, is_1_1, &fields).is_err(), "HEAD {fields:?}");
            }
        }
    }
}
