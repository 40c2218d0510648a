//! A request's header section: pseudo-headers and fields that may stand in one message (RFC 9113 8.2 and 8.3).
//!
//! Pure. What concerns a request of any protocol is `listener::request`'s business; here stands what HTTP/2 alone asks,
//! and which of those rules a request gives no cause to look at. Invariant: the whole section is read whatever is wrong
//! with it, so that the connection's table stays right.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header, uri::PathAndQuery};

use super::{
    code::{Broken, Code},
    hpack::{Decoder, Name, Pseudo, Value},
};
use crate::listener::{authority, config::Limits, refusal::Refusal};

/// A decoded header section.
#[derive(Debug)]
pub struct Head {
    /// Any but CONNECT.
    pub method: Method,
    /// `:authority` as it came.
    pub authority: Option<Bytes>,
    /// `:path`
    pub target: PathAndQuery,
    /// The fields.
    pub headers: HeaderMap,
    /// The length that the content is announced to have.
    pub content_length: Option<u64>,
    /// No field is among those that the rules on requests are about.
    pub is_plain: bool,
    /// There is a `priority` field.
    pub has_priority: bool,
}

/// Why there is no head.
#[derive(Debug, PartialEq, Eq)]
pub enum NoHead {
    /// The stream or the connection ends.
    Broken(Broken),
    /// The client is told.
    Refused(Refusal),
}

/// Reads a header section within the limits.
///
/// # Errors
/// When it is no HPACK, too large or malformed.
pub fn read_head(decoder: &mut Decoder, section: &[u8], limits: &Limits) -> Result<Head, NoHead> {
    let mut lines = Lines::new(limits.header_bytes_max.as_u64(), limits.headers_max);
    decoder
        .decode(section, |name, value, size| lines.take(name, value, size))
        .map_err(|error| broken(Broken::Connection(Code::COMPRESSION_ERROR, error.0)))?;
    lines.head(limits)
}

/// Whether a trailer section may stand in a message. Nobody here reads trailers of a request, so nothing else is made
/// of it.
///
/// # Errors
/// When it is no HPACK, too large or malformed.
pub fn check_trailers(
    decoder: &mut Decoder,
    section: &[u8],
    limits: &Limits,
) -> Result<(), Broken> {
    let (mut left, mut fault) = (limits.header_bytes_max.as_u64(), None);
    let decoded = decoder.decode(section, |name, value, size| {
        left = left.saturating_sub(size as u64);
        let found = match (name, value) {
            (Name::Pseudo(_), _) => Some("pseudo-header in the trailers"),
            (Name::Field(name), Value::Field(_)) if !is_framing(&name) => None,
            _ => Some("field that no trailers may have"),
        };
        fault = fault.or(found);
    });
    decoded.map_err(|error| Broken::Connection(Code::COMPRESSION_ERROR, error.0))?;
    match fault {
        Some(why) => Err(Broken::message(why)),
        None if left == 0 => {
            Err(Broken::Stream(Code::ENHANCE_YOUR_CALM, "trailer section above the limit"))
        }
        None => Ok(()),
    }
}

/// The lines of a section that were read so far.
struct Lines {
    method: Option<Method>,
    scheme: Option<bool>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    headers: HeaderMap,
    lengths: u32,
    is_plain: bool,
    has_priority: bool,
    has_fields: bool,
    size_left: u64,
    fields_left: usize,
    is_too_large: bool,
    fault: Option<&'static str>,
}

impl Lines {
    fn new(size_max: u64, fields_max: usize) -> Self {
        Self {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            headers: HeaderMap::new(),
            lengths: 0,
            is_plain: true,
            has_priority: false,
            has_fields: false,
            size_left: size_max,
            fields_left: fields_max,
            is_too_large: false,
            fault: None,
        }
    }

    fn take(&mut self, name: Name, value: Value, size: usize) {
        if self.is_too_large || self.fault.is_some() {
            return;
        }
        match self.size_left.checked_sub(size as u64) {
            Some(left) => self.size_left = left,
            None => return self.is_too_large = true,
        }
        self.fault = match (name, value) {
            (Name::Pseudo(_), _) if self.has_fields => Some("pseudo-header behind a field"),
            (Name::Pseudo(name), Value::Pseudo(value)) => self.pseudo(name, value),
            (Name::Field(name), Value::Field(value)) => {
                self.has_fields = true;
                if self.fields_left == 0 {
                    return self.is_too_large = true;
                }
                self.fields_left -= 1;
                let fault = self.look_at(&name, value.as_bytes());
                // The map has a limit of its own, beyond any of ours.
                self.is_too_large |= self.headers.try_append(name, value).is_err();
                fault
            }
            (Name::Field(_) | Name::Invalid, _) => Some("no field name or value"),
            (Name::Pseudo(_), _) => Some("pseudo-header that no request has"),
        };
    }

    fn pseudo(&mut self, name: Pseudo, value: Bytes) -> Option<&'static str> {
        let is_first = match name {
            Pseudo::Method => match Method::from_bytes(&value) {
                Ok(method) => self.method.replace(method).is_none(),
                Err(_) => return Some(":method is no token"),
            },
            Pseudo::Scheme => {
                self.scheme.replace(matches!(&value[..], b"https" | b"http")).is_none()
            }
            Pseudo::Authority => self.authority.replace(value).is_none(),
            Pseudo::Path => self.path.replace(value).is_none(),
            Pseudo::Status | Pseudo::Unknown => return Some("pseudo-header that no request has"),
        };
        (!is_first).then_some("pseudo-header given twice")
    }

    /// Notes the fields that a rule is about; those of a connection make the request malformed at once.
    fn look_at(&mut self, name: &HeaderName, value: &[u8]) -> Option<&'static str> {
        match name.as_str() {
            "content-length" => {
                self.is_plain = false;
                self.lengths += 1;
                let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                (self.lengths > 1 || !is_number).then_some("content-length is not one number")
            }
            "te" => {
                self.is_plain = false;
                let is_fine = value.eq_ignore_ascii_case(b"trailers");
                (!is_fine).then_some("te other than trailers")
            }
            "host" | "expect" | "cookie" => {
                self.is_plain = false;
                None
            }
            "connection" | "transfer-encoding" | "upgrade" | "keep-alive" | "proxy-connection" => {
                Some("connection-specific header")
            }
            "priority" => {
                self.has_priority = true;
                None
            }
            _ => None,
        }
    }

    fn head(self, limits: &Limits) -> Result<Head, NoHead> {
        let malformed = |why| Err(broken(Broken::message(why)));
        if let Some(why) = self.fault {
            return malformed(why);
        }
        if self.is_too_large {
            return Err(NoHead::Refused(Refusal::HeaderTooLarge));
        }
        let Some(method) = self.method else { return malformed("no :method") };
        if method == Method::CONNECT {
            // RFC 9113 8.5.
            if self.scheme.is_some() || self.path.is_some() || self.authority.is_none() {
                return malformed("CONNECT with other than :authority");
            }
            return Err(NoHead::Refused(Refusal::Method));
        }
        match self.scheme {
            Some(true) => {}
            Some(false) => return malformed("scheme other than http and https"),
            None => return malformed("no :scheme"),
        }
        let Some(path) = self.path else { return malformed("no :path") };
        // `PathAndQuery` would cut off a fragment, and take what some readers end a line at.
        if path.is_empty() || !path.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return malformed(":path is no path");
        }
        if path.len() as u64 > limits.target_bytes_max.as_u64() {
            return Err(NoHead::Refused(Refusal::TargetTooLong));
        }
        let length = self.headers.get(header::CONTENT_LENGTH).filter(|_| self.lengths > 0);
        let length = length.map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
        let content_length = match length {
            Some(None) => return malformed("content-length beyond 64 bits"),
            Some(Some(length)) => Some(length),
            None => None,
        };
        let target = authority::target(&method, path).map_err(NoHead::Refused)?;
        Ok(Head {
            method,
            authority: self.authority,
            target,
            headers: self.headers,
            content_length,
            is_plain: self.is_plain,
            has_priority: self.has_priority,
        })
    }
}

/// What a receiver could take for the message's own framing (RFC 9110 6.5.1), and fields of one connection.
fn is_framing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "transfer-encoding"
            | "host"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "upgrade"
            | "te"
            | "trailer"
    )
}

fn broken(broken: Broken) -> NoHead {
    NoHead::Broken(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in fields {
            out.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "short texts only");
                out.push(text.len() as u8);
                out.extend_from_slice(text.as_bytes());
            }
        }
        out
    }

    fn read(fields: &[(&str, &str)]) -> Result<Head, NoHead> {
        read_head(&mut Decoder::default(), &section(fields), &Limits::default())
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
    fn a_plain_request_is_read_and_others_say_what_is_to_be_looked_at() {
        let head = read(&and(&[("x-a", "1"), ("priority", "u=1")])).unwrap();
        assert_eq!((head.method, head.target.as_str()), (Method::GET, "/p?q=1"));
        assert_eq!(head.authority.as_deref(), Some(&b"a.test"[..]));
        assert!(head.is_plain && head.has_priority && head.headers.len() == 2);
        for special in [("content-length", "5"), ("te", "trailers"), ("host", "a"), ("cookie", "b")]
        {
            let head = read(&and(&[special])).unwrap();
            assert!(!head.is_plain, "{special:?}");
            assert_eq!(head.content_length, (special.0 == "content-length").then_some(5));
        }
        assert!(read(&without(":authority")).unwrap().authority.is_none(), "admission looks");
        let star = [&[(":method", "OPTIONS")][..], &with(":path", "*")[1..]].concat();
        assert_eq!(read(&star).unwrap().target.as_str(), "*");
    }

    #[test]
    fn malformed_sections_end_the_stream() {
        for (what, fields) in [
            ("no method", without(":method")),
            ("no scheme", without(":scheme")),
            ("no path", without(":path")),
            ("empty path", with(":path", "")),
            ("empty method", with(":method", "")),
            ("method with a blank", with(":method", "G E T")),
            ("blank in the path", with(":path", "/a b")),
            ("line end in the path", with(":path", "/a\r\nhost: x")),
            ("fragment", with(":path", "/a#b")),
            ("not ASCII", with(":path", "/\u{e9}")),
            ("foreign scheme", with(":scheme", "ftp")),
            ("capital scheme", with(":scheme", "HTTPS")),
            ("method twice", and(&[(":method", "GET")])),
            ("authority twice", and(&[(":authority", "a.test")])),
            ("unknown pseudo-header", and(&[(":foo", "x")])),
            (":protocol", and(&[(":protocol", "websocket")])),
            (":status", and(&[(":status", "200")])),
            ("pseudo-header behind a field", [&[("x", "y")][..], &GET[..]].concat()),
            ("capital name", and(&[("X-Up", "1")])),
            ("empty name", and(&[("", "1")])),
            ("blank in a name", and(&[("x y", "1")])),
            ("colon in a name", and(&[("x:y", "1")])),
            ("line end in a value", and(&[("x", "a\r\nb: c")])),
            ("nul in a value", and(&[("x", "a\0b")])),
            ("delete in a value", and(&[("x", "a\x7fb")])),
            ("blank before a value", and(&[("x", " a")])),
            ("tab behind a value", and(&[("x", "a\t")])),
            ("connection", and(&[("connection", "close")])),
            ("keep-alive", and(&[("keep-alive", "5")])),
            ("proxy-connection", and(&[("proxy-connection", "close")])),
            ("transfer-encoding", and(&[("transfer-encoding", "chunked")])),
            ("upgrade", and(&[("upgrade", "h2c")])),
            ("te", and(&[("te", "gzip")])),
            ("two lengths", and(&[("content-length", "3"), ("content-length", "3")])),
            ("list of lengths", and(&[("content-length", "3, 3")])),
            ("length with a sign", and(&[("content-length", "+3")])),
            ("empty length", and(&[("content-length", "")])),
            ("length beyond 64 bits", and(&[("content-length", "99999999999999999999")])),
            ("CONNECT with a path", with(":method", "CONNECT")),
            ("CONNECT to nobody", vec![(":method", "CONNECT")]),
        ] {
            let refused = read(&fields);
            assert!(
                matches!(refused, Err(NoHead::Broken(Broken::Stream(Code::PROTOCOL_ERROR, _)))),
                "{what}: {refused:?}"
            );
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_the_table_stays_right() {
        let limits = Limits {
            headers_max: 2,
            header_bytes_max: bytesize::ByteSize::b(400),
            ..Limits::default()
        };
        let too_large = |fields: &[(&str, &str)]| {
            let mut decoder = Decoder::default();
            // A line at the end is put into the table whatever came before.
            let bytes = [section(fields), b"\x40\x04last\x011".to_vec()].concat();
            let refused = read_head(&mut decoder, &bytes, &limits).err();
            assert_eq!(refused, Some(NoHead::Refused(Refusal::HeaderTooLarge)), "{fields:?}");
            let bytes = [section(&GET), vec![0xbe]].concat();
            let head = read_head(&mut decoder, &bytes, &limits).unwrap();
            assert_eq!(head.headers["last"], "1");
        };
        too_large(&and(&[("a", "1"), ("b", "2"), ("c", "3")]));
        let long = "x".repeat(100);
        too_large(&[&GET[..], &[("a", &long), ("b", &long)]].concat());
        let tunnel = read(&[(":method", "CONNECT"), (":authority", "a.test:443")]);
        assert!(matches!(tunnel, Err(NoHead::Refused(Refusal::Method))));
    }

    #[test]
    fn trailers_hold_fields_that_may_come_late() {
        let limits = Limits::default();
        let check =
            |fields: &[_]| check_trailers(&mut Decoder::default(), &section(fields), &limits);
        assert_eq!(check(&[("x-a", "1")]), Ok(()));
        for fields in [
            &[(":path", "/")][..],
            &[("x-a", "1"), (":method", "GET")],
            &[("X", "1")],
            &[("x", "a\nb")],
            &[("content-length", "1")],
            &[("host", "a")],
        ] {
            let refused = check(fields);
            assert!(matches!(refused, Err(Broken::Stream(Code::PROTOCOL_ERROR, _))), "{fields:?}");
        }
    }
}
