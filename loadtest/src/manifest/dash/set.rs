//! Adaptation sets and representations from their elements.

use super::{
    super::{
        error::{Fault, ManifestError},
        limit, time,
    },
    addressing, attribute,
    element::{Cursor, Element},
    model::{Kind, Representation, Set},
    read,
};

/// What may stand on a set, and is then said of its representations.
#[derive(Default)]
struct Said {
    content: Option<String>,
    mime: Option<String>,
    codecs: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
}

impl Said {
    fn take(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let size = || time::digits(value.trim_ascii()).and_then(|size| u32::try_from(size).ok());
        match name {
            "contentType" => self.content = Some(attribute::name("contentType", value)?),
            "mimeType" => self.mime = Some(attribute::name("mimeType", value)?),
            "codecs" => self.codecs = Some(attribute::name("codecs", value)?),
            "width" => self.width = size(),
            "height" => self.height = size(),
            _ => {}
        }
        Ok(())
    }

    fn kind(&self) -> Option<Kind> {
        let word = |word: &str| match word {
            "video" => Kind::Video,
            "audio" => Kind::Audio,
            _ => Kind::Other,
        };
        let mime = self.mime.as_deref().and_then(|mime| mime.split('/').next());
        self.content.as_deref().or(mime).map(word)
    }
}

/// Reads an adaptation set. `representations` counts those of the document.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    element: &Element<'_>,
    representations: &mut usize,
) -> Result<Set, ManifestError> {
    let (mut set, mut said) = (Set::default(), Said::default());
    let (mut kind_of_members, mut is_trick_mode) = (None, false);
    element.attributes(cursor, |name, value| said.take(name, &value))?;
    let mut templates = addressing::Level::default();
    while let Some(element) = cursor.child()? {
        match element.name() {
            "BaseURL" => read::place(cursor, &element, &mut set.places)?,
            "Representation" => {
                *representations += 1;
                if *representations > limit::MAX_REPRESENTATIONS {
                    let fault = Fault::too_many("representations", limit::MAX_REPRESENTATIONS);
                    return Err(cursor.fault(fault));
                }
                let (member, kind) = representation(cursor, &element, &said)?;
                kind_of_members = kind_of_members.or(kind);
                set.representations.push(member);
            }
            "ContentComponent" => {
                element.attributes(cursor, |name, value| match name {
                    "contentType" if said.content.is_none() => said.take(name, &value),
                    _ => Ok(()),
                })?;
                cursor.skip()?;
            }
            "Role" => {
                element.attributes(cursor, |name, value| {
                    set.is_main |= name == "value" && value == "main";
                    Ok(())
                })?;
                cursor.skip()?;
            }
            "EssentialProperty" | "SupplementalProperty" => {
                element.attributes(cursor, |name, value| {
                    is_trick_mode |= name == "schemeIdUri" && value == TRICK_MODE;
                    Ok(())
                })?;
                cursor.skip()?;
            }
            _ => templates.take(cursor, &element)?,
        }
    }
    let segments = templates.into_segments();
    for member in &mut set.representations {
        member.segments = std::mem::take(&mut member.segments).over(&segments);
    }
    set.kind = match said.kind().or(kind_of_members) {
        _ if is_trick_mode => Kind::Other,
        Some(kind) => kind,
        // A player would look at the codecs; a set with sizes has pictures.
        None if said.width.is_some() => Kind::Video,
        None if set.representations.iter().any(|member| member.resolution.is_some()) => Kind::Video,
        None => Kind::Other,
    };
    Ok(set)
}

fn representation(
    cursor: &mut Cursor<'_>,
    element: &Element<'_>,
    set: &Said,
) -> Result<(Representation, Option<Kind>), ManifestError> {
    let (mut representation, mut said) = (Representation::default(), Said::default());
    element.attributes(cursor, |name, value| {
        match name {
            "id" => representation.id = attribute::name("id of a Representation", &value)?,
            "bandwidth" => representation.bandwidth = attribute::number("bandwidth", &value)?,
            _ => said.take(name, &value)?,
        }
        Ok(())
    })?;
    let mut templates = addressing::Level::default();
    while let Some(element) = cursor.child()? {
        match element.name() {
            "BaseURL" => read::place(cursor, &element, &mut representation.places)?,
            _ => templates.take(cursor, &element)?,
        }
    }
    representation.segments = templates.into_segments();
    let mime = said.mime.as_deref().or(set.mime.as_deref()).unwrap_or_default();
    representation.is_mp4 = mime.ends_with("/mp4");
    representation.codecs = said.codecs.clone().or_else(|| set.codecs.clone());
    let size = (said.width.or(set.width), said.height.or(set.height));
    representation.resolution = size.0.zip(size.1);
    Ok((representation, said.kind()))
}

const TRICK_MODE: &str = "http://dashif.org/guidelines/trickmode";
