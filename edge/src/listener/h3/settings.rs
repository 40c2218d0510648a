//! SETTINGS of both sides (RFC 9114 7.2.4).
//!
//! Pure. Invariant: a setting stands at most once, and none of HTTP/2 that HTTP/3 has not taken over.

use bytes::BytesMut;

use super::{
    code::{Broken, Code},
    frame::{kind, put_frame_head, put_varint, take_varint},
};

/// What a client told of itself, as far as it matters to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The largest header section it takes, decoded.
    pub field_section_max: u64,
}

impl Settings {
    /// Reads the payload of a SETTINGS frame.
    ///
    /// # Errors
    /// The connection's error when a setting may not be there or have its value.
    pub fn parse(mut payload: &[u8]) -> Result<Self, Broken> {
        let mut settings = Self { field_section_max: u64::MAX };
        let (mut seen, mut count) = ([0u64; SETTINGS_MAX], 0);
        while !payload.is_empty() {
            let pair = take_varint(&mut payload).zip(take_varint(&mut payload));
            let Some((id, value)) = pair else {
                return Err(Broken::Connection(Code::FRAME_ERROR, "cut off setting"));
            };
            if seen[..count].contains(&id) {
                return Err(wrong("setting given twice"));
            }
            match id {
                0x2..=0x5 => return Err(wrong("setting of HTTP/2")),
                ENABLE_CONNECT_PROTOCOL | H3_DATAGRAM if value > 1 => {
                    return Err(wrong("switch that is neither 0 nor 1"));
                }
                MAX_FIELD_SECTION_SIZE => settings.field_section_max = value,
                _ => {}
            }
            *seen.get_mut(count).ok_or(TOO_MANY)? = id;
            count += 1;
        }
        Ok(settings)
    }
}

/// The beginning of our control stream: its type and our SETTINGS. `grease` chooses a setting that means nothing, so
/// that clients keep ignoring what they do not know (RFC 9114 7.2.4.1).
#[must_use]
pub fn control_stream_begin(field_section_max: u64, grease: u32) -> BytesMut {
    let mut settings = BytesMut::new();
    for (id, value) in [
        (QPACK_MAX_TABLE_CAPACITY, 0),
        (MAX_FIELD_SECTION_SIZE, field_section_max),
        (QPACK_BLOCKED_STREAMS, 0),
        (0x1f * u64::from(grease) + 0x21, u64::from(grease)),
    ] {
        put_varint(&mut settings, id);
        put_varint(&mut settings, value);
    }
    let mut out = BytesMut::new();
    put_varint(&mut out, CONTROL_STREAM);
    put_frame_head(&mut out, kind::SETTINGS, settings.len() as u64);
    out.extend_from_slice(&settings);
    out
}

fn wrong(why: &'static str) -> Broken {
    Broken::Connection(Code::SETTINGS_ERROR, why)
}

/// The type of a control stream (RFC 9114 6.2.1).
pub(super) const CONTROL_STREAM: u64 = 0x0;

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
const QPACK_BLOCKED_STREAMS: u64 = 0x7;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
const H3_DATAGRAM: u64 = 0x33;

const TOO_MANY: Broken = Broken::Connection(Code::EXCESSIVE_LOAD, "too many settings");
/// Settings in one frame; about ten are registered, and clients add a few that mean nothing.
const SETTINGS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(settings: &[(u64, u64)]) -> Result<Settings, Broken> {
        let mut payload = Vec::new();
        for (id, value) in settings {
            put_varint(&mut payload, *id);
            put_varint(&mut payload, *value);
        }
        Settings::parse(&payload)
    }

    #[test]
    fn settings_that_may_not_be_there_end_the_connection() {
        let plain = Ok(Settings { field_section_max: u64::MAX });
        assert_eq!(parsed(&[]), plain);
        assert_eq!(parsed(&[(0x21, 7), (1, 4096), (7, 16), (8, 1), (0x33, 0)]), plain);
        assert_eq!(parsed(&[(6, 1000)]), Ok(Settings { field_section_max: 1000 }));
        for (what, settings, code) in [
            ("twice", &[(6, 1), (6, 1)][..], Code::SETTINGS_ERROR),
            ("twice, unknown", &[(0x21, 1), (0x21, 2)], Code::SETTINGS_ERROR),
            ("ENABLE_PUSH", &[(2, 0)], Code::SETTINGS_ERROR),
            ("MAX_FRAME_SIZE", &[(5, 1)], Code::SETTINGS_ERROR),
            ("connect protocol", &[(8, 2)], Code::SETTINGS_ERROR),
            ("datagram", &[(0x33, 2)], Code::SETTINGS_ERROR),
        ] {
            let Err(Broken::Connection(found, _)) = parsed(settings) else { panic!("{what}") };
            assert_eq!(found, code, "{what}");
        }
        let many: Vec<_> = (0..65).map(|n| (0x100 + n, 0)).collect();
        assert_eq!(parsed(&many), Err(TOO_MANY));
        assert!(matches!(Settings::parse(&[6]), Err(Broken::Connection(Code::FRAME_ERROR, _))));
    }

    #[test]
    fn our_own_settings_can_be_read() {
        let begin = control_stream_begin(65_536, 9);
        assert_eq!(begin[..2], [0, 4]);
        assert_eq!(usize::from(begin[2]), begin.len() - 3);
        assert_eq!(Settings::parse(&begin[3..]), Ok(Settings { field_section_max: 65_536 }));
    }
}
