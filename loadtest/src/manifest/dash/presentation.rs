//! The choices that an MPD offers: representations of pictures as variants, of sound as alternate audio.

use url::Url;

use super::{
    super::{Audio, Presentation, Steering, Variant, error::Fault, hls, limit, reference},
    model::{Document, Kind, Period, Representation, Set},
};

/// An MPD without choices, or with too many, is none that can be played.
pub(super) fn check(document: &Document) -> Result<(), Fault> {
    let Some(period) = chosen(document) else {
        return Err(Fault::Missing("a representation of video or audio"));
    };
    let of = |kind| members(period, kind).count() * pathways(document).len();
    if of(Kind::Video).max(of(Kind::Audio)) > limit::MAX_VARIANTS {
        return Err(Fault::too_many("representations of a period", limit::MAX_VARIANTS));
    }
    Ok(())
}

/// The choices of a document that was checked.
pub(super) fn of(document: &Document, url: &Url, update_url: &Url) -> Presentation {
    let mut presentation = Presentation {
        variants: Vec::new(),
        audio: Vec::new(),
        steering: None,
        is_dash: true,
        variables: hls::Variables::default(),
    };
    presentation.steering = document.steering.as_ref().and_then(|steering| {
        Some(Steering {
            server: reference::join(url, "ContentSteering", &steering.server).ok()?,
            pathway: steering.pathway.clone(),
            is_before_start: steering.is_before_start,
        })
    });
    let Some(period) = chosen(document) else { return presentation };
    let main = main_sound(period);
    // Without pictures the sound is the content.
    let has_video = members(period, Kind::Video).next().is_some();
    let content = if has_video { Kind::Video } else { Kind::Audio };
    let has_audio = has_video && members(period, Kind::Audio).next().is_some();
    for pathway in pathways(document) {
        let pathway = pathway.map(str::to_owned);
        for (_, member) in members(period, content) {
            presentation.variants.push(Variant {
                url: update_url.clone(),
                representation: Some(member.id.clone()),
                bandwidth: member.bandwidth,
                average_bandwidth: None,
                resolution: member.resolution,
                codecs: member.codecs.clone(),
                audio_group: has_audio.then(|| AUDIO_GROUP.to_owned()),
                pathway: pathway.clone(),
                stable_id: None,
            });
        }
        for (_, member) in members(period, Kind::Audio).filter(|_| has_video) {
            presentation.audio.push(Audio {
                url: update_url.clone(),
                representation: Some(member.id.clone()),
                group: AUDIO_GROUP.to_owned(),
                is_default: main == Some(&member.id),
                bandwidth: Some(member.bandwidth),
                pathway: pathway.clone(),
                stable_id: None,
            });
        }
    }
    presentation.variants.sort_by_key(|variant| variant.bandwidth);
    presentation
}

/// The period that the choices are taken from: the first of a whole presentation, the newest of a live one.
fn chosen(document: &Document) -> Option<&Period> {
    let has = |period: &&Period| {
        [Kind::Video, Kind::Audio].iter().any(|kind| members(period, *kind).next().is_some())
    };
    match document.is_dynamic {
        false => document.periods.iter().find(has),
        true => document.periods.iter().rev().find(has),
    }
}

/// Representations of a kind; where some sets of pictures are said to be the main ones, those only.
fn members(period: &Period, kind: Kind) -> impl Iterator<Item = (&Set, &Representation)> {
    let of_kind = move |set: &&Set| set.kind == kind;
    let has_main = kind == Kind::Video && period.sets.iter().filter(of_kind).any(|set| set.is_main);
    let sets = period.sets.iter().filter(of_kind).filter(move |set| !has_main || set.is_main);
    sets.flat_map(|set| set.representations.iter().map(move |member| (set, member)))
}

/// The sound that is played when nobody chooses: the best of the main set, else of the first.
fn main_sound(period: &Period) -> Option<&String> {
    let sounds = || {
        let is_sound = |set: &&Set| set.kind == Kind::Audio && !set.representations.is_empty();
        period.sets.iter().filter(is_sound)
    };
    let set = sounds().find(|set| set.is_main).or_else(|| sounds().next())?;
    let best = set.representations.iter().max_by_key(|member| member.bandwidth)?;
    Some(&best.id)
}

/// The service locations that a steering server chooses among; none stands for all of them without one.
fn pathways(document: &Document) -> Vec<Option<&str>> {
    let mut names: Vec<Option<&str>> = Vec::new();
    if document.steering.is_some() {
        let periods = document.periods.iter().flat_map(|period| &period.places);
        for place in document.places.iter().chain(periods) {
            let name = place.name.as_deref();
            if name.is_some() && !names.contains(&name) && names.len() < limit::MAX_LOCATIONS {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        names.push(None);
    }
    names
}

/// All sound of an MPD is one group.
const AUDIO_GROUP: &str = "audio";
