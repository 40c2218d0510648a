//! An init segment as libavformat would mint it: one track with one sample entry.

use mp4_atom::{
    Audio, Avc1, Avcc, Codec, Dinf, Dref, DrefEntry, Encode, Esds, Hdlr, Hvc1, Hvcc, Mdhd, Mdia,
    Minf, Moov, Mp4a, Mvhd, Stbl, Stco, Stsd, Tkhd, Trak, Url, Visual, esds,
};

pub(super) fn video(width: u32, height: u32, is_hevc: bool) -> Codec {
    let side = |side: u32| u16::try_from(side).expect("a side");
    let (width, height) = (side(width), side(height));
    let visual = Visual { data_reference_index: 1, width, height, ..Default::default() };
    if is_hevc {
        let hvcc = Hvcc {
            general_profile_idc: 1,
            general_profile_compatibility_flags: [0x60, 0, 0, 0],
            general_level_idc: 93,
            length_size_minus_one: 3,
            ..Hvcc::new()
        };
        return Codec::Hvc1(Hvc1 { visual, hvcc, ..Default::default() });
    }
    let avcc = Avcc {
        configuration_version: 1,
        avc_profile_indication: 100,
        avc_level_indication: 31,
        length_size: 4,
        sequence_parameter_sets: vec![vec![0x67, 0x64, 0, 0x1f, 0xac]],
        picture_parameter_sets: vec![vec![0x68, 0xeb]],
        ..Default::default()
    };
    Codec::Avc1(Avc1 { visual, avcc, ..Default::default() })
}

pub(super) fn audio() -> Codec {
    let dec_config = esds::DecoderConfig {
        object_type_indication: 0x40,
        stream_type: 5,
        dec_specific: Some(esds::DecoderSpecific {
            profile: 2,
            freq_index: 3,
            chan_conf: 2,
            ..Default::default()
        }),
        ..Default::default()
    };
    let audio = Audio {
        data_reference_index: 1,
        channel_count: 2,
        sample_size: 16,
        sample_rate: 48_000.into(),
    };
    let esds = Esds { es_desc: esds::EsDescriptor { dec_config, ..Default::default() } };
    Codec::Mp4a(Mp4a { audio, esds, btrt: None, taic: None })
}

pub(super) fn minted(entry: Codec, timescale: u32) -> Vec<u8> {
    let handler = if entry.visual().is_some() { b"vide" } else { b"soun" };
    let stbl = Stbl {
        stsd: Stsd { codecs: vec![entry] },
        stco: Some(Stco::default()),
        ..Default::default()
    };
    let minf = Minf {
        dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
        stbl,
        ..Default::default()
    };
    let mdhd = Mdhd { timescale, language: "und".into(), ..Default::default() };
    let hdlr = Hdlr { handler: handler.into(), name: String::new() };
    let trak = Trak {
        tkhd: Tkhd { track_id: 1, ..Default::default() },
        mdia: Mdia { mdhd, hdlr, minf },
        ..Default::default()
    };
    let mvhd = Mvhd { timescale, next_track_id: 2, ..Default::default() };
    let mut out = Vec::new();
    Moov { mvhd, trak: vec![trak], ..Default::default() }.encode(&mut out).expect("boxes");
    out
}
