//! A request's header section as HTTP/3 brings it.
//!
//! Pure. Which lines may stand in it is `listener::section`'s business; here stands what a fault ends. Invariant: a
//! section that was taken was well-formed to its last byte.

use bytes::Bytes;

use super::{
    code::{Broken, Code},
    qpack::decode,
};
use crate::listener::{
    config::Limits,
    section::{self, Head, Lines, NoTrailers, Trailers},
};

/// Why there is no head.
pub type NoHead = section::NoHead<Broken>;

/// Reads a header section within the limits.
///
/// # Errors
/// When it is no QPACK, too large or malformed.
pub fn read_head(section: &Bytes, limits: &Limits) -> Result<Head, NoHead> {
    let mut lines = Lines::new(limits);
    decode(section, |name, value, size| lines.take(name, value, size)).map_err(NoHead::Broken)?;
    lines.head(limits, Broken::message)
}

/// Whether a trailer section may stand in a message.
///
/// # Errors
/// When it is no QPACK, too large or malformed.
pub fn check_trailers(section: &Bytes, limits: &Limits) -> Result<(), Broken> {
    let mut trailers = Trailers::new(limits);
    decode(section, |name, value, size| trailers.take(&name, &value, size))?;
    trailers.check().map_err(|fault| match fault {
        NoTrailers::Malformed(why) => Broken::message(why),
        NoTrailers::TooLarge => {
            Broken::Stream(Code::EXCESSIVE_LOAD, "trailer section above the limit")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{h3::qpack::PREFIX, refusal::Refusal};

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

    #[test]
    fn a_fault_ends_the_stream_and_what_is_no_qpack_the_connection() {
        let read = |section: Bytes| read_head(&section, &Limits::default()).map(|_| ());
        assert_eq!(read(section(&GET)), Ok(()));
        let NoHead::Broken(Broken::Stream(code, _)) = read(section(&GET[1..])).unwrap_err() else {
            panic!("no stream error");
        };
        assert_eq!(code, Code::MESSAGE_ERROR);
        let dynamic = Bytes::from_static(b"\0\0\x80");
        let NoHead::Broken(Broken::Connection(code, _)) = read(dynamic).unwrap_err() else {
            panic!("no connection error");
        };
        assert_eq!(code, Code::QPACK_DECOMPRESSION_FAILED);
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let limits = Limits { header_bytes_max: bytesize::ByteSize::b(100), ..Limits::default() };
        let refused = read_head(&section(&GET), &limits).err();
        assert_eq!(refused, Some(NoHead::Refused(Refusal::HeaderTooLarge)));
        let long = "x".repeat(100);
        let refused = check_trailers(&section(&[("a", &long)]), &limits);
        assert!(matches!(refused, Err(Broken::Stream(Code::EXCESSIVE_LOAD, _))), "{refused:?}");
    }

    #[test]
    fn trailers_end_the_stream_as_well() {
        let limits = Limits::default();
        assert_eq!(check_trailers(&section(&[("x-a", "1")]), &limits), Ok(()));
        let refused = check_trailers(&section(&[(":path", "/")]), &limits);
        assert!(matches!(refused, Err(Broken::Stream(Code::MESSAGE_ERROR, _))), "{refused:?}");
    }
}
