//! The multivariant playlist: variants, alternate audio, where steering is asked.

use url::Url;

use super::{
    super::{
        Audio, Presentation, Steering, Variant,
        error::{Fault, ManifestError},
        limit,
        reference::References,
        text::Lines,
    },
    attribute::Attributes,
    tag,
    variable::Variables,
};

/// Reads the lines behind `#EXTM3U`.
pub(super) fn read(mut lines: Lines<'_>, base: &Url) -> Result<Presentation, ManifestError> {
    let mut reader = Reader {
        base,
        references: References::new(base),
        variables: Variables::default(),
        waiting: None,
        variants: Vec::new(),
        audio: Vec::new(),
        steering: None,
    };
    while let Some((number, line)) = lines.next_line()? {
        if is_of_media(line) {
            return Ok(reader.only_media());
        }
        reader.line(line).map_err(|fault| fault.at(number))?;
    }
    reader.finish().map_err(ManifestError::from)
}

struct Reader<'a> {
    base: &'a Url,
    references: References<'a>,
    variables: Variables,
    /// A variant that waits for its URI.
    waiting: Option<Variant>,
    variants: Vec<Variant>,
    audio: Vec<Alternative>,
    steering: Option<Steering>,
}

/// An audio rendition; one without a URI is in the variants themselves.
struct Alternative {
    group: String,
    is_default: bool,
    is_autoselect: bool,
    url: Option<Url>,
    pathway: Option<String>,
    stable_id: Option<String>,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), Fault> {
        if !line.starts_with('#') {
            return self.uri(line);
        }
        let (name, list) = tag(line);
        match name {
            "#EXT-X-STREAM-INF" => self.waiting = Some(self.variant(list)?),
            "#EXT-X-MEDIA" => self.alternative(list)?,
            "#EXT-X-CONTENT-STEERING" => self.steering = Some(self.steering(list)?),
            "#EXT-X-DEFINE" => self.variables.define(list, self.base, &Variables::default())?,
            _ => {}
        }
        Ok(())
    }

    fn uri(&mut self, line: &str) -> Result<(), Fault> {
        // A URI that no tag announced is no variant.
        let Some(variant) = self.waiting.take() else { return Ok(()) };
        if self.variants.len() == limit::MAX_VARIANTS {
            return Err(Fault::too_many("variants", limit::MAX_VARIANTS));
        }
        let url = self.references.resolve("a variant", &self.variables.expand(line)?)?;
        self.variants.push(Variant { url, ..variant });
        Ok(())
    }

    fn variant(&self, list: &str) -> Result<Variant, Fault> {
        let mut variant = Variant::at(self.base.clone());
        for (name, value) in Attributes::new(list) {
            let text = |what| value.name(what, &self.variables).map(Some);
            match name {
                "BANDWIDTH" => variant.bandwidth = value.number("BANDWIDTH")?,
                "AVERAGE-BANDWIDTH" => {
                    variant.average_bandwidth = value.number("AVERAGE-BANDWIDTH").ok();
                }
                "RESOLUTION" => variant.resolution = value.resolution(),
                "CODECS" => variant.codecs = text("CODECS")?,
                "AUDIO" => variant.audio_group = text("AUDIO")?,
                "PATHWAY-ID" => variant.pathway = text("PATHWAY-ID")?,
                "STABLE-VARIANT-ID" => variant.stable_id = text("STABLE-VARIANT-ID")?,
                _ => {}
            }
        }
        if variant.bandwidth == 0 {
            variant.bandwidth = variant.average_bandwidth.unwrap_or(0);
        }
        Ok(variant)
    }

    fn alternative(&mut self, list: &str) -> Result<(), Fault> {
        let (mut is_audio, mut group, mut uri) = (false, None, None);
        let mut alternative = Alternative {
            group: String::new(),
            is_default: false,
            is_autoselect: false,
            url: None,
            pathway: None,
            stable_id: None,
        };
        for (name, value) in Attributes::new(list) {
            let text = |what| value.name(what, &self.variables).map(Some);
            match name {
                "TYPE" => is_audio = value.text == "AUDIO",
                "GROUP-ID" => group = text("GROUP-ID")?,
                "DEFAULT" => alternative.is_default = value.is_yes(),
                "AUTOSELECT" => alternative.is_autoselect = value.is_yes(),
                "PATHWAY-ID" => alternative.pathway = text("PATHWAY-ID")?,
                "STABLE-RENDITION-ID" => alternative.stable_id = text("STABLE-RENDITION-ID")?,
                "URI" => uri = Some(value),
                _ => {}
            }
        }
        // Subtitles and other pictures are not what these viewers watch.
        let (true, Some(group)) = (is_audio, group) else { return Ok(()) };
        if self.audio.len() == limit::MAX_VARIANTS {
            return Err(Fault::too_many("audio renditions", limit::MAX_VARIANTS));
        }
        if let Some(uri) = uri {
            let uri = uri.text(&self.variables)?;
            alternative.url = Some(self.references.resolve("URI of EXT-X-MEDIA", &uri)?);
        }
        self.audio.push(Alternative { group, ..alternative });
        Ok(())
    }

    fn steering(&mut self, list: &str) -> Result<Steering, Fault> {
        let (mut server, mut pathway) = (None, None);
        for (name, value) in Attributes::new(list) {
            match name {
                "SERVER-URI" => {
                    let uri = value.text(&self.variables)?;
                    server = Some(self.references.resolve_or_inline("SERVER-URI", &uri)?);
                }
                "PATHWAY-ID" => pathway = Some(value.name("PATHWAY-ID", &self.variables)?),
                _ => {}
            }
        }
        let server = server.ok_or(Fault::Missing("SERVER-URI"))?;
        Ok(Steering { server, pathway, is_before_start: false })
    }

    /// The document is a media playlist: it is the one variant.
    fn only_media(self) -> Presentation {
        Presentation {
            variants: vec![Variant::at(self.base.clone())],
            audio: Vec::new(),
            steering: None,
            is_dash: false,
            variables: Variables::default(),
        }
    }

    fn finish(mut self) -> Result<Presentation, Fault> {
        if self.variants.is_empty() {
            return Err(Fault::Missing("a variant (EXT-X-STREAM-INF and its URI)"));
        }
        keep_pictures(&mut self.variants);
        name_pathways(&mut self.variants, self.steering.is_some());
        settle_groups(&mut self.variants, &self.audio);
        self.variants.sort_by_key(|variant| variant.bandwidth);
        let audio = self.audio.into_iter().filter_map(|alternative| {
            Some(Audio {
                url: alternative.url?,
                representation: None,
                group: alternative.group,
                is_default: alternative.is_default,
                bandwidth: None,
                pathway: alternative.pathway,
                stable_id: alternative.stable_id,
            })
        });
        Ok(Presentation {
            audio: audio.collect(),
            variants: self.variants,
            steering: self.steering,
            is_dash: false,
            variables: self.variables,
        })
    }
}

/// Where some variants have pictures, those that only sound are left out, as hls.js does.
fn keep_pictures(variants: &mut Vec<Variant>) {
    if variants.iter().any(|variant| variant.resolution.is_some() || has_codec(variant, true)) {
        variants.retain(|variant| variant.resolution.is_some() || !has_codec(variant, false));
    }
}

/// Whether its codecs are given, and one of them is for pictures, or none.
fn has_codec(variant: &Variant, of_pictures: bool) -> bool {
    let codecs = variant.codecs.as_deref();
    codecs.is_some_and(|codecs| codecs.split(',').any(is_video_codec) == of_pictures)
}

fn is_video_codec(codec: &str) -> bool {
    VIDEO_CODECS.iter().any(|known| codec.trim_ascii().starts_with(known))
}

/// Variants that say the same of themselves are the same by another way: the first is the pathway `.`, which is the
/// name that the standard gives to what has none, the next `..`.
fn name_pathways(variants: &mut [Variant], is_steered: bool) {
    let mut ways = vec![1; variants.len()];
    for index in 0..variants.len() {
        let same = |other: &&Variant| is_same(other, &variants[index]);
        ways[index] += variants[..index].iter().filter(same).count();
    }
    let is_named = is_steered || variants.iter().any(|variant| variant.pathway.is_some());
    if !is_named && ways.iter().all(|way| *way == 1) {
        return;
    }
    for (variant, way) in variants.iter_mut().zip(ways) {
        variant.pathway.get_or_insert_with(|| ".".repeat(way));
    }
}

fn is_same(left: &Variant, right: &Variant) -> bool {
    left.pathway.is_none()
        && right.pathway.is_none()
        && left.bandwidth == right.bandwidth
        && left.resolution == right.resolution
        && left.codecs == right.codecs
        && left.audio_group == right.audio_group
        && left.stable_id == right.stable_id
        && left.url != right.url
}

/// A variant whose group is not there, or has its default sound in the variant itself, plays alone.
fn settle_groups(variants: &mut [Variant], audio: &[Alternative]) {
    for variant in variants {
        let Some(group) = &variant.audio_group else { continue };
        let members = || audio.iter().filter(|alternative| alternative.group == *group);
        let chosen = members()
            .find(|alternative| alternative.is_default)
            .or_else(|| members().find(|alternative| alternative.is_autoselect))
            .or_else(|| members().next());
        if chosen.is_none_or(|alternative| alternative.url.is_none()) {
            variant.audio_group = None;
        }
    }
}

/// Tags that stand in media playlists only. Either of the first two makes one, as in hls.js.
fn is_of_media(line: &str) -> bool {
    line.starts_with("#EXTINF:") || line.starts_with("#EXT-X-TARGETDURATION:")
}

const VIDEO_CODECS: [&str; 11] =
    ["avc", "hvc", "hev", "dvh", "dvav", "dva1", "dav1", "av01", "vp0", "vp8", "vp9"];
