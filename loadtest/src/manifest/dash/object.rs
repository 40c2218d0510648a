//! The objects of segments: by template, by list, by index; and the init segment.

use url::Url;

use super::{
    super::{Object, error::Fault, reference::References},
    index::Index,
    model::{Form, Piece},
    template::Template,
    view::View,
};

/// How the object of a segment is found.
pub(super) enum Objects<'a> {
    Template {
        template: Template,
        first: u64,
        base: &'a Url,
    },
    List {
        urls: &'a [Piece],
        base: &'a Url,
    },
    /// Where each segment of a file begins, and where the last one ends.
    Indexed {
        file: &'a Url,
        ends: Vec<u64>,
    },
}

impl<'a> Objects<'a> {
    pub(super) fn of(view: &'a View<'_>, index: Option<&Index>) -> Result<Self, Fault> {
        let representation = view.representation;
        let (segments, base) = (&representation.segments, &view.base);
        match segments.form {
            Some(Form::Template) => {
                let media = segments.media.as_deref();
                let media = media.ok_or(Fault::Missing("media of a SegmentTemplate"))?;
                let template = Template::read(media, &representation.id, representation.bandwidth)?;
                Ok(Self::Template { template, first: segments.start_number.unwrap_or(1), base })
            }
            Some(Form::List) => {
                let urls = segments.urls.as_deref();
                let urls = urls.ok_or(Fault::Missing("SegmentURL of a SegmentList"))?;
                Ok(Self::List { urls, base })
            }
            Some(Form::Base) => {
                let (first, _) = segments.index_range.unwrap_or_default();
                let ends = index.ok_or(Fault::NeedsIndex)?.ends(first);
                Ok(Self::Indexed { file: base, ends })
            }
            None => Err(Fault::Unsupported("a representation that is one file without index")),
        }
    }

    /// The object of a segment, by its index in the period and its time in the media.
    pub(super) fn object(
        &self,
        index: u64,
        time: u64,
        references: &mut References<'_>,
    ) -> Result<Object, Fault> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        match self {
            Self::Template { template, first, base } => {
                let reference = template.fill(first.saturating_add(index), time)?;
                let url =
                    references.resolve_from(base, "media of a SegmentTemplate", &reference)?;
                Ok(Object { url, range: None })
            }
            Self::List { urls, base } => {
                piece(urls.get(place).ok_or(Fault::Missing("a SegmentURL"))?, base, references)
            }
            Self::Indexed { file, ends } => {
                let end = place.checked_add(1).and_then(|next| ends.get(next));
                let (Some(first), Some(end)) = (ends.get(place), end) else {
                    return Err(Fault::Missing("a segment of the index"));
                };
                let range = Some((*first, Some(end - first)));
                references.copy(&Object { url: (*file).clone(), range })
            }
        }
    }
}

/// The init segment; MP4 does not play without one.
pub(super) fn init(
    view: &View<'_>,
    references: &mut References<'_>,
) -> Result<Option<Object>, Fault> {
    let representation = view.representation;
    let segments = &representation.segments;
    if let Some(element) = &segments.init {
        return piece(element, &view.base, references).map(Some);
    }
    match (segments.form, &segments.init_template, segments.index_range) {
        (Some(Form::Template), Some(text), _) => {
            let template = Template::read(text, &representation.id, representation.bandwidth)?;
            let reference = template.fill(0, 0)?;
            let url = references.resolve_from(&view.base, "initialization", &reference)?;
            Ok(Some(Object { url, range: None }))
        }
        // What stands before the index begins the file.
        (Some(Form::Base), _, Some((first, _))) if first > 0 => {
            Ok(Some(Object { url: view.base.clone(), range: Some((0, Some(first))) }))
        }
        _ if representation.is_mp4 => {
            Err(Fault::Missing("the init segment (initialization) of MP4"))
        }
        _ => Ok(None),
    }
}

fn piece(piece: &Piece, base: &Url, references: &mut References<'_>) -> Result<Object, Fault> {
    let range = piece.range.map(|(first, last)| (first, Some(last - first + 1)));
    match &piece.url {
        Some(url) => Ok(Object { url: references.resolve_from(base, "a SegmentURL", url)?, range }),
        None => references.copy(&Object { url: base.clone(), range }),
    }
}
