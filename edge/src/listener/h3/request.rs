//! A request's header section: pseudo-headers and fields that may stand in one message (RFC 9114 4.2 and 4.3).
//!
//! Pure. What concerns a request of any protocol is `listener::request`'s business; here stands what HTTP/3 alone asks.
//! Invariant: a section that two readers could understand differently is malformed.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version,
    header::CONTENT_LENGTH,
    request::Parts,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use super::{
    code::Broken,
    qpack::{Name, Pseudo, decode},
};

/// A decoded header section.
#[derive(Debug)]
pub struct Head {
    /// Method, target and fields.
    pub parts: Parts,
    /// The length that the content is announced to have.
    pub content_length: Option<u64>,
}

/// Reads a header section of at most `size_max` decoded bytes.
///
/// # Errors
/// When it is no QPACK, too large or malformed.
pub fn read_head(section: &Bytes, size_max: u64) -> Result<Head, Broken> {
    let (mut pseudo, mut headers) =
        (PseudoHeaders::default(), HeaderMap::with_capacity(FIELDS_USUAL));
    let mut has_fields = false;
    decode(section, size_max, |name, value| match name {
        Name::Pseudo(_) if has_fields => Err(Broken::message("pseudo-header behind a field")),
        Name::Pseudo(name) => pseudo.set(name, value),
        name => {
            has_fields = true;
            append(&mut headers, name, value)
        }
    })?;
    let content_length = content_length(&headers)?;
    let (method, uri) = pseudo.target()?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri;
    parts.version = Version::HTTP_3;
    parts.headers = headers;
    Ok(Head { parts, content_length })
}

/// Whether a trailer section may stand in a message. Nobody here reads trailers of a request, so nothing else is made
/// of it.
///
/// # Errors
/// As for a header section.
pub fn check_trailers(section: &Bytes, size_max: u64) -> Result<(), Broken> {
    let mut trailers = HeaderMap::new();
    decode(section, size_max, |name, value| match name {
        Name::Pseudo(_) => Err(Broken::message("pseudo-header in the trailers")),
        name => append(&mut trailers, name, value),
    })?;
    if FORBIDDEN_IN_TRAILERS.iter().any(|name| trailers.contains_key(*name)) {
        return Err(Broken::message("framing or connection field in the trailers"));
    }
    Ok(())
}

#[derive(Default)]
struct PseudoHeaders {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
}

impl PseudoHeaders {
    fn set(&mut self, name: Pseudo, value: Bytes) -> Result<(), Broken> {
        let place = match name {
            Pseudo::Method => &mut self.method,
            Pseudo::Scheme => &mut self.scheme,
            Pseudo::Authority => &mut self.authority,
            Pseudo::Path => &mut self.path,
            Pseudo::Status | Pseudo::Unknown => {
                return Err(Broken::message("pseudo-header that no request has"));
            }
        };
        if place.replace(value).is_some() {
            return Err(Broken::message("pseudo-header given twice"));
        }
        Ok(())
    }

    fn target(self) -> Result<(Method, Uri), Broken> {
        let method = self.method.ok_or(Broken::message("no :method"))?;
        let method =
            Method::from_bytes(&method).map_err(|_| Broken::message(":method is no token"))?;
        let mut target = uri::Parts::default();
        if let Some(authority) = self.authority {
            let authority = Authority::from_maybe_shared(authority)
                .map_err(|_| Broken::message(":authority is no authority"))?;
            target.authority = Some(authority);
        }
        if method == Method::CONNECT {
            // RFC 9114 4.4; which tunnels there are is not for us to say.
            if self.scheme.is_some() || self.path.is_some() || target.authority.is_none() {
                return Err(Broken::message("CONNECT with other than :authority"));
            }
        } else {
            let scheme = match self.scheme.as_deref() {
                Some(b"https") => Scheme::HTTPS,
                Some(b"http") => Scheme::HTTP,
                Some(_) => return Err(Broken::message("scheme other than http and https")),
                None => return Err(Broken::message("no :scheme")),
            };
            target.path_and_query = Some(path(self.path.ok_or(Broken::message("no :path"))?)?);
            // A URI with a scheme has an authority; without one, `Host` must be there.
            target.scheme = target.authority.is_some().then_some(scheme);
        }
        let uri = Uri::from_parts(target).map_err(|_| Broken::message("no target"))?;
        Ok((method, uri))
    }
}

fn path(path: Bytes) -> Result<PathAndQuery, Broken> {
    // `PathAndQuery` would cut off a fragment, and take what some readers end a line at.
    if path.is_empty() || !path.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Broken::message(":path is no path"));
    }
    PathAndQuery::from_maybe_shared(path).map_err(|_| Broken::message(":path is no path"))
}

fn append(headers: &mut HeaderMap, name: Name, value: Bytes) -> Result<(), Broken> {
    let Name::Field(name) = name else { return Err(Broken::message("no field name")) };
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_blank(value.first()) || is_blank(value.last()) {
        return Err(Broken::message("blank at an end of a field value"));
    }
    let value =
        HeaderValue::from_maybe_shared(value).map_err(|_| Broken::message("no field value"))?;
    // The map has a limit of its own, beyond ours.
    headers.try_append(name, value).map_err(|_| Broken::TooLarge)?;
    Ok(())
}

/// One line with one number, or none.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Broken> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = Broken::message("content-length is not one number");
    if values.next().is_some() || !value.as_bytes().iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or(wrong)
}

/// Fields of a browser's request.
const FIELDS_USUAL: usize = 16;
/// What a receiver could take for the message's own framing (RFC 9110 6.5.1), and fields of one connection.
const FORBIDDEN_IN_TRAILERS: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::h3::{code::Code, qpack::PREFIX};

    fn section(fields: &[(&str, &str)]) -> Bytes {
        let mut out = PREFIX.to_vec();
        for (name, value) in fields {
            assert!(name.len() < 127 && value.len() < 127);
            match name.len() {
                short @ 0..7 => out.push(0x20 | short as u8),
                long => out.extend([0x27, long as u8 - 7]),
            }
            out.extend_from_slice(name.as_bytes());
            out.push(value.len() as u8);
            out.extend_from_slice(value.as_bytes());
        }
        out.into()
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/p?q=1")];

    fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        GET.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect()
    }

    fn without(name: &str) -> Vec<(&'static str, &'static str)> {
        GET.iter().copied().filter(|(n, _)| *n != name).collect()
    }

    fn and(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        [&GET[..], more].concat()
    }

    #[test]
    fn a_plain_request_is_read() {
        let head =
            read_head(&section(&and(&[("x-a", "1"), ("content-length", "5")])), 4096).unwrap();
        assert_eq!(head.parts.method, Method::GET);
        assert_eq!(head.parts.uri, "https://a.test/p?q=1");
        assert_eq!(head.parts.headers["x-a"], "1");
        assert_eq!(head.content_length, Some(5));

        let head = read_head(
            &section(&[&without(":authority")[..], &[("host", "h.test")]].concat()),
            4096,
        )
        .unwrap();
        assert_eq!(head.parts.uri, "/p?q=1", "admission looks for the host");
        let head =
            read_head(&section(&[(":method", "CONNECT"), (":authority", "a.test:443")]), 4096)
                .unwrap();
        assert_eq!(head.parts.method, Method::CONNECT);
        let star = [with(":path", "*"), vec![]].concat();
        assert_eq!(read_head(&section(&star), 4096).unwrap().parts.uri.path(), "*");
    }

    #[test]
    fn malformed_sections_are_message_errors() {
        for (what, fields) in [
            ("no method", without(":method")),
            ("no scheme", without(":scheme")),
            ("no path", without(":path")),
            ("empty path", with(":path", "")),
            ("empty authority", with(":authority", "")),
            ("empty method", with(":method", "")),
            ("method with a blank", with(":method", "G E T")),
            ("blank in the path", with(":path", "/a b")),
            ("line end in the path", with(":path", "/a\r\nhost: x")),
            ("fragment", with(":path", "/a#b")),
            ("not ASCII", with(":path", "/\u{e9}")),
            ("authority with a blank", with(":authority", "a b")),
            ("authority with a path", with(":authority", "a.test/x")),
            ("foreign scheme", with(":scheme", "ftp")),
            ("capital scheme", with(":scheme", "HTTPS")),
            ("method twice", and(&[(":method", "GET")])),
            ("authority twice", and(&[(":authority", "a.test")])),
            ("unknown pseudo-header", and(&[(":foo", "x")])),
            (":protocol", and(&[(":protocol", "websocket")])),
            (":status", and(&[(":status", "200")])),
            ("pseudo-header behind a field", [&[("x", "y")][..], &GET[..]].concat()),
            ("pseudo-header last", [&without(":path")[..], &[("x", "y"), (":path", "/")]].concat()),
            ("capital name", and(&[("X-Up", "1")])),
            ("empty name", and(&[("", "1")])),
            ("blank in a name", and(&[("x y", "1")])),
            ("line end in a name", and(&[("x\ny", "1")])),
            ("colon in a name", and(&[("x:y", "1")])),
            ("line end in a value", and(&[("x", "a\r\nb: c")])),
            ("bare line feed", and(&[("x", "a\nb")])),
            ("nul in a value", and(&[("x", "a\0b")])),
            ("delete in a value", and(&[("x", "a\x7fb")])),
            ("blank before a value", and(&[("x", " a")])),
            ("tab behind a value", and(&[("x", "a\t")])),
            ("two lengths", and(&[("content-length", "3"), ("content-length", "3")])),
            ("list of lengths", and(&[("content-length", "3, 3")])),
            ("length with a sign", and(&[("content-length", "+3")])),
            ("negative length", and(&[("content-length", "-3")])),
            ("hexadecimal length", and(&[("content-length", "0x3")])),
            ("empty length", and(&[("content-length", "")])),
            ("length beyond 64 bits", and(&[("content-length", "99999999999999999999")])),
            ("CONNECT with a path", with(":method", "CONNECT")),
            ("CONNECT to nobody", vec![(":method", "CONNECT")]),
        ] {
            let refused = read_head(&section(&fields), 4096).map(|head| head.parts);
            let Err(Broken::Stream(code, _)) = refused else { panic!("{what}: {refused:?}") };
            assert_eq!(code, Code::MESSAGE_ERROR, "{what}");
        }
        assert!(matches!(read_head(&section(&GET), 100), Err(Broken::TooLarge)));
    }

    #[test]
    fn trailers_hold_fields_that_may_come_late() {
        assert_eq!(check_trailers(&section(&[("x-a", "1")]), 4096), Ok(()));
        for fields in [
            &[(":path", "/")][..],
            &[("X", "1")],
            &[("x", "a\nb")],
            &[("content-length", "1")],
            &[("host", "a")],
            &[("transfer-encoding", "chunked")],
        ] {
            let refused = check_trailers(&section(fields), 4096);
            assert!(matches!(refused, Err(Broken::Stream(Code::MESSAGE_ERROR, _))), "{fields:?}");
        }
    }
}
