//! A request's header section as HTTP/2 brings it.
//!
//! Pure. Which lines may stand in it is `listener::section`'s business; here stands what a fault ends. Invariant: the
//! whole section is read whatever is wrong with it, so that the connection's table stays right.

use super::{
    code::{Broken, Code},
    hpack::Decoder,
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
/// When it is no HPACK, too large or malformed.
pub fn read_head(decoder: &mut Decoder, section: &[u8], limits: &Limits) -> Result<Head, NoHead> {
    let mut lines = Lines::new(limits);
    decoder
        .decode(section, |name, value, size| lines.take(name, value, size))
        .map_err(|error| NoHead::Broken(Broken::Connection(Code::COMPRESSION_ERROR, error.0)))?;
    lines.head(limits, Broken::message)
}

/// Whether a trailer section may stand in a message.
///
/// # Errors
/// When it is no HPACK, too large or malformed.
pub fn check_trailers(
    decoder: &mut Decoder,
    section: &[u8],
    limits: &Limits,
) -> Result<(), Broken> {
    let mut trailers = Trailers::new(limits);
    decoder
        .decode(section, |name, value, size| trailers.take(&name, &value, size))
        .map_err(|error| Broken::Connection(Code::COMPRESSION_ERROR, error.0))?;
    trailers.check().map_err(|fault| match fault {
        NoTrailers::Malformed(why) => Broken::message(why),
        NoTrailers::TooLarge => {
            Broken::Stream(Code::ENHANCE_YOUR_CALM, "trailer section above the limit")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::refusal::Refusal;

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

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/p?q=1")];

    #[test]
    fn a_fault_ends_the_stream_and_what_is_no_hpack_the_connection() {
        let read = |section: &[u8]| {
            read_head(&mut Decoder::default(), section, &Limits::default()).map(|_| ())
        };
        assert_eq!(read(&section(&GET)), Ok(()));
        let NoHead::Broken(Broken::Stream(code, _)) = read(&section(&GET[1..])).unwrap_err() else {
            panic!("no stream error");
        };
        assert_eq!(code, Code::PROTOCOL_ERROR);
        let NoHead::Broken(Broken::Connection(code, _)) = read(b"\x80").unwrap_err() else {
            panic!("no connection error");
        };
        assert_eq!(code, Code::COMPRESSION_ERROR);
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
        too_large(&[&GET[..], &[("a", "1"), ("b", "2"), ("c", "3")]].concat());
        let long = "x".repeat(100);
        too_large(&[&GET[..], &[("a", &long), ("b", &long)]].concat());
    }

    #[test]
    fn trailers_end_the_stream_or_the_connection_as_well() {
        let limits = Limits::default();
        let check = |section: &[u8]| check_trailers(&mut Decoder::default(), section, &limits);
        assert_eq!(check(&section(&[("x-a", "1")])), Ok(()));
        let refused = check(&section(&[(":path", "/")]));
        assert!(matches!(refused, Err(Broken::Stream(Code::PROTOCOL_ERROR, _))), "{refused:?}");
        let refused = check(b"\x80");
        assert!(matches!(refused, Err(Broken::Connection(Code::COMPRESSION_ERROR, _))));
    }
}
