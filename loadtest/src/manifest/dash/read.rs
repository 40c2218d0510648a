//! The MPD from its text: the document and its periods.

use std::time::Duration;

use super::{
    super::{
        error::{Fault, ManifestError},
        limit, time,
    },
    addressing, attribute,
    element::{Cursor, Element},
    model::{ContentSteering, Document, Period, Place},
    set,
};

/// Reads a whole document.
pub(super) fn document(text: &str) -> Result<Document, ManifestError> {
    let cursor = &mut Cursor::new(text);
    let root = cursor.child()?.filter(|root| root.name() == "MPD");
    let root = root.ok_or(ManifestError::from(Fault::NotAManifest))?;
    let mut document = Document::default();
    root.attributes(cursor, |name, value| {
        match name {
            "type" => document.is_dynamic = value == "dynamic",
            "availabilityStartTime" => {
                let date = time::date_time(value.trim_ascii());
                let date = date.ok_or_else(|| Fault::invalid("availabilityStartTime", &value))?;
                document.availability_start = Some(date);
            }
            "mediaPresentationDuration" => {
                document.duration = Some(attribute::duration("mediaPresentationDuration", &value)?);
            }
            "minimumUpdatePeriod" => {
                document.minimum_update = Some(attribute::duration("minimumUpdatePeriod", &value)?);
            }
            "timeShiftBufferDepth" => {
                document.time_shift = Some(attribute::duration("timeShiftBufferDepth", &value)?);
            }
            // Advice only.
            "suggestedPresentationDelay" => document.delay = time::xs_duration(&value),
            _ => {}
        }
        Ok(())
    })?;
    let mut representations = 0;
    while let Some(element) = cursor.child()? {
        match element.name() {
            "BaseURL" => place(cursor, &element, &mut document.places)?,
            "Location" => document.location = Some(cursor.text()?),
            "ContentSteering" => document.steering = Some(steering(cursor, &element)?),
            "ServiceDescription" => document.latency = latency(cursor)?.or(document.latency),
            "Period" => {
                if document.periods.len() == limit::MAX_PERIODS {
                    return Err(cursor.fault(Fault::too_many("periods", limit::MAX_PERIODS)));
                }
                let read = period(cursor, &element, &mut representations)?;
                document.periods.extend(read);
            }
            _ => cursor.skip()?,
        }
    }
    if document.is_dynamic && document.availability_start.is_none() {
        return Err(Fault::Missing("availabilityStartTime").into());
    }
    settle(&mut document)?;
    Ok(document)
}

/// A period; `None` for one that stands elsewhere and is said to be empty.
fn period(
    cursor: &mut Cursor<'_>,
    element: &Element<'_>,
    representations: &mut usize,
) -> Result<Option<Period>, ManifestError> {
    let mut period = Period::default();
    let (mut is_remote, mut is_dropped) = (false, false);
    element.attributes(cursor, |name, value| {
        match name {
            "start" => period.said_start = Some(attribute::duration("start of a Period", &value)?),
            "duration" => {
                period.duration = Some(attribute::duration("duration of a Period", &value)?);
            }
            "xlink:href" if value == RESOLVE_TO_ZERO => is_dropped = true,
            "xlink:href" => is_remote = true,
            _ => {}
        }
        Ok(())
    })?;
    let mut templates = addressing::Level::default();
    while let Some(element) = cursor.child()? {
        match element.name() {
            "BaseURL" => place(cursor, &element, &mut period.places)?,
            "AdaptationSet" => {
                if period.sets.len() == limit::MAX_SETS {
                    return Err(cursor.fault(Fault::too_many("adaptation sets", limit::MAX_SETS)));
                }
                period.sets.push(set::read(cursor, &element, representations)?);
            }
            _ => templates.take(cursor, &element)?,
        }
    }
    if is_remote && period.sets.is_empty() {
        return Err(cursor.fault(Fault::Unsupported("a period that stands elsewhere (xlink)")));
    }
    let segments = templates.into_segments();
    for representation in period.sets.iter_mut().flat_map(|set| &mut set.representations) {
        representation.segments = std::mem::take(&mut representation.segments).over(&segments);
    }
    Ok((!is_dropped).then_some(period))
}

/// One more BaseURL; those beyond the limit are spare.
pub(super) fn place(
    cursor: &mut Cursor<'_>,
    element: &Element<'_>,
    places: &mut Vec<Place>,
) -> Result<(), ManifestError> {
    let mut place = Place::default();
    element.attributes(cursor, |name, value| {
        match name {
            "serviceLocation" => place.name = Some(attribute::name("serviceLocation", &value)?),
            "availabilityTimeOffset" => place.ahead = attribute::ahead(&value)?,
            _ => {}
        }
        Ok(())
    })?;
    place.url = cursor.text()?;
    if places.len() < limit::MAX_LOCATIONS {
        places.push(place);
    }
    Ok(())
}

fn steering(
    cursor: &mut Cursor<'_>,
    element: &Element<'_>,
) -> Result<ContentSteering, ManifestError> {
    let mut steering = ContentSteering::default();
    element.attributes(cursor, |name, value| {
        match name {
            "defaultServiceLocation" => {
                // Several may stand there; the first is the best.
                let first = value.split_ascii_whitespace().next().unwrap_or_default();
                steering.pathway = Some(attribute::name("defaultServiceLocation", first)?);
            }
            "queryBeforeStart" => steering.is_before_start = value == "true" || value == "1",
            _ => {}
        }
        Ok(())
    })?;
    steering.server = cursor.text()?;
    Ok(steering)
}

/// `Latency@target`, in milliseconds.
fn latency(cursor: &mut Cursor<'_>) -> Result<Option<Duration>, ManifestError> {
    let mut latency = None;
    while let Some(element) = cursor.child()? {
        if element.name() == "Latency" {
            element.attributes(cursor, |name, value| {
                if name == "target" {
                    let millis = time::digits(value.trim_ascii());
                    latency = millis.filter(|millis| *millis > 0).map(Duration::from_millis);
                }
                Ok(())
            })?;
        }
        cursor.skip()?;
    }
    Ok(latency)
}

/// When each period begins and how long it is, out of what is said of it and of its neighbours. In a live MPD one whose
/// beginning is not known yet is not there yet.
fn settle(document: &mut Document) -> Result<(), Fault> {
    let mut starts: Vec<Option<Duration>> = Vec::new();
    let mut end = Some(Duration::ZERO);
    for period in &document.periods {
        let start = period.said_start.or(end);
        end = start.zip(period.duration).and_then(|(start, length)| start.checked_add(length));
        starts.push(start);
    }
    if !document.is_dynamic && starts.contains(&None) {
        return Err(Fault::Missing("the start of a Period"));
    }
    let known = starts.iter().take_while(|start| start.is_some()).count();
    document.periods.truncate(known);
    let starts: Vec<Duration> = starts.into_iter().map_while(|start| start).collect();
    if !starts.is_sorted() {
        return Err(Fault::Invalid { what: "the order of periods", value: "backwards".into() });
    }
    let ends = starts.iter().skip(1).copied().map(Some).chain([document.duration]);
    for ((period, start), end) in document.periods.iter_mut().zip(&starts).zip(ends) {
        period.start = *start;
        let rest = end.and_then(|end| end.checked_sub(*start)).filter(|rest| !rest.is_zero());
        period.duration = period.duration.or(rest);
    }
    Ok(())
}

const RESOLVE_TO_ZERO: &str = "urn:mpeg:dash:resolve-to-zero:2013";
