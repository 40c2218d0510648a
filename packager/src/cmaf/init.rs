//! Init segments: `ftyp` and `moov` of one track.
//!
//! The edit list takes off what stands before the presentation: the reorder delay of video and the priming of
//! audio. Composition offsets are then never negative, which is what every player agrees on.

use mp4_atom::{
    Codec, Dinf, Dref, DrefEntry, Edts, Elst, ElstEntry, Encode, Ftyp, Hdlr, Mdhd, Mdia, Minf,
    Moov, Mvex, Mvhd, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Vmhd,
};

use super::{
    sample_entry::{EntryKind, SampleEntry},
    segment::{BoxError, TRACK_ID},
};

/// The bytes of an init segment. `media_time` is the number of ticks before the presentation.
///
/// # Errors
/// A value that a box cannot hold.
pub fn init_segment(
    entry: &SampleEntry,
    timescale: u32,
    media_time: u64,
) -> Result<Vec<u8>, BoxError> {
    let mut out = Vec::new();
    let compatible_brands = [b"iso6", b"cmfc", b"mp41", b"dash"].map(Into::into).to_vec();
    Ftyp { major_brand: b"iso6".into(), minor_version: 0, compatible_brands }.encode(&mut out)?;
    Moov {
        mvhd: Mvhd {
            creation_time: 0,
            modification_time: 0,
            timescale,
            duration: 0,
            rate: 1.into(),
            volume: 1.into(),
            matrix: Default::default(),
            next_track_id: TRACK_ID + 1,
        },
        meta: None,
        udta: None,
        ainf: None,
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex {
                track_id: TRACK_ID,
                default_sample_description_index: 1,
                default_sample_duration: 0,
                default_sample_size: 0,
                default_sample_flags: 0,
            }],
        }),
        trak: vec![track(entry, timescale, media_time)],
    }
    .encode(&mut out)?;
    Ok(out)
}

fn track(entry: &SampleEntry, timescale: u32, media_time: u64) -> Trak {
    let (width, height, volume, handler, name) = match entry.kind() {
        EntryKind::Video { width, height } => (width, height, 0, b"vide", "VideoHandler"),
        EntryKind::Audio { .. } => (0, 0, 1, b"soun", "SoundHandler"),
    };
    let is_video = matches!(entry.kind(), EntryKind::Video { .. });
    let edit =
        ElstEntry { segment_duration: 0, media_time: Some(media_time), media_rate: 1.into() };
    Trak {
        tkhd: Tkhd {
            creation_time: 0,
            modification_time: 0,
            track_id: TRACK_ID,
            duration: 0,
            layer: 0,
            alternate_group: 0,
            enabled: true,
            in_movie: true,
            size_is_aspect_ratio: false,
            volume: volume.into(),
            matrix: Default::default(),
            width: width.into(),
            height: height.into(),
        },
        edts: (media_time > 0).then(|| Edts { elst: Some(Elst { entries: vec![edit] }) }),
        meta: None,
        senc: None,
        tref: None,
        udta: None,
        mdia: Mdia {
            mdhd: Mdhd {
                creation_time: 0,
                modification_time: 0,
                timescale,
                duration: 0,
                language: "und".into(),
            },
            hdlr: Hdlr { handler: handler.into(), name: name.into() },
            minf: Minf {
                vmhd: is_video.then(Vmhd::default),
                smhd: (!is_video).then(Smhd::default),
                dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
                stbl: sample_table(entry.codec().clone()),
                ..Default::default()
            },
        },
    }
}

/// Empty but for the sample entry: the samples are in the segments.
fn sample_table(codec: Codec) -> Stbl {
    Stbl { stsd: Stsd { codecs: vec![codec] }, stco: Some(Stco::default()), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Any, DecodeMaybe};

    use super::*;
    use crate::cmaf::sample_entry::tests::{avc1, mp4a};

    fn moov(init: &[u8]) -> Moov {
        let mut rest = init;
        while let Some(atom) = Any::decode_maybe(&mut rest).expect("boxes") {
            if let Any::Moov(moov) = atom {
                return moov;
            }
        }
        panic!("no moov")
    }

    #[test]
    fn the_edit_list_takes_off_what_stands_before_the_presentation() {
        for (entry, media_time) in [(avc1(640, 360), 2000), (mp4a(), 1024)] {
            let init = init_segment(&entry, 48_000, media_time).expect("an init segment");
            let trak = &moov(&init).trak[0];
            let edits = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()).expect("an edit");
            assert_eq!(edits.entries[0].media_time, Some(media_time));
            assert_eq!(trak.mdia.mdhd.timescale, 48_000);
        }
    }

    #[test]
    fn without_delay_there_is_no_edit_list() {
        let init = init_segment(&avc1(640, 360), 30_000, 0).expect("an init segment");
        let moov = moov(&init);
        assert!(moov.trak[0].edts.is_none());
        assert_eq!(moov.trak[0].tkhd.width, 640.into());
    }
}
