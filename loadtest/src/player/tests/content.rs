//! Content of servers in tests: recorded and live presentations, written as HLS.

use std::{fmt::Write as _, time::Duration};

use super::{
    super::Request,
    simulation::{Answer, Reply, WALL_AT_START_MS},
};

/// A recorded presentation at `https://a.example/v/`: `main.m3u8`, `v{n}.m3u8` and `a.m3u8`, segments beside them.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    /// Kilobits per second of each rendition, as the playlist names them.
    pub(super) kilobits: Vec<u64>,
    /// Milliseconds of each segment.
    pub(super) segments: Vec<u64>,
    /// Milliseconds of the segments of the sound, if it stands alone.
    pub(super) audio: Option<Vec<u64>>,
    /// Whether renditions have init segments.
    pub(super) has_init: bool,
}

impl Recorded {
    pub(super) fn new(kilobits: &[u64], count: usize, seconds: u64) -> Self {
        Self {
            kilobits: kilobits.to_vec(),
            segments: vec![seconds * 1_000; count],
            audio: None,
            has_init: true,
        }
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_millis(self.segments.iter().sum())
    }

    /// What the server answers at once.
    pub(super) fn reply(&self, request: &Request) -> Reply {
        let name = request.url.path().rsplit('/').next().unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        let track = stem.split('-').next().unwrap_or_default();
        let number = stem.split('-').nth(1).and_then(|number| number.parse::<usize>().ok());
        let kilobits = match track {
            "a" => Some(AUDIO_KILOBITS),
            _ => track.get(1..).and_then(|n| self.kilobits.get(n.parse::<usize>().ok()?)).copied(),
        };
        let segments = if track == "a" { self.audio.as_ref() } else { Some(&self.segments) };
        match (name, kilobits, segments, number) {
            ("main.m3u8", ..) => Reply::Text(self.multivariant()),
            (_, Some(_), Some(segments), None) if name.ends_with(".m3u8") => {
                Reply::Text(self.playlist(track, segments))
            }
            (_, Some(_), _, None) if name.ends_with(".mp4") => Reply::Media(700),
            (_, Some(kilobits), Some(segments), Some(number)) if number < segments.len() => {
                Reply::Media(kilobits * segments[number] / 8)
            }
            _ => Reply::Fail(crate::kind::FailureClass::ClientError, Some(404)),
        }
    }

    fn multivariant(&self) -> String {
        let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
        let mut group = "";
        if self.audio.is_some() {
            text +=
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"s\",NAME=\"x\",DEFAULT=YES,URI=\"a.m3u8\"\n";
            group = ",AUDIO=\"s\"";
        }
        for (index, kilobits) in self.kilobits.iter().enumerate() {
            let _ =
                writeln!(text, "#EXT-X-STREAM-INF:BANDWIDTH={kilobits}000{group}\nv{index}.m3u8");
        }
        text
    }

    fn playlist(&self, track: &str, segments: &[u64]) -> String {
        let target = segments.iter().max().map_or(1, |longest| longest.div_ceil(1_000));
        let mut text = format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target}\n");
        if self.has_init {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"{track}.mp4\"");
        }
        let ending = if self.has_init { "m4s" } else { "ts" };
        for (number, ms) in segments.iter().enumerate() {
            let seconds = *ms as f64 / 1_000.0;
            let _ = writeln!(text, "#EXTINF:{seconds:.3},\n{track}-{number}.{ending}");
        }
        text + "#EXT-X-ENDLIST\n"
    }
}

/// A live stream of segments at `https://a.example/l/v.m3u8`: each is there when it is over.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) segment_ms: u64,
    /// Segments in the playlist.
    pub(super) window: u64,
    /// Segment 0 was over so long before the session.
    pub(super) age_ms: u64,
    pub(super) is_dated: bool,
    /// Nothing more comes after this time.
    pub(super) ends_ms: Option<u64>,
    /// LL-HLS: the length of parts, of which a segment has a whole number.
    pub(super) part_ms: Option<u64>,
}

impl Live {
    pub(super) fn answer(&self, now: Duration, request: &Request) -> Answer {
        let name = request.url.path().rsplit('/').next().unwrap_or_default();
        if name != "v.m3u8" {
            return self.media(now, name);
        }
        let mut wanted = [None, None];
        for (key, value) in request.url.query_pairs() {
            match &*key {
                "_HLS_msn" => wanted[0] = value.parse::<u64>().ok(),
                "_HLS_part" => wanted[1] = value.parse::<u64>().ok(),
                _ => {}
            }
        }
        // A server that blocks answers as soon as what was named is there.
        let ready = match wanted {
            [Some(number), Some(part)] => {
                self.begin_ms(number) + (part + 1) * self.part_ms.unwrap()
            }
            [Some(number), None] => self.begin_ms(number) + self.segment_ms,
            _ => 0,
        };
        let now_ms = self.clock_ms(now);
        let at = now_ms
            .max(ready)
            .min(self.ends_ms.map_or(u64::MAX, |end| end + self.age_ms).max(now_ms));
        Answer { reply: Reply::Text(self.playlist(at)), delay: Duration::from_millis(at - now_ms) }
    }

    /// The playlist at a time of the stream.
    fn playlist(&self, at_ms: u64) -> String {
        let end_ms = self.ends_ms.map_or(u64::MAX, |end| end + self.age_ms);
        let is_ended = at_ms >= end_ms;
        let at_ms = at_ms.min(end_ms);
        let over = at_ms / self.segment_ms; // whole segments so far
        let first = over.saturating_sub(self.window);
        let target = self.segment_ms.div_ceil(1_000);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
        );
        if let Some(part) = self.part_ms {
            let part = part as f64 / 1_000.0;
            let _ = writeln!(text, "#EXT-X-PART-INF:PART-TARGET={part}");
            let _ = writeln!(
                text,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={}",
                part * 3.0
            );
        }
        text += "#EXT-X-MAP:URI=\"v.mp4\"\n";
        for number in first..over {
            if self.is_dated {
                let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", self.date(number));
            }
            // Parts stand beside the last two segments.
            if number + 2 >= over {
                self.write_parts(&mut text, number, u64::MAX);
            }
            let seconds = self.segment_ms as f64 / 1_000.0;
            let _ = writeln!(text, "#EXTINF:{seconds:.3},\nv-{number}.m4s");
        }
        if is_ended {
            return text + "#EXT-X-ENDLIST\n";
        }
        if let Some(part_ms) = self.part_ms {
            let parts = (at_ms - self.begin_ms(over)) / part_ms;
            if parts > 0 && self.is_dated {
                let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", self.date(over));
            }
            self.write_parts(&mut text, over, parts);
            let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p-{over}-{parts}.m4s\"");
        }
        text
    }

    fn write_parts(&self, text: &mut String, number: u64, count: u64) {
        let Some(part_ms) = self.part_ms else { return };
        for part in 0..count.min(self.segment_ms / part_ms) {
            let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
            let seconds = part_ms as f64 / 1_000.0;
            let _ = writeln!(
                text,
                "#EXT-X-PART:DURATION={seconds},URI=\"p-{number}-{part}.m4s\"{independent}"
            );
        }
    }

    /// Media is there when it is over; a hinted part is waited for.
    fn media(&self, now: Duration, name: &str) -> Answer {
        let numbers: Vec<u64> =
            name.split(['-', '.']).filter_map(|number| number.parse().ok()).collect();
        let (ready, length) = match (&numbers[..], self.part_ms) {
            ([number], _) => (self.begin_ms(*number) + self.segment_ms, self.segment_ms),
            ([number, part], Some(part_ms)) => {
                (self.begin_ms(*number) + (part + 1) * part_ms, part_ms)
            }
            _ => (0, 0),
        };
        let delay = Duration::from_millis(ready.saturating_sub(self.clock_ms(now)));
        Answer { reply: Reply::Media(700 + length * 125), delay }
    }

    /// Milliseconds since the stream began.
    fn clock_ms(&self, now: Duration) -> u64 {
        now.as_millis() as u64 + self.age_ms
    }

    fn begin_ms(&self, number: u64) -> u64 {
        number * self.segment_ms
    }

    fn date(&self, number: u64) -> String {
        let ms = WALL_AT_START_MS - self.age_ms as i64 + self.begin_ms(number) as i64;
        let at =
            time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap();
        at.format(&time::format_description::well_known::Rfc3339).unwrap()
    }
}

/// The bitrate of sound that stands alone.
pub(super) const AUDIO_KILOBITS: u64 = 128;
