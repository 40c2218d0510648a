//! Delta updates (EXT-X-SKIP): the segments that the server left out are those of the playlist before.

use super::super::{Segment, SegmentList, error::Fault, limit, reference::References};

/// The segments with numbers from `first` on, `count` of them, all of which `before` must have.
pub(super) fn skipped(
    before: Option<&SegmentList>,
    first: u64,
    count: u64,
    references: &mut References<'_>,
) -> Result<Vec<Segment>, Fault> {
    let before = before.map_or(&[][..], |list| list.segments.as_slice());
    let begin = before.partition_point(|segment| segment.number < first);
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    if wanted > limit::MAX_SEGMENTS {
        return Err(Fault::too_many("segments", limit::MAX_SEGMENTS));
    }
    let kept = before.get(begin..).unwrap_or_default().get(..wanted).unwrap_or_default();
    let is_whole = kept.len() == wanted
        && (first..)
            .zip(kept)
            .all(|(number, segment)| segment.number == number && segment.object.is_some());
    if !is_whole {
        return Err(Fault::SkippedUnknown);
    }
    kept.iter().map(|segment| copy(segment, references)).collect()
}

/// A copy without parts: those of segments that old are offered no more.
fn copy(segment: &Segment, references: &mut References<'_>) -> Result<Segment, Fault> {
    Ok(Segment {
        object: segment.object.as_ref().map(|object| references.copy(object)).transpose()?,
        init: segment.init.as_ref().map(|init| references.copy(init)).transpose()?,
        key: segment.key.as_ref().map(|key| references.copy(key)).transpose()?,
        parts: Vec::new(),
        ..*segment
    })
}
