//! The filters between decoder and rungs, as text for libav.
//!
//! What comes out is the same for every upload: a constant rate, upright, 8-bit 4:2:0, BT.709, limited range. Scaling
//! is left to the rungs, and corrects the sample aspect ratio with it.

use crate::{ffi::libav::StreamFacts, fraction::Fraction};

/// The chain for a source of these facts.
pub(super) fn chain(
    facts: &StreamFacts,
    pixel_format: i32,
    upright: Option<&str>,
    rate: Fraction,
) -> String {
    let mut filters = Vec::new();
    filters.extend(facts.is_interlaced.then(|| DEINTERLACE.to_owned()));
    filters.push(format!("fps=fps={}/{}:start_time=0", rate.num, rate.den));
    filters.extend(upright.map(str::to_owned));
    filters.push("setsar=1".to_owned());
    filters.extend(colour(facts, pixel_format));
    filters.push("format=yuv420p".to_owned());
    filters.join(",")
}

fn colour(facts: &StreamFacts, pixel_format: i32) -> Option<String> {
    if matches!(facts.transfer, TRANSFER_PQ | TRANSFER_HLG) {
        return Some(TONE_MAP.to_owned());
    }
    let matrix = matrix_name(facts);
    let is_plain = pixel_format == YUV420P && !facts.is_full_range;
    if matrix == "bt709" && is_plain {
        return None;
    }
    Some(format!("scale=in_color_matrix={matrix}:out_color_matrix=bt709:out_range=tv"))
}

/// libav's name of the source's matrix; what is not tagged is guessed from the size, as players do.
fn matrix_name(facts: &StreamFacts) -> &'static str {
    match facts.matrix {
        1 => "bt709",
        4 => "fcc",
        5 | 6 => "bt601",
        7 => "smpte240m",
        9 | 10 => "bt2020",
        _ if facts.width.min(facts.height) >= HD_SHORT_SIDE => "bt709",
        _ => "bt601",
    }
}

/// Two fields become one picture; pictures that are not marked as fields pass.
const DEINTERLACE: &str = "bwdif=mode=send_frame:deint=interlaced";
/// To linear light, into the smaller gamut, compress highlights, back to a picture for every screen.
const TONE_MAP: &str = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,\
    tonemap=tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv";
/// H.273 transfer functions of HDR.
const TRANSFER_PQ: i32 = 16;
const TRANSFER_HLG: i32 = 18;
/// libav's number of plain 8-bit 4:2:0.
const YUV420P: i32 = 0;
/// From here on untagged video is taken to be BT.709.
const HD_SHORT_SIDE: u32 = 720;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(matrix: i32, transfer: i32, short_side: u32) -> StreamFacts {
        StreamFacts { matrix, transfer, width: 2000, height: short_side, ..Default::default() }
    }

    #[test]
    fn a_plain_source_is_only_given_a_rate() {
        let chain = chain(&facts(1, 1, 1080), YUV420P, None, Fraction::new(30_000, 1001));
        assert_eq!(chain, "fps=fps=30000/1001:start_time=0,setsar=1,format=yuv420p");
    }

    #[test]
    fn colours_are_converted_only_where_they_differ() {
        let rate = Fraction::new(30, 1);
        let ten_bit = 64;
        for (name, facts, pixel_format, want) in [
            ("untagged HD", facts(2, 2, 720), YUV420P, None),
            ("untagged SD", facts(2, 2, 480), YUV420P, Some("in_color_matrix=bt601")),
            ("tagged SD", facts(6, 6, 1080), YUV420P, Some("in_color_matrix=bt601")),
            ("10 bits", facts(1, 1, 1080), ten_bit, Some("in_color_matrix=bt709")),
            ("HDR10", facts(9, TRANSFER_PQ, 1080), ten_bit, Some("tonemap")),
            ("HLG", facts(9, TRANSFER_HLG, 1080), ten_bit, Some("tonemap")),
            ("wide gamut without HDR", facts(9, 14, 1080), ten_bit, Some("in_color_matrix=bt2020")),
        ] {
            let chain = chain(&facts, pixel_format, None, rate);
            match want {
                Some(want) => assert!(chain.contains(want), "{name}: {chain}"),
                None => assert!(!chain.contains("scale"), "{name}: {chain}"),
            }
        }
    }

    #[test]
    fn fields_are_joined_before_anything_else() {
        let facts = StreamFacts { is_interlaced: true, ..facts(1, 1, 1080) };
        let chain = chain(&facts, YUV420P, Some("transpose=clock"), Fraction::new(25, 1));
        assert!(chain.starts_with("bwdif"), "{chain}");
    }

    #[test]
    fn full_range_is_made_limited_and_turns_come_first() {
        let facts = StreamFacts { is_full_range: true, ..facts(1, 1, 1080) };
        let chain = chain(&facts, YUV420P, Some("transpose=clock"), Fraction::new(25, 1));
        assert!(chain.contains("out_range=tv"), "{chain}");
        assert!(chain.find("transpose").expect("turned") < chain.find("scale").expect("ranged"));
    }
}
