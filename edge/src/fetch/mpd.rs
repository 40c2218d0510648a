//! Reading of a live MPD how far it has come.
//!
//! Only one whose segments are listed (`SegmentTimeline`) has to change with every segment, so only such a one can
//! stand still. One whose segments are numbered by the clock (`SegmentTemplate@duration`) may stay the same for hours
//! while its stream goes on, and is not followed. Pure, and forgiving. Invariant: neither time nor memory grow beyond
//! the text that was read.

use std::time::Duration;

use super::playlist::{Playlist, Position};

/// How far an MPD has come and how often it should change; `None` when it is none that has to change.
pub(super) fn read(text: &[u8]) -> Option<Playlist<'static>> {
    let mut text = std::str::from_utf8(text).ok()?;
    let mut state = State::default();
    while let Some(tag) = next_tag(&mut text) {
        state.take(tag)?;
    }
    state.playlist()
}

/// What is known after some of the tags.
#[derive(Default)]
struct State {
    /// `minimumUpdatePeriod`; absent when the MPD will not be updated any more.
    period_ms: Option<u64>,
    is_live: bool,
    /// Where the period begins, in ms.
    start_ms: u64,
    timescale: u64,
    offset: u64,
    /// Where the timeline that is being read has come to, in its timescale.
    at: u64,
    /// The longest segment, in ms.
    longest_ms: u64,
    /// The end of the timeline that has come furthest, in ms.
    end_ms: u64,
    segments: u64,
}

impl State {
    /// Takes the next tag; `None` ends the reading.
    fn take(&mut self, tag: &str) -> Option<()> {
        let (name, attributes) =
            tag.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((tag, ""));
        let number = |name| attribute(attributes, name).map(str::parse::<u64>);
        let number = |name, default| number(name).map_or(Some(default), Result::ok);
        match name.rsplit(':').next()? {
            "MPD" => {
                self.is_live = attribute(attributes, "type") == Some("dynamic");
                let period = attribute(attributes, "minimumUpdatePeriod");
                self.period_ms = period.and_then(duration_ms);
                self.is_live.then_some(())?;
            }
            "Period" => {
                let start = attribute(attributes, "start").map(duration_ms);
                // Without a start it follows the one before, whose end is where the timeline has come to.
                self.start_ms = start.map_or(Some(self.end_ms), |start| start)?;
                (self.timescale, self.offset) = (1, 0);
            }
            "SegmentTemplate" | "SegmentList" => {
                self.timescale = number("timescale", 1)?.max(1);
                self.offset = number("presentationTimeOffset", 0)?;
            }
            "SegmentTimeline" => self.at = self.offset,
            "S" => {
                self.at = number("t", self.at)?;
                // `-1` goes on until the end of the period: such a timeline need not change.
                let repeats = number("r", 0)?;
                let length = number("d", 0)?;
                let count = repeats.checked_add(1)?;
                self.at = self.at.checked_add(length.checked_mul(count)?)?;
                self.segments = self.segments.checked_add(count)?;
                self.longest_ms = self.longest_ms.max(self.ms(length)?);
                let end = self.start_ms.checked_add(self.ms(self.at.saturating_sub(self.offset))?);
                self.end_ms = self.end_ms.max(end?);
            }
            _ => {}
        }
        Some(())
    }

    fn ms(&self, units: u64) -> Option<u64> {
        Some(units.checked_mul(1000)? / self.timescale.max(1))
    }

    fn playlist(self) -> Option<Playlist<'static>> {
        if !self.is_live || self.segments == 0 {
            return None;
        }
        Some(Playlist {
            // Segments that come less often than players look are no standstill.
            target: Duration::from_millis(self.period_ms.unwrap_or(0).max(self.longest_ms)),
            position: Position { sequence: self.end_ms, parts: 0 },
            is_ended: self.period_ms.is_none(),
            segments: Vec::new(),
        })
    }
}

/// The next start tag, without its brackets. Comments, declarations and end tags are passed over.
fn next_tag<'a>(text: &mut &'a str) -> Option<&'a str> {
    loop {
        let from = &text[text.find('<')? + 1..];
        if let Some(comment) = from.strip_prefix("!--") {
            *text = &comment[comment.find("-->")? + 3..];
            continue;
        }
        let end = from.find('>')?;
        *text = &from[end + 1..];
        if !from.starts_with(['/', '?', '!']) {
            return Some(from[..end].trim_end_matches('/'));
        }
    }
}

/// The value of an attribute.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (known, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, behind) = after[1..].split_once(quote)?;
        if known.trim() == name {
            return Some(value);
        }
        rest = behind;
    }
}

/// An `xs:duration` of days and less, in ms; `None` for years and months, which have no one length.
fn duration_ms(text: &str) -> Option<u64> {
    let (days, time) = match text.trim().strip_prefix('P')?.split_once('T') {
        Some((days, time)) => (days, time),
        None => (text.trim().strip_prefix('P')?, ""),
    };
    let mut ms = parts_ms(days, &[('D', 86_400_000)])?;
    ms = ms.checked_add(parts_ms(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?)?;
    Some(ms)
}

/// The sum of numbers before these units, which stand in this order.
fn parts_ms(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let mut sum = 0_u64;
    for (unit, ms) in units {
        let Some((number, rest)) = text.split_once(*unit) else { continue };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        sum = sum.checked_add(whole.parse::<u64>().ok()?.checked_mul(*ms)?)?;
        // A unit's thousandths; what is finer says nothing here.
        let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
        sum = sum.checked_add(digits.parse::<u64>().ok()?.checked_mul(*ms)? / 1000)?;
        text = rest;
    }
    text.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mpd(attributes: &str, timeline: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<!-- <S d=\"9999\"/> -->\n<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' {attributes}>\
             <Period id='1' start='PT0S'><AdaptationSet><SegmentTemplate timescale=\"1000\" media=\"$Time$.m4s\">\
             <SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate></AdaptationSet></Period></MPD>"
        )
    }

    const LIVE: &str =
        "type=\"dynamic\" minimumUpdatePeriod=\"PT2S\" publishTime=\"2026-01-01T00:00:00Z\"";

    fn end_s(timeline: &str) -> Option<u64> {
        let read = read(mpd(LIVE, timeline).as_bytes());
        read.map(|playlist| playlist.position.sequence / 1000)
    }

    #[test]
    fn a_timeline_says_how_far_it_is() {
        let found = read(mpd(LIVE, "<S t=\"8000\" d=\"4000\" r=\"2\"/>").as_bytes()).unwrap();
        assert_eq!(found.position, Position { sequence: 20_000, parts: 0 });
        assert_eq!(found.target, Duration::from_secs(4), "longer than the period");
        assert!(!found.is_ended);
        assert_eq!(end_s("<S t='8000' d='4000' r='2' /><S d='4000'/>"), Some(24));
        assert_eq!(
            end_s("<S t=\"8000\" d=\"4000\" r=\"3\"/>"),
            Some(24),
            "the same, written otherwise"
        );
    }

    #[test]
    fn periods_follow_one_another_and_the_furthest_counts() {
        let text = mpd(LIVE, "<S t=\"0\" d=\"2000\"/>").replace(
            "</MPD>",
            "<Period start='PT1H0M2.5S'><AdaptationSet><SegmentTemplate timescale='90000' \
             presentationTimeOffset='900000'><SegmentTimeline><S t='900000' d='180000' r='1'/>\
             </SegmentTimeline></SegmentTemplate></AdaptationSet></Period></MPD>",
        );
        assert_eq!(read(text.as_bytes()).unwrap().position.sequence, 3_602_500 + 4000);
    }

    #[test]
    fn what_need_not_change_is_not_followed() {
        let timeline = "<S t=\"0\" d=\"2000\"/>";
        assert_eq!(read(mpd("type=\"static\"", timeline).as_bytes()), None);
        assert_eq!(read(mpd(LIVE, "").as_bytes()), None, "numbered by the clock");
        assert_eq!(read(mpd(LIVE, "<S t=\"0\" d=\"2000\" r=\"-1\"/>").as_bytes()), None);
        let last = read(mpd("type=\"dynamic\"", timeline).as_bytes()).unwrap();
        assert!(last.is_ended, "without a period there is no update");
        for text in
            ["", "x", "#EXTM3U", "<MPD", "<MPD type=\"dynamic\"><S d=\"x\"/></MPD>", "<!-- <MPD"]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(end_s("<S t=\"18446744073709551615\" d=\"2\"/>"), None);
    }

    #[test]
    fn durations_are_read() {
        for (text, expected) in [
            ("PT2S", Some(2000)),
            ("PT0.25S", Some(250)),
            ("P1DT1H1M1.5S", Some(90_061_500)),
            ("P2D", Some(172_800_000)),
            ("PT1.2345S", Some(1234)),
            ("P1Y", None),
            ("2S", None),
            ("PT1S1H", None),
            ("PTxS", None),
            ("PT99999999999999999999S", None),
        ] {
            assert_eq!(duration_ms(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s)(<MPD type=\"dynamic\">)?(<|>|/|S |SegmentTimeline|Period| t=\"| d=\"|\"|[0-9]{1,20}|.){0,60}") {
            let _ = read(text.as_bytes());
        }
    }
}
