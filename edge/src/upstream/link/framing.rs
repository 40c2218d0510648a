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
    let is_chunked = is_chunked(headers)?;
    if is_chunked && length.is_some() {
        return Err(Malformed("both content-length and transfer-encoding"));
    }
    if is_chunked && !is_http_1_1 {
        return Err(Malformed("transfer-encoding in HTTP/1.0"));
    }
    if is_without_body(method, status, length, is_chunked)? {
        return Ok(Framing::Empty);
    }
    Ok(match (is_chunked, length) {
        (true, _) => Framing::Chunked,
        (false, Some(0)) => Framing::Empty,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
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

fn is_chunked(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(false) };
    if values.next().is_none() && value.as_bytes().eq_ignore_ascii_case(b"chunked") {
        Ok(true)
    } else {
        Err(Malformed("transfer-encoding is not chunked"))
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
            (200, false, vec![(TE, "chunked")]),
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
