//! What the tags before a URI say of the segment that it is, and what one segment leaves for the next: sequence
//! numbers, the init segment, byte ranges that go on, and the time of day.

use std::{borrow::Cow, time::Duration};

use url::Url;

use super::{
    super::{Object, Part, Segment, error::Fault, limit, reference::References, time},
    attribute::{self, Attributes},
    variable::Variables,
};

/// Collects the tags of one segment after another.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Number of the segment that comes.
    pub number: u64,
    pub discontinuity_sequence: u64,
    pub init: Option<Object>,
    key: Option<Object>,
    duration: Option<Duration>,
    range: Option<(u64, Option<u64>)>,
    is_gap: bool,
    parts: Vec<Part>,
    /// What it begins with as the tag says it, else as the segment before ended.
    clock: Option<Clock>,
    /// Where the byte range before ended, of a segment and of a part.
    segment_end: Option<(Url, u64)>,
    part_end: Option<(Url, u64)>,
}

/// A time of day and the media since; summed exactly.
#[derive(Debug, Clone, Copy)]
struct Clock {
    unix_ms: i64,
    since: Duration,
}

impl Clock {
    fn now(self) -> i64 {
        self.unix_ms.saturating_add(i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What resolving needs.
pub(super) struct Scope<'a, 'b> {
    pub references: &'a mut References<'b>,
    pub variables: &'a Variables,
}

impl Scope<'_, '_> {
    fn resolve(&mut self, what: &'static str, text: Cow<'_, str>) -> Result<Url, Fault> {
        self.references.resolve(what, &self.variables.expand(&text)?)
    }
}

impl Pending {
    /// Goes on behind a segment that stands in the list already.
    pub(super) fn follow(&mut self, last: &Segment) {
        self.number = last.number + 1;
        self.discontinuity_sequence = last.discontinuity_sequence;
        self.init.clone_from(&last.init);
        self.key.clone_from(&last.key);
        self.clock = last.program_date_time.map(|unix_ms| Clock { unix_ms, since: last.duration });
        self.segment_end = last.object.as_ref().and_then(end);
    }

    pub(super) fn extinf(&mut self, text: &str) -> Result<(), Fault> {
        let seconds = text.split_once(',').map_or(text, |(seconds, _)| seconds).trim_ascii();
        self.duration = Some(attribute::duration("the duration of EXTINF", seconds)?);
        Ok(())
    }

    pub(super) fn byte_range(&mut self, text: &str) -> Result<(), Fault> {
        self.range = Some(attribute::byte_range("EXT-X-BYTERANGE", text)?);
        Ok(())
    }

    pub(super) fn discontinuity(&mut self) {
        self.discontinuity_sequence = self.discontinuity_sequence.saturating_add(1);
    }

    pub(super) fn gap(&mut self) {
        self.is_gap = true;
    }

    /// A date that nobody can read is passed over: play does not depend on it.
    pub(super) fn date_time(&mut self, text: &str) {
        if let Some(unix_ms) = time::date_time(text.trim_ascii()) {
            self.clock = Some(Clock { unix_ms, since: Duration::ZERO });
        }
    }

    pub(super) fn map(&mut self, list: &str, scope: &mut Scope<'_, '_>) -> Result<(), Fault> {
        let (mut url, mut range) = (None, None);
        for (name, value) in Attributes::new(list) {
            match name {
                "URI" => url = Some(scope.resolve("URI of EXT-X-MAP", value.text.into())?),
                "BYTERANGE" => range = Some(value.byte_range("BYTERANGE of EXT-X-MAP")?),
                _ => {}
            }
        }
        let url = url.ok_or(Fault::Missing("URI of EXT-X-MAP"))?;
        let range = range.map(|(length, offset)| (offset.unwrap_or(0), Some(length)));
        self.init = Some(Object { url, range });
        Ok(())
    }

    /// The key of what follows. One of another format than `identity`, or that is not fetched over HTTP, is a system's
    /// own business: its content is played without.
    pub(super) fn key(&mut self, list: &str, scope: &mut Scope<'_, '_>) -> Result<(), Fault> {
        let (mut is_none, mut is_identity, mut uri) = (false, true, None);
        for (name, value) in Attributes::new(list) {
            match name {
                "METHOD" => is_none = value.text == "NONE",
                "KEYFORMAT" => is_identity = value.text == "identity",
                "URI" => uri = Some(value.text),
                _ => {}
            }
        }
        if is_none {
            self.key = None;
        } else if is_identity {
            let uri = scope.variables.expand(uri.ok_or(Fault::Missing("URI of EXT-X-KEY"))?)?;
            self.key = match scope.references.resolve("URI of EXT-X-KEY", &uri) {
                Ok(url) => Some(Object { url, range: None }),
                Err(Fault::Url(_)) => None,
                Err(fault) => return Err(fault),
            };
        }
        Ok(())
    }

    pub(super) fn part(&mut self, list: &str, scope: &mut Scope<'_, '_>) -> Result<(), Fault> {
        let (mut url, mut range, mut duration) = (None, None, None);
        let (mut is_independent, mut is_gap) = (false, false);
        for (name, value) in Attributes::new(list) {
            match name {
                "URI" => url = Some(scope.resolve("URI of EXT-X-PART", value.text.into())?),
                "DURATION" => duration = Some(value.duration("DURATION of EXT-X-PART")?),
                "BYTERANGE" => range = Some(value.byte_range("BYTERANGE of EXT-X-PART")?),
                "INDEPENDENT" => is_independent = value.is_yes(),
                "GAP" => is_gap = value.is_yes(),
                _ => {}
            }
        }
        let url = url.ok_or(Fault::Missing("URI of EXT-X-PART"))?;
        let duration = duration.ok_or(Fault::Missing("DURATION of EXT-X-PART"))?;
        let object = ranged(url, range, self.part_end.as_ref())?;
        self.part_end = end(&object);
        self.parts.push(Part { object, duration, is_independent, is_gap });
        Ok(())
    }

    pub(super) fn parts_waiting(&self) -> usize {
        self.parts.len()
    }

    /// The URI came: the segment is whole. One without EXTINF is passed over, as players do.
    pub(super) fn close(
        &mut self,
        uri: &str,
        scope: &mut Scope<'_, '_>,
    ) -> Result<Option<Segment>, Fault> {
        let Some(duration) = self.duration.take() else { return Ok(None) };
        let url = scope.resolve("a segment", uri.into())?;
        let object = ranged(url, self.range.take(), self.segment_end.as_ref())?;
        if self.init.is_none() && is_fragment(&object.url) && !self.is_gap {
            return Err(Fault::Missing("the init segment (EXT-X-MAP) of a fragment"));
        }
        self.segment_end = end(&object);
        self.take(Some(object), duration, scope).map(Some)
    }

    /// What is left at the end: the parts of a segment that is still being made.
    pub(super) fn open_end(&mut self, scope: &mut Scope<'_, '_>) -> Result<Option<Segment>, Fault> {
        if self.parts.is_empty() {
            return Ok(None);
        }
        let made = self.parts.iter().map(|part| part.duration).sum();
        self.take(None, made, scope).map(Some)
    }

    fn take(
        &mut self,
        object: Option<Object>,
        duration: Duration,
        scope: &mut Scope<'_, '_>,
    ) -> Result<Segment, Fault> {
        if self.number > limit::MAX_NUMBER {
            return Err(Fault::invalid("a media sequence number", &self.number.to_string()));
        }
        let segment = Segment {
            number: self.number,
            discontinuity_sequence: self.discontinuity_sequence,
            object,
            duration,
            init: self.init.as_ref().map(|init| scope.references.copy(init)).transpose()?,
            key: self.key.as_ref().map(|key| scope.references.copy(key)).transpose()?,
            parts: std::mem::take(&mut self.parts),
            program_date_time: self.clock.map(Clock::now),
            is_gap: std::mem::take(&mut self.is_gap),
        };
        self.number += 1;
        if let Some(clock) = &mut self.clock {
            clock.since = clock.since.saturating_add(duration);
        }
        Ok(segment)
    }
}

/// An object with its range; one without an offset begins where the range before ended, in the same resource.
fn ranged(
    url: Url,
    range: Option<(u64, Option<u64>)>,
    before: Option<&(Url, u64)>,
) -> Result<Object, Fault> {
    let Some((length, offset)) = range else { return Ok(Object { url, range: None }) };
    let follows = before.filter(|(same, _)| *same == url).map(|(_, end)| *end);
    let offset = offset.or(follows).unwrap_or(0);
    if offset.checked_add(length).is_none_or(|end| end > limit::MAX_NUMBER) {
        return Err(Fault::invalid("the end of a byte range", &offset.to_string()));
    }
    Ok(Object { url, range: Some((offset, Some(length))) })
}

/// Where the next range in the same resource begins.
fn end(object: &Object) -> Option<(Url, u64)> {
    let (offset, length) = object.range?;
    Some((object.url.clone(), offset + length?))
}

/// Fragments of MP4 by their endings, which play only behind an init segment.
fn is_fragment(url: &Url) -> bool {
    let ending = url.path().rsplit_once('.').map_or("", |(_, ending)| ending);
    FRAGMENTS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

const FRAGMENTS: [&str; 4] = ["m4s", "m4f", "cmfv", "cmfa"];
