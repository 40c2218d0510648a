//! HLS (RFC 8216bis): multivariant and media playlists, LL-HLS and delta updates included.
//!
//! Strict about what breaks play (a missing target duration, a segment without end, a fragment without its init
//! segment), lenient about what players ignore (unknown tags, odd labels). One pass over the lines.

mod multivariant;
mod media;
mod delta; // segments that an update leaves out
mod segment; // tags that wait for the URI of their segment
mod variable;
mod attribute;

use url::Url;

pub use self::variable::Variables;
use super::{
    Presentation, SegmentList,
    error::{Fault, ManifestError},
    text::{self, Lines},
};

/// Reads what a server gives first. A media playlist there is a presentation of one variant, whose bandwidth is
/// unknown and said to be 0.
pub fn multivariant(text: &[u8], base: &Url) -> Result<Presentation, ManifestError> {
    let text = text::decode(text)?;
    multivariant::read(opened(&text)?, base)
}

/// Reads a media playlist. What a delta update leaves out is taken from `before`; without it there,
/// [`Fault::SkippedUnknown`] says that the whole playlist is to be asked for.
pub fn media(
    text: &[u8],
    base: &Url,
    before: Option<&SegmentList>,
) -> Result<SegmentList, ManifestError> {
    media_importing(text, base, before, &Variables::default())
}

/// The same with the variables of the multivariant playlist ([`Presentation::variables`]).
pub fn media_importing(
    text: &[u8],
    base: &Url,
    before: Option<&SegmentList>,
    imported: &Variables,
) -> Result<SegmentList, ManifestError> {
    let text = text::decode(text)?;
    media::read(opened(&text)?, base, before, imported)
}

/// The lines behind `#EXTM3U`, which has to be the first.
fn opened(text: &str) -> Result<Lines<'_>, ManifestError> {
    let mut lines = Lines::new(text);
    match lines.next_line()? {
        Some((_, first)) if first.starts_with("#EXTM3U") => Ok(lines),
        Some((line, _)) => Err(Fault::Missing("#EXTM3U").at(line)),
        None => Err(Fault::Missing("#EXTM3U").into()),
    }
}

/// A line as a tag: its name with `#`, and what stands behind the colon.
fn tag(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name, value.trim_ascii_start())
}

#[cfg(test)]
mod tests;
