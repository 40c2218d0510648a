//! Which container the first bytes announce.
//!
//! The accepted ones have unmistakable marks. Text, HTML, playlists and everything unknown have none of them and
//! never reach libav.

/// libav's name of the one demuxer for these first bytes.
pub(super) fn demuxer(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Some("matroska"),
        [b'O', b'g', b'g', b'S', ..] => Some("ogg"),
        [b'F', b'L', b'V', 1, ..] => Some("flv"),
        [0, 0, 1, 0xBA, ..] => Some("mpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Some("avi"),
        [_, _, _, _, kind @ ..] if is_iso_box(kind) => Some("mov"),
        _ if is_transport_stream(head) => Some("mpegts"),
        _ => None,
    }
}

/// Whether clocks of this container may jump in the middle of a recording.
pub(super) fn may_jump(demuxer: &str) -> bool {
    matches!(demuxer, "mpegts" | "mpeg")
}

fn is_iso_box(kind: &[u8]) -> bool {
    ISO_BOXES.iter().any(|name| kind.starts_with(*name))
}

fn is_transport_stream(head: &[u8]) -> bool {
    [(0, 188), (4, 192), (0, 204)].into_iter().any(|(first, packet)| {
        (0..TRANSPORT_PACKETS).all(|number| head.get(first + number * packet) == Some(&0x47))
    })
}

/// How many bytes [`demuxer`] wants to see.
pub(super) const HEAD_BYTES: usize = 2048;
/// Packets in a row whose sync byte must be right.
const TRANSPORT_PACKETS: usize = 4;
/// Boxes and atoms that stand first in ISO base media and QuickTime files.
const ISO_BOXES: [&[u8; 4]; 9] =
    [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_known_by_their_first_bytes() {
        let mut transport = vec![0; 1000];
        let mut blu_ray = vec![0; 1000];
        for packet in 0..5 {
            transport[packet * 188] = 0x47;
            blu_ray[4 + packet * 192] = 0x47;
        }
        for (head, want) in [
            (&b"\0\0\0\x20ftypisom"[..], Some("mov")),
            (b"\0\0\0\x08wide\0\0\0\0mdat", Some("mov")),
            (b"\x1A\x45\xDF\xA3\x01", Some("matroska")),
            (b"RIFF\0\0\0\0AVI LIST", Some("avi")),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"OggS\0", Some("ogg")),
            (b"FLV\x01\x05", Some("flv")),
            (&transport, Some("mpegts")),
            (&blu_ray, Some("mpegts")),
            (&transport[..500], None),
            (b"", None),
            (b"ftyp", None),
            (b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", None),
            (b"<!doctype html><title>x</title>", None),
            (b"ffconcat version 1.0\nfile /etc/passwd\n", None),
            (b"\x89PNG\r\n\x1a\n", None),
            (b"ID3\x04", None),
        ] {
            assert_eq!(demuxer(head), want, "{:?}", &head[..head.len().min(12)]);
        }
    }
}
