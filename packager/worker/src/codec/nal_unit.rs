//! From a byte stream with start codes (ISO/IEC 14496-10 annex B) to NAL units behind four-byte lengths (14496-15).
//!
//! Encoders give the former, an `mdat` holds the latter. Empty units are left out.

/// The NAL units of an access unit, each behind its length.
pub(super) fn length_prefixed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut rest = match start_code(bytes) {
        Some((_, after)) => &bytes[after..],
        None => return out,
    };
    loop {
        let (unit, next) = match start_code(rest) {
            Some((at, after)) => (&rest[..at], Some(&rest[after..])),
            None => (rest, None),
        };
        if let Ok(length) = u32::try_from(unit.len())
            && length > 0
        {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(unit);
        }
        match next {
            Some(next) => rest = next,
            None => return out,
        }
    }
}

/// Where the next start code begins, its leading zeros included, and where it ends.
fn start_code(bytes: &[u8]) -> Option<(usize, usize)> {
    let at = bytes.windows(3).position(|window| window == [0, 0, 1])?;
    let zeros = bytes[..at].iter().rev().take_while(|byte| **byte == 0).count();
    Some((at - zeros, at + 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_lose_their_start_codes_and_get_lengths() {
        for (name, bytes, want) in [
            ("nothing", &[][..], &[][..]),
            ("no start code", &[1, 2, 3], &[]),
            ("one unit", &[0, 0, 0, 1, 0x65, 7], &[0, 0, 0, 2, 0x65, 7]),
            ("short start code", &[0, 0, 1, 0x65], &[0, 0, 0, 1, 0x65]),
            (
                "two units",
                &[0, 0, 0, 1, 6, 5, 0, 0, 1, 0x65, 0, 0, 3, 1],
                &[0, 0, 0, 2, 6, 5, 0, 0, 0, 5, 0x65, 0, 0, 3, 1],
            ),
            ("trailing zeros", &[0, 0, 1, 6, 0, 0, 0, 0, 1, 7], &[0, 0, 0, 1, 6, 0, 0, 0, 1, 7]),
            ("empty unit", &[0, 0, 1, 0, 0, 1, 9], &[0, 0, 0, 1, 9]),
        ] {
            assert_eq!(length_prefixed(bytes), want, "{name}");
        }
    }
}
