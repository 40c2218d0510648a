//! The boxes of one segment: `styp`, `moof`, `mdat`, in one chunk.
//!
//! Brands claim only what is there: no `sidx`, so not `msix`.

use mp4_atom::{Encode, Mfhd, Moof, Styp, Tfdt, Tfhd, Traf, Trun, TrunEntry, TrunSamples};
use tidegate_contract::worker_frame::Sample;

/// Why boxes cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BoxError {
    /// The writer refuses a value.
    #[error("a box cannot be written: {0}")]
    Write(#[from] mp4_atom::Error),
    /// More samples or bytes than a box can count.
    #[error("a segment of {0} bytes is too large")]
    TooLarge(usize),
    /// No samples.
    #[error("a segment without samples")]
    Empty,
}

/// The bytes of segment `number` (from 1), whose first sample is decoded at `decode_time`.
///
/// # Errors
/// [`BoxError`] when it has no samples or is too large.
pub fn segment(
    number: u64,
    decode_time: u64,
    samples: &[Sample],
    is_video: bool,
) -> Result<Vec<u8>, BoxError> {
    let first = samples.first().ok_or(BoxError::Empty)?;
    let payload: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let mdat_bytes =
        u32::try_from(payload + BOX_HEAD_BYTES).map_err(|_| BoxError::TooLarge(payload))?;
    let mut out = Vec::with_capacity(payload + 256 + samples.len() * 16);
    let compatible_brands = [b"msdh", b"cmfs", b"cmfc"].map(Into::into).to_vec();
    Styp { major_brand: b"msdh".into(), minor_version: 0, compatible_brands }.encode(&mut out)?;

    let same_duration = samples.iter().all(|sample| sample.duration == first.duration);
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number: u32::try_from(number).unwrap_or(u32::MAX) },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK_ID,
                default_base_is_moof: true,
                default_sample_duration: same_duration.then_some(first.duration),
                default_sample_flags: (!is_video).then_some(SYNC),
                ..Default::default()
            },
            tfdt: Some(Tfdt { base_media_decode_time: decode_time }),
            trun: vec![Trun {
                data_offset: Some(0),
                samples: TrunSamples::Explicit(entries(samples, same_duration, is_video)?),
            }],
            ..Default::default()
        }],
    };
    // The offset counts from the moof's first byte, whose length does not depend on the offset's value.
    let mut measured = Vec::new();
    moof.encode(&mut measured)?;
    let offset = i32::try_from(measured.len() + BOX_HEAD_BYTES)
        .map_err(|_| BoxError::TooLarge(measured.len()))?;
    moof.traf[0].trun[0].data_offset = Some(offset);
    moof.encode(&mut out)?;

    out.extend_from_slice(&mdat_bytes.to_be_bytes());
    out.extend_from_slice(b"mdat");
    for sample in samples {
        out.extend_from_slice(&sample.data);
    }
    Ok(out)
}

fn entries(
    samples: &[Sample],
    same_duration: bool,
    is_video: bool,
) -> Result<Vec<TrunEntry>, BoxError> {
    let has_offsets = samples.iter().any(|sample| sample.composition_offset != 0);
    samples
        .iter()
        .map(|sample| {
            let bytes = sample.data.len();
            Ok(TrunEntry {
                duration: (!same_duration).then_some(sample.duration),
                size: Some(u32::try_from(bytes).map_err(|_| BoxError::TooLarge(bytes))?),
                flags: is_video.then_some(if sample.is_sync { SYNC } else { NOT_SYNC }),
                cts: has_offsets.then_some(sample.composition_offset.into()),
            })
        })
        .collect()
}

/// Every rendition is a file of its own with one track.
pub(super) const TRACK_ID: u32 = 1;

const BOX_HEAD_BYTES: usize = 8;
/// Depends on no other sample (ISO/IEC 14496-12 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
/// Depends on others, is not a sync sample.
const NOT_SYNC: u32 = 0x0101_0000;

#[cfg(test)]
mod tests {
    use mp4_atom::{Any, DecodeMaybe};

    use super::*;

    fn sample(dts: i64, offset: i32, data: &[u8]) -> Sample {
        Sample {
            track: 0,
            is_sync: dts == 0,
            dts,
            composition_offset: offset,
            duration: 1000,
            data: data.to_vec(),
        }
    }

    #[test]
    fn the_samples_lie_where_the_run_says() {
        let samples =
            [sample(0, 2000, b"first"), sample(1000, 0, b"second"), sample(2000, 1000, b"3")];
        let bytes = segment(7, 90_000, &samples, true).expect("a segment");
        let mut rest = &bytes[..];
        let mut names = Vec::new();
        let mut run = None;
        while let Some(atom) = Any::decode_maybe(&mut rest).expect("boxes") {
            match atom {
                Any::Styp(_) => names.push("styp"),
                Any::Moof(moof) => {
                    names.push("moof");
                    run = Some(moof);
                }
                Any::Mdat(mdat) => {
                    names.push("mdat");
                    assert_eq!(mdat.data, b"firstsecond3");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(names, ["styp", "moof", "mdat"]);
        let moof = run.expect("a moof");
        assert_eq!(moof.mfhd.sequence_number, 7);
        let traf = &moof.traf[0];
        assert_eq!(traf.tfdt.as_ref().map(|tfdt| tfdt.base_media_decode_time), Some(90_000));
        assert_eq!(traf.tfhd.default_sample_duration, Some(1000));
        let flags: Vec<_> = traf.trun[0].samples.iter().map(|entry| entry.flags).collect();
        assert_eq!(flags, [Some(SYNC), Some(NOT_SYNC), Some(NOT_SYNC)]);
        let moof_at = bytes.windows(4).position(|word| word == b"moof").expect("a moof") - 4;
        let offset = usize::try_from(traf.trun[0].data_offset.expect("an offset")).expect("small");
        assert!(bytes[moof_at + offset..].starts_with(b"first"));
    }

    #[test]
    fn nothing_is_not_a_segment() {
        assert!(matches!(segment(1, 0, &[], true), Err(BoxError::Empty)));
    }
}
