//! Header and trailer sections of requests: which lines may stand in one message (RFC 9113 8.2 and 8.3, RFC 9114 4.2 and
//! 4.3), the same for HTTP/2 and HTTP/3.
//!
//! Pure. The protocols decode names and values and know what a fault ends; what concerns a request of any protocol is
//! `request`'s business, and which of its rules a request gives no cause to look at is noted here. Invariant: a section
//! that two readers could understand differently is malformed, and every line can be taken whatever was wrong before, so
//! that a connection's table stays right.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header, uri::PathAndQuery};

use super::{
    authority,
    config::Limits,
    field_line::{Name, Pseudo, Value},
    priority::Priority,
    refusal::Refusal,
};

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

impl Head {
    /// What the client says of the order of responses, or what holds when it says nothing.
    pub(super) fn priority(&self) -> Priority {
        if self.has_priority { Priority::of(&self.headers) } else { Priority::default() }
    }
}

/// Why there is no head.
#[derive(Debug, PartialEq, Eq)]
pub enum NoHead<B> {
    /// The stream or the connection ends.
    Broken(B),
    /// The client is told.
    Refused(Refusal),
}

/// The lines of a trailer section that were read so far. Nobody here reads trailers of a request, so nothing is made of
/// them.
#[derive(Debug)]
pub struct Trailers {
    size_left: u64,
    fault: Option<&'static str>,
}

/// Why a trailer section may not stand in a message.
#[derive(Debug, PartialEq, Eq)]
pub enum NoTrailers {
    /// It breaks a rule.
    Malformed(&'static str),
    /// It is larger than the limit.
    TooLarge,
}

impl Trailers {
    /// Of which nothing was read.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { size_left: limits.header_bytes_max.as_u64(), fault: None }
    }

    /// Takes the next line, with the size that it counts.
    pub fn take(&mut self, name: &Name, value: &Value, size: usize) {
        self.size_left = self.size_left.saturating_sub(size as u64);
        let found = match (name, value) {
            (Name::Pseudo(_), _) => Some("pseudo-header in the trailers"),
            (Name::Field(name), Value::Field(_)) if !is_framing(name) => None,
            _ => Some("field that no trailers may have"),
        };
        self.fault = self.fault.or(found);
    }

    /// Whether they may stand in a message.
    ///
    /// # Errors
    /// When they are malformed or too large.
    pub fn check(self) -> Result<(), NoTrailers> {
        match self.fault {
            Some(why) => Err(NoTrailers::Malformed(why)),
            None if self.size_left == 0 => Err(NoTrailers::TooLarge),
            None => Ok(()),
        }
    }
}

/// The lines of a request's section that were read so far.
#[derive(Debug)]
pub struct Lines {
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
    /// Of which nothing was read.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
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
            size_left: limits.header_bytes_max.as_u64(),
            fields_left: limits.headers_max,
            is_too_large: false,
            fault: None,
        }
    }

    /// Takes the next line, with the size that it counts (RFC 9113 6.5.2, RFC 9114 4.2.2).
    pub fn take(&mut self, name: Name, value: Value, size: usize) {
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

    /// The request that the lines make.
    ///
    /// # Errors
    /// When they make none, or one that is too large or not offered; `malformed` is the protocol's word for the first.
    pub fn head<B>(
        self,
        limits: &Limits,
        malformed: impl Fn(&'static str) -> B,
    ) -> Result<Head, NoHead<B>> {
        let malformed = |why| Err(NoHead::Broken(malformed(why)));
        if let Some(why) = self.fault {
            return malformed(why);
        }
        if self.is_too_large {
            return Err(NoHead::Refused(Refusal::HeaderTooLarge));
        }
        let Some(method) = self.method else { return malformed("no :method") };
        if method == Method::CONNECT {
            // RFC 9113 8.5, RFC 9114 4.4.
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

#[cfg(test)]
mod tests {
    use super::{super::field_line::name_of, *};

    fn read_within(fields: &[(&str, &str)], limits: &Limits) -> Result<Head, NoHead<&'static str>> {
        let mut lines = Lines::new(limits);
        for (name, value) in fields {
            let size = name.len() + value.len() + 32;
            let name = name_of(name.as_bytes());
            let value = Value::of(&name, Bytes::copy_from_slice(value.as_bytes()));
            lines.take(name, value, size);
        }
        lines.head(limits, |why| why)
    }

    fn read(fields: &[(&str, &str)]) -> Result<Head, NoHead<&'static str>> {
        read_within(fields, &Limits::default())
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
    fn what_two_readers_could_understand_differently_is_malformed() {
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
            ("length in disguise", and(&[("content_length", "5")])),
            ("transfer-encoding in disguise", and(&[("transfer_encoding", "chunked")])),
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
            ("pseudo-header last", [&without(":path")[..], &[("x", "y"), (":path", "/")]].concat()),
            ("line end in a name", and(&[("x\ny", "1")])),
            ("bare line feed", and(&[("x", "a\nb")])),
            ("negative length", and(&[("content-length", "-3")])),
            ("hexadecimal length", and(&[("content-length", "0x3")])),
            ("CONNECT with a path", with(":method", "CONNECT")),
            ("CONNECT to nobody", vec![(":method", "CONNECT")]),
        ] {
            let refused = read(&fields);
            assert!(matches!(refused, Err(NoHead::Broken(_))), "{what}: {refused:?}");
        }
    }

    #[test]
    fn what_is_too_large_or_not_offered_is_refused() {
        let limits = Limits {
            headers_max: 2,
            header_bytes_max: bytesize::ByteSize::b(400),
            target_bytes_max: bytesize::ByteSize::b(8),
            ..Limits::default()
        };
        let long = "x".repeat(100);
        for (fields, expected) in [
            (and(&[("a", "1"), ("b", "2")]), None),
            (and(&[("a", "1"), ("b", "2"), ("c", "3")]), Some(Refusal::HeaderTooLarge)),
            ([&GET[..], &[("a", &long), ("b", &long)]].concat(), Some(Refusal::HeaderTooLarge)),
            (with(":path", "/12345678"), Some(Refusal::TargetTooLong)),
            (vec![(":method", "CONNECT"), (":authority", "a.test:443")], Some(Refusal::Method)),
        ] {
            match (read_within(&fields, &limits), expected) {
                (Ok(_), None) => {}
                (Err(NoHead::Refused(refusal)), Some(expected)) => assert_eq!(refusal, expected),
                (found, _) => panic!("{fields:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn trailers_hold_fields_that_may_come_late() {
        let check = |fields: &[(&str, &str)]| {
            let mut trailers = Trailers::new(&Limits::default());
            for (name, value) in fields {
                let size = name.len() + value.len() + 32;
                let name = name_of(name.as_bytes());
                let value = Value::of(&name, Bytes::copy_from_slice(value.as_bytes()));
                trailers.take(&name, &value, size);
            }
            trailers.check()
        };
        assert_eq!(check(&[("x-a", "1")]), Ok(()));
        for fields in [
            &[(":path", "/")][..],
            &[("x-a", "1"), (":method", "GET")],
            &[("X", "1")],
            &[("x", "a\nb")],
            &[("content-length", "1")],
            &[("host", "a")],
            &[("transfer-encoding", "chunked")],
        ] {
            assert!(matches!(check(fields), Err(NoTrailers::Malformed(_))), "{fields:?}");
        }
        let long = "x".repeat(Limits::default().header_bytes_max.as_u64() as usize);
        assert_eq!(check(&[("x-a", &long)]), Err(NoTrailers::TooLarge));
    }
}
