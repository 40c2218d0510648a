//! H.264 and HEVC samples are NAL units, each behind its length in four bytes (ISO/IEC 14496-15).
//!
//! Players walk these lengths without looking further, so a sample whose lengths do not end exactly at its end is
//! refused here. What is inside of a unit is not looked at.

/// Why a sample is no sequence of NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NalError {
    /// A length of zero, or lengths that do not end at the sample's end.
    #[error("a sample of {0} bytes is no sequence of NAL units")]
    Lengths(usize),
}

/// Checks that a sample is NAL units behind their lengths, at least one.
///
/// # Errors
/// [`NalError::Lengths`] when it is not.
pub fn check_nal_units(sample: &[u8]) -> Result<(), NalError> {
    let wrong = NalError::Lengths(sample.len());
    let mut rest = sample;
    while let Some((head, body)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 {
            return Err(wrong);
        }
        rest = body.get(length..).ok_or(wrong)?;
    }
    if rest.is_empty() && !sample.is_empty() { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_units_are_taken() {
        for (sample, good) in [
            (&[0, 0, 0, 1, 0x65][..], true),
            (&[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x41], true),
            (&[], false),
            (&[0, 0, 0], false),
            (&[0, 0, 0, 0], false),
            (&[0, 0, 0, 2, 0x65], false),
            (&[0, 0, 0, 1, 0x65, 0], false),
            (&[0, 0, 0, 1, 0x67, 0x64, 0, 0, 0, 1, 0x68], false), // start codes
            (&[0xff, 0xff, 0xff, 0xff, 1], false),
        ] {
            assert_eq!(check_nal_units(sample).is_ok(), good, "{sample:?}");
        }
    }

    proptest! {
        #[test]
        fn units_of_any_length_are_taken(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 1..8)) {
            let mut sample = Vec::new();
            for unit in &units {
                sample.extend(u32::try_from(unit.len()).expect("short").to_be_bytes());
                sample.extend(unit);
            }
            prop_assert!(check_nal_units(&sample).is_ok());
            prop_assert!(check_nal_units(&sample[..sample.len() - 1]).is_err());
        }
    }
}
