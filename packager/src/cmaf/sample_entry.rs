//! The worker's minted init segment, checked: one sample entry of the kind, size and codec that were ordered.
//!
//! The entry is the only part of the worker's container bytes that reaches a player, so it is parsed to plain
//! values here and written anew; boxes that we do not write are dropped with the rest, unseen.

use mp4_atom::{Codec, Error as AtomError};

use super::minted::Minted;

/// What was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// H.264 or HEVC of this size.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// HEVC rather than H.264.
        is_hevc: bool,
    },
    /// AAC-LC.
    Audio,
}

/// One checked sample entry.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleEntry {
    codec: Codec,
    codecs: String,
    kind: EntryKind,
}

/// What the entry says about its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Video { width: u16, height: u16 },
    Audio { channels: u16, sample_rate: u16 },
}

/// Why an init segment is not used.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not ISO BMFF.
    #[error("the init segment does not parse: {0}")]
    Parse(#[from] AtomError),
    /// No `moov` with one track and one sample entry.
    #[error("the init segment has {tracks} tracks with {entries} sample entries instead of one")]
    Count {
        /// Tracks found.
        tracks: usize,
        /// Sample entries of the first one.
        entries: usize,
    },
    /// A codec that was not ordered.
    #[error("the sample entry is of another codec than ordered")]
    Codec,
    /// A size that was not ordered.
    #[error("the sample entry says {found:?} pixels where {ordered:?} were ordered")]
    Size {
        /// Width and height ordered.
        ordered: (u32, u32),
        /// Width and height found.
        found: (u16, u16),
    },
    /// Not the audio that was ordered.
    #[error("the sample entry says {channels} channels at {sample_rate} Hz")]
    Audio {
        /// Channels found.
        channels: u16,
        /// Rate found.
        sample_rate: u16,
    },
}

impl SampleEntry {
    /// Takes the entry out of an init segment.
    ///
    /// # Errors
    /// [`EntryError`] when it is not what was ordered.
    pub fn from_minted(init: &[u8], expected: Expected) -> Result<Self, EntryError> {
        let codec = only_entry(init)?;
        let (kind, codecs) = match (expected, &codec) {
            (Expected::Video { width, height, is_hevc }, Codec::Avc1(_) | Codec::Hvc1(_)) => {
                let codecs = match &codec {
                    Codec::Hvc1(entry) if is_hevc => hevc_string(&entry.hvcc),
                    Codec::Avc1(entry) if !is_hevc => avc_string(&entry.avcc),
                    _ => return Err(EntryError::Codec),
                };
                let visual = codec.visual().ok_or(EntryError::Codec)?;
                let found = (visual.width, visual.height);
                if (u32::from(found.0), u32::from(found.1)) != (width, height) {
                    return Err(EntryError::Size { ordered: (width, height), found });
                }
                (EntryKind::Video { width: found.0, height: found.1 }, codecs)
            }
            (Expected::Audio, Codec::Mp4a(entry)) => {
                let channels = entry.audio.channel_count;
                let sample_rate = entry.audio.sample_rate.integer();
                if !(1..=2).contains(&channels) || sample_rate == 0 {
                    return Err(EntryError::Audio { channels, sample_rate });
                }
                let config = &entry.esds.es_desc.dec_config;
                let profile = config.dec_specific.as_ref().map_or(AAC_LC, |info| info.profile);
                (EntryKind::Audio { channels, sample_rate }, format!("mp4a.40.{profile}"))
            }
            _ => return Err(EntryError::Codec),
        };
        Ok(Self { codec, codecs, kind })
    }

    /// Codec string (RFC 6381).
    #[must_use]
    pub fn codecs(&self) -> &str {
        &self.codecs
    }

    /// Channels and samples per second; `None` for video.
    #[must_use]
    pub fn audio(&self) -> Option<(u16, u16)> {
        match self.kind {
            EntryKind::Audio { channels, sample_rate } => Some((channels, sample_rate)),
            EntryKind::Video { .. } => None,
        }
    }

    pub(super) fn kind(&self) -> EntryKind {
        self.kind
    }

    pub(super) fn codec(&self) -> &Codec {
        &self.codec
    }
}

fn only_entry(init: &[u8]) -> Result<Codec, EntryError> {
    let Minted { tracks, entries } = Minted::read(init)?;
    match (tracks, &entries[..]) {
        (1, [entry]) => entry.codec()?.ok_or(EntryError::Codec),
        _ => Err(EntryError::Count { tracks, entries: entries.len() }),
    }
}

fn avc_string(avcc: &mp4_atom::Avcc) -> String {
    let [profile, compatibility, level] =
        [avcc.avc_profile_indication, avcc.profile_compatibility, avcc.avc_level_indication];
    format!("avc1.{profile:02x}{compatibility:02x}{level:02x}")
}

/// ISO/IEC 14496-15 annex E: profile, compatibility flags in reverse bit order, tier and level, constraint bytes
/// without the trailing zero ones.
fn hevc_string(hvcc: &mp4_atom::Hvcc) -> String {
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let space = match hvcc.general_profile_space {
        0 => "",
        1 => "A",
        2 => "B",
        _ => "C",
    };
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let mut text = format!(
        "hvc1.{space}{}.{compatibility:X}.{tier}{}",
        hvcc.general_profile_idc, hvcc.general_level_idc
    );
    let constraints = hvcc.general_constraint_indicator_flags;
    let used = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        text.push_str(&format!(".{byte:X}"));
    }
    text
}

const AAC_LC: u8 = 2;

#[cfg(test)]
pub(super) mod tests {
    use mp4_atom::{Audio, Avc1, Avcc, Esds, Hvc1, Hvcc, Mp4a, Visual, esds};
    use proptest::prelude::*;

    use super::*;
    use crate::cmaf::init_segment;

    pub(crate) fn avc1(width: u16, height: u16) -> SampleEntry {
        let avcc = Avcc {
            configuration_version: 1,
            avc_profile_indication: 100,
            profile_compatibility: 0,
            avc_level_indication: 31,
            length_size: 4,
            sequence_parameter_sets: vec![vec![0x67, 0x64, 0, 0x1f, 0xac]],
            picture_parameter_sets: vec![vec![0x68, 0xeb]],
            ..Default::default()
        };
        let visual = Visual { data_reference_index: 1, width, height, ..Default::default() };
        let codec = Codec::Avc1(Avc1 { visual, avcc, ..Default::default() });
        let kind = EntryKind::Video { width, height };
        SampleEntry { codec, codecs: "avc1.64001f".into(), kind }
    }

    pub(crate) fn mp4a() -> SampleEntry {
        let dec_config = esds::DecoderConfig {
            object_type_indication: 0x40,
            stream_type: 5,
            max_bitrate: 128_000,
            avg_bitrate: 128_000,
            dec_specific: Some(esds::DecoderSpecific {
                profile: 2,
                freq_index: 3,
                chan_conf: 2,
                ..Default::default()
            }),
            ..Default::default()
        };
        let codec = Codec::Mp4a(Mp4a {
            audio: Audio {
                data_reference_index: 1,
                channel_count: 2,
                sample_size: 16,
                sample_rate: 48_000.into(),
            },
            esds: Esds { es_desc: esds::EsDescriptor { dec_config, ..Default::default() } },
            btrt: None,
            taic: None,
        });
        let kind = EntryKind::Audio { channels: 2, sample_rate: 48_000 };
        SampleEntry { codec, codecs: "mp4a.40.2".into(), kind }
    }

    fn minted(entry: &SampleEntry) -> Vec<u8> {
        init_segment(entry, 48_000, 0).expect("an init segment")
    }

    #[test]
    fn what_was_ordered_is_taken_over() {
        let video = Expected::Video { width: 640, height: 360, is_hevc: false };
        let entry = SampleEntry::from_minted(&minted(&avc1(640, 360)), video).expect("avc1");
        assert_eq!((entry.codecs(), entry.audio()), ("avc1.64001f", None));
        let entry = SampleEntry::from_minted(&minted(&mp4a()), Expected::Audio).expect("mp4a");
        assert_eq!((entry.codecs(), entry.audio()), ("mp4a.40.2", Some((2, 48_000))));
    }

    #[test]
    fn anything_else_is_refused() {
        let video = Expected::Video { width: 640, height: 360, is_hevc: false };
        let hevc = Expected::Video { width: 640, height: 360, is_hevc: true };
        for (init, expected) in [
            (minted(&avc1(642, 360)), video),
            (minted(&avc1(640, 360)), hevc),
            (minted(&avc1(640, 360)), Expected::Audio),
            (minted(&mp4a()), video),
            (Vec::new(), video),
            (b"<html>".to_vec(), video),
            (minted(&avc1(640, 360))[..300].to_vec(), video),
        ] {
            assert!(SampleEntry::from_minted(&init, expected).is_err(), "{expected:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_damaged_segment_makes_nothing_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            is_audio: bool,
        ) {
            let (mut init, expected) = if is_audio {
                (minted(&mp4a()), Expected::Audio)
            } else {
                (minted(&avc1(640, 360)), Expected::Video { width: 640, height: 360, is_hevc: false })
            };
            for (at, byte) in &changes {
                let at = at.index(init.len());
                init[at] = *byte;
            }
            if changes.len() % 2 == 1 {
                init.truncate(cut.index(init.len()));
            }
            if let Ok(entry) = SampleEntry::from_minted(&init, expected) {
                let _ = init_segment(&entry, 48_000, 1024);
            }
        }
    }

    #[test]
    fn an_hevc_codec_string_has_its_flags_reversed_and_its_zeros_cut() {
        let hvcc = Hvcc {
            general_profile_idc: 1,
            general_profile_compatibility_flags: [0x60, 0, 0, 0],
            general_constraint_indicator_flags: [0x90, 0, 0, 0, 0, 0],
            general_level_idc: 93,
            ..Hvcc::new()
        };
        let entry = Hvc1 { hvcc, ..Default::default() };
        assert_eq!(hevc_string(&entry.hvcc), "hvc1.1.6.L93.90");
    }
}
