//! `SegmentTemplate`, `SegmentList` and `SegmentBase` from their elements.

use std::sync::Arc;

use super::{
    super::{
        error::{Fault, ManifestError},
        limit,
    },
    attribute,
    element::{Cursor, Element},
    model::{Form, Piece, Run, Segments},
};

/// What one level says; the last element of several counts.
#[derive(Default)]
pub(super) struct Level {
    segments: Segments,
}

impl Level {
    pub(super) fn into_segments(self) -> Segments {
        self.segments
    }

    /// Reads an element if it is one of the three, else passes over it.
    pub(super) fn take(
        &mut self,
        cursor: &mut Cursor<'_>,
        element: &Element<'_>,
    ) -> Result<(), ManifestError> {
        let form = match element.name() {
            "SegmentTemplate" => Form::Template,
            "SegmentList" => Form::List,
            "SegmentBase" => Form::Base,
            _ => return cursor.skip(),
        };
        self.segments = read(cursor, element, form)?;
        Ok(())
    }
}

fn read(
    cursor: &mut Cursor<'_>,
    element: &Element<'_>,
    form: Form,
) -> Result<Segments, ManifestError> {
    let mut segments = Segments { form: Some(form), ..Segments::default() };
    element.attributes(cursor, |name, value| {
        let number = |what| attribute::number(what, &value).map(Some);
        match name {
            "timescale" => segments.timescale = Some(attribute::positive("timescale", &value)?),
            "duration" => {
                segments.duration = Some(attribute::positive("duration of segments", &value)?);
            }
            "presentationTimeOffset" => segments.offset = number("presentationTimeOffset")?,
            "startNumber" => segments.start_number = number("startNumber")?,
            "endNumber" => segments.end_number = number("endNumber")?,
            "availabilityTimeOffset" => segments.ahead = Some(attribute::ahead(&value)?),
            "media" => segments.media = Some(attribute::reference(&value)?.into()),
            "initialization" => {
                segments.init_template = Some(attribute::reference(&value)?.into());
            }
            "indexRange" => segments.index_range = Some(attribute::range("indexRange", &value)?),
            _ => {}
        }
        Ok(())
    })?;
    let mut urls = Vec::new();
    while let Some(element) = cursor.child()? {
        match element.name() {
            "SegmentTimeline" => segments.timeline = Some(timeline(cursor)?),
            "Initialization" => {
                let init = piece(cursor, &element, "sourceURL", "range")?;
                segments.init = Some(Arc::new(init));
            }
            "SegmentURL" => {
                if urls.len() == limit::MAX_SEGMENTS {
                    return Err(cursor.fault(Fault::too_many("segments", limit::MAX_SEGMENTS)));
                }
                urls.push(piece(cursor, &element, "media", "mediaRange")?);
            }
            _ => cursor.skip()?,
        }
    }
    if !urls.is_empty() {
        segments.urls = Some(urls.into());
    }
    Ok(segments)
}

fn timeline(cursor: &mut Cursor<'_>) -> Result<Arc<[Run]>, ManifestError> {
    let mut runs = Vec::new();
    while let Some(element) = cursor.child()? {
        if element.name() != "S" {
            cursor.skip()?;
            continue;
        }
        if runs.len() == limit::MAX_SEGMENTS {
            return Err(cursor.fault(Fault::too_many("segments", limit::MAX_SEGMENTS)));
        }
        let mut run = Run { start: None, duration: 0, repeat: 0 };
        element.attributes(cursor, |name, value| {
            match name {
                "t" => run.start = Some(attribute::number("t of S", &value)?),
                "d" => run.duration = attribute::positive("d of S", &value)?,
                "r" => {
                    let repeat = value.trim_ascii().parse();
                    run.repeat = repeat.map_err(|_| Fault::invalid("r of S", &value))?;
                }
                _ => {}
            }
            Ok(())
        })?;
        if run.duration == 0 {
            return Err(cursor.fault(Fault::Missing("d of S")));
        }
        cursor.skip()?;
        runs.push(run);
    }
    Ok(runs.into())
}

fn piece(
    cursor: &mut Cursor<'_>,
    element: &Element<'_>,
    url: &str,
    range: &str,
) -> Result<Piece, ManifestError> {
    let mut piece = Piece::default();
    element.attributes(cursor, |name, value| {
        if name == url {
            piece.url = Some(attribute::reference(&value)?);
        } else if name == range {
            piece.range = Some(attribute::range("a byte range", &value)?);
        }
        Ok(())
    })?;
    cursor.skip()?;
    Ok(piece)
}
