//! The media playlist: one pass over its lines into the list of its segments.

use std::time::Duration;

use url::Url;

use super::{
    super::{
        Object, Part, RenditionReport, SegmentList, Start,
        error::{Fault, ManifestError},
        limit,
        reference::References,
        text::Lines,
        time,
    },
    attribute::{self, Attributes},
    delta,
    segment::{Pending, Scope},
    tag,
    variable::Variables,
};

/// Reads the lines behind `#EXTM3U`.
pub(super) fn read(
    mut lines: Lines<'_>,
    base: &Url,
    before: Option<&SegmentList>,
    imported: &Variables,
) -> Result<SegmentList, ManifestError> {
    let mut reader = Reader {
        base,
        before,
        imported,
        references: References::new(base),
        variables: Variables::default(),
        pending: Pending::default(),
        parts: 0,
        target: None,
        list: SegmentList::default(),
    };
    while let Some((number, line)) = lines.next_line()? {
        reader.line(line).map_err(|fault| fault.at(number))?;
    }
    reader.finish().map_err(ManifestError::from)
}

struct Reader<'a> {
    base: &'a Url,
    before: Option<&'a SegmentList>,
    imported: &'a Variables,
    references: References<'a>,
    variables: Variables,
    pending: Pending,
    /// Parts of the segments in the list.
    parts: usize,
    /// EXT-X-TARGETDURATION.
    target: Option<Duration>,
    list: SegmentList,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), Fault> {
        if !line.starts_with('#') {
            return self.uri(line);
        }
        let (name, value) = tag(line);
        // A line without a colon is a tag as it is, so that its name is the whole line.
        match name {
            "#EXTINF" => self.pending.extinf(value)?,
            "#EXT-X-PART" => self.part(value)?,
            "#EXT-X-BYTERANGE" => self.pending.byte_range(value)?,
            "#EXT-X-PROGRAM-DATE-TIME" => self.pending.date_time(value),
            "#EXT-X-DISCONTINUITY" => self.pending.discontinuity(),
            "#EXT-X-GAP" => self.pending.gap(),
            "#EXT-X-MAP" => {
                let scope = &mut scope(&mut self.references, &self.variables);
                self.pending.map(value, scope)?;
            }
            "#EXT-X-KEY" => {
                let scope = &mut scope(&mut self.references, &self.variables);
                self.pending.key(value, scope)?;
            }
            "#EXT-X-ENDLIST" => self.list.is_ended = true,
            "#EXT-X-TARGETDURATION" => self.target = Some(target(value)?),
            "#EXT-X-MEDIA-SEQUENCE" => self.media_sequence(value)?,
            "#EXT-X-DISCONTINUITY-SEQUENCE" if self.list.segments.is_empty() => {
                self.pending.discontinuity_sequence =
                    attribute::number("EXT-X-DISCONTINUITY-SEQUENCE", value)?;
            }
            "#EXT-X-SKIP" => self.skip(value)?,
            "#EXT-X-PART-INF" => self.part_inf(value)?,
            "#EXT-X-SERVER-CONTROL" => self.server_control(value),
            "#EXT-X-PRELOAD-HINT" => self.preload_hint(value)?,
            "#EXT-X-RENDITION-REPORT" => self.rendition_report(value)?,
            "#EXT-X-START" => self.start(value),
            "#EXT-X-DEFINE" => self.variables.define(value, self.base, self.imported)?,
            "#EXT-X-STREAM-INF" if self.target.is_none() => return Err(Fault::NotAMediaPlaylist),
            _ => {}
        }
        Ok(())
    }

    fn uri(&mut self, line: &str) -> Result<(), Fault> {
        let scope = &mut scope(&mut self.references, &self.variables);
        if let Some(segment) = self.pending.close(line, scope)? {
            self.parts += segment.parts.len();
            self.list.segments.push(segment);
        }
        self.check_room()
    }

    fn part(&mut self, list: &str) -> Result<(), Fault> {
        let scope = &mut scope(&mut self.references, &self.variables);
        self.pending.part(list, scope)?;
        self.check_room()
    }

    fn check_room(&self) -> Result<(), Fault> {
        let parts = self.parts + self.pending.parts_waiting();
        if self.list.segments.len() + parts > limit::MAX_SEGMENTS {
            return Err(Fault::too_many("segments and parts", limit::MAX_SEGMENTS));
        }
        Ok(())
    }

    /// Counts only in front of the segments.
    fn media_sequence(&mut self, value: &str) -> Result<(), Fault> {
        let number = attribute::number("EXT-X-MEDIA-SEQUENCE", value)?;
        if self.list.segments.is_empty() {
            (self.list.media_sequence, self.pending.number) = (number, number);
        }
        Ok(())
    }

    fn skip(&mut self, list: &str) -> Result<(), Fault> {
        let count = Attributes::new(list).find(|(name, _)| *name == "SKIPPED-SEGMENTS");
        let (_, count) = count.ok_or(Fault::Missing("SKIPPED-SEGMENTS"))?;
        let count = count.number("SKIPPED-SEGMENTS")?;
        if self.list.skipped > 0 || !self.list.segments.is_empty() {
            return Err(Fault::invalid("EXT-X-SKIP behind a segment", list));
        }
        self.list.skipped = count;
        let first = self.list.media_sequence;
        self.list.segments = delta::skipped(self.before, first, count, &mut self.references)?;
        if let Some(last) = self.list.segments.last() {
            self.pending.follow(last);
        }
        Ok(())
    }

    fn part_inf(&mut self, list: &str) -> Result<(), Fault> {
        let target = Attributes::new(list).find(|(name, _)| *name == "PART-TARGET");
        let (_, target) = target.ok_or(Fault::Missing("PART-TARGET"))?;
        self.list.part_target = Some(target.duration("PART-TARGET")?);
        Ok(())
    }

    /// Advice only: what cannot be read is as if it were not there.
    fn server_control(&mut self, list: &str) {
        let control = &mut self.list.server_control;
        for (name, value) in Attributes::new(list) {
            let duration = value.duration("EXT-X-SERVER-CONTROL").ok();
            match name {
                "CAN-BLOCK-RELOAD" => control.can_block_reload = value.is_yes(),
                "CAN-SKIP-UNTIL" => control.can_skip_until = duration,
                "HOLD-BACK" => control.hold_back = duration,
                "PART-HOLD-BACK" => control.part_hold_back = duration,
                _ => {}
            }
        }
    }

    fn preload_hint(&mut self, list: &str) -> Result<(), Fault> {
        let (mut is_part, mut uri, mut start, mut length) = (false, None, None, None);
        for (name, value) in Attributes::new(list) {
            match name {
                "TYPE" => is_part = value.text == "PART",
                "URI" => uri = Some(value.text(&self.variables)?),
                "BYTERANGE-START" => start = Some(value.number("BYTERANGE-START")?),
                "BYTERANGE-LENGTH" => length = Some(value.number("BYTERANGE-LENGTH")?),
                _ => {}
            }
        }
        // Hints of init segments tell a player nothing that the next playlist does not.
        if !is_part {
            return Ok(());
        }
        let uri = uri.ok_or(Fault::Missing("URI of EXT-X-PRELOAD-HINT"))?;
        let url = self.references.resolve("URI of EXT-X-PRELOAD-HINT", &uri)?;
        let is_ranged = start.is_some() || length.is_some();
        let range = is_ranged.then(|| (start.unwrap_or(0), length.filter(|length| *length > 0)));
        let object = Object { url, range };
        // Its duration is the part target, which may stand further down.
        let duration = Duration::ZERO;
        self.list.preload_hint =
            Some(Part { object, duration, is_independent: false, is_gap: false });
        Ok(())
    }

    fn rendition_report(&mut self, list: &str) -> Result<(), Fault> {
        let (mut uri, mut last_number, mut last_part) = (None, None, None);
        for (name, value) in Attributes::new(list) {
            match name {
                "URI" => uri = Some(value.text(&self.variables)?),
                "LAST-MSN" => last_number = Some(value.number("LAST-MSN")?),
                "LAST-PART" => last_part = Some(value.number("LAST-PART")?),
                _ => {}
            }
        }
        let (Some(uri), Some(last_number)) = (uri, last_number) else { return Ok(()) };
        if self.list.rendition_reports.len() == limit::MAX_VARIANTS {
            return Err(Fault::too_many("rendition reports", limit::MAX_VARIANTS));
        }
        let url = self.references.resolve("URI of EXT-X-RENDITION-REPORT", &uri)?;
        self.list.rendition_reports.push(RenditionReport { url, last_number, last_part });
        Ok(())
    }

    /// An offset that cannot be read is as if it were not there.
    fn start(&mut self, list: &str) {
        let offset = Attributes::new(list).find(|(name, _)| *name == "TIME-OFFSET");
        self.list.start = offset.and_then(|(_, value)| match value.text.strip_prefix('-') {
            Some(from_end) => time::seconds(from_end).map(Start::FromEnd),
            None => time::seconds(value.text).map(Start::FromBeginning),
        });
    }

    fn finish(mut self) -> Result<SegmentList, Fault> {
        let scope = &mut scope(&mut self.references, &self.variables);
        let open = self.pending.open_end(scope)?;
        self.list.segments.extend(open.filter(|_| !self.list.is_ended));
        let target = self.target.ok_or(Fault::Missing("EXT-X-TARGETDURATION"))?;
        let longest = || self.list.segments.iter().map(|segment| segment.duration).max();
        // Reloads go by it, so it is never nothing.
        self.list.target_duration = match target {
            Duration::ZERO => longest().unwrap_or(Duration::from_secs(1)),
            target => target,
        };
        if let (Some(hint), Some(target)) = (&mut self.list.preload_hint, self.list.part_target) {
            hint.duration = target;
        }
        date_back(&mut self.list);
        Ok(self.list)
    }
}

fn scope<'a, 'b>(references: &'a mut References<'b>, variables: &'a Variables) -> Scope<'a, 'b> {
    Scope { references, variables }
}

/// Whole seconds by the standard; some write fractions. Zero is what very short segments round to.
fn target(value: &str) -> Result<Duration, Fault> {
    time::seconds(value).ok_or_else(|| Fault::invalid("EXT-X-TARGETDURATION", value))
}

/// Segments before the first date have one too: counted back from it.
fn date_back(list: &mut SegmentList) {
    let Some(dated) = list.segments.iter().position(|s| s.program_date_time.is_some()) else {
        return;
    };
    let Some(mut unix_ms) = list.segments[dated].program_date_time else { return };
    for segment in list.segments[..dated].iter_mut().rev() {
        let millis = i64::try_from(segment.duration.as_millis()).unwrap_or(i64::MAX);
        unix_ms = unix_ms.saturating_sub(millis);
        segment.program_date_time = Some(unix_ms);
    }
}
