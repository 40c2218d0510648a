//! Where the segments of a representation are: base URLs of four levels, each of which may offer several.

use url::Url;

use super::{
    super::{error::Fault, reference},
    model::{Ahead, Document, Period, Place, Representation, Set},
};

/// The base URL, and how long before their end segments may be asked for there.
pub(super) fn base(
    url: &Url,
    document: &Document,
    (period, set, representation): (&Period, &Set, &Representation),
    pathway: Option<&str>,
) -> Result<(Url, Ahead), Fault> {
    let levels = [&document.places, &period.places, &set.places, &representation.places];
    let (mut base, mut ahead) = (url.clone(), Ahead::default());
    for places in levels {
        let Some(place) = choose(places, pathway) else { continue };
        base = reference::join(&base, "BaseURL", &place.url)?;
        ahead = ahead.and(place.ahead);
    }
    Ok((base, ahead))
}

/// The one of the pathway, else the first.
fn choose<'a>(places: &'a [Place], pathway: Option<&str>) -> Option<&'a Place> {
    let named = |place: &&Place| pathway.is_some() && place.name.as_deref() == pathway;
    places.iter().find(named).or_else(|| places.first())
}
