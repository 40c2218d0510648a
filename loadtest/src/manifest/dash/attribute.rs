//! Values of attributes, held to the limits.

use std::time::Duration;

use super::{
    super::{error::Fault, limit, time},
    model::Ahead,
};

/// A number that is not negative.
pub(super) fn number(what: &'static str, text: &str) -> Result<u64, Fault> {
    time::digits(text.trim_ascii())
        .filter(|number| *number <= limit::MAX_NUMBER)
        .ok_or_else(|| Fault::invalid(what, text))
}

/// A number that something is divided by or goes on by: not zero.
pub(super) fn positive(what: &'static str, text: &str) -> Result<u64, Fault> {
    match number(what, text)? {
        0 => Err(Fault::invalid(what, text)),
        number => Ok(number),
    }
}

pub(super) fn duration(what: &'static str, text: &str) -> Result<Duration, Fault> {
    time::xs_duration(text).ok_or_else(|| Fault::invalid(what, text))
}

/// A text that is kept.
pub(super) fn name(what: &'static str, text: &str) -> Result<String, Fault> {
    if text.len() > limit::MAX_NAME_BYTES {
        return Err(Fault::too_many(what, limit::MAX_NAME_BYTES));
    }
    Ok(text.to_owned())
}

/// A URL or a template of one, as it stands there.
pub(super) fn reference(text: &str) -> Result<String, Fault> {
    if text.len() > limit::MAX_URL_BYTES {
        return Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES));
    }
    Ok(text.trim_ascii().to_owned())
}

/// `first-last`, both in it.
pub(super) fn range(what: &'static str, text: &str) -> Result<(u64, u64), Fault> {
    let (first, last) = text.split_once('-').ok_or_else(|| Fault::invalid(what, text))?;
    let (first, last) = (number(what, first)?, number(what, last)?);
    if first > last {
        return Err(Fault::invalid(what, text));
    }
    Ok((first, last))
}

/// `availabilityTimeOffset`: seconds, or `INF`. What is negative is as nothing.
pub(super) fn ahead(text: &str) -> Result<Ahead, Fault> {
    let text = text.trim_ascii();
    if text == "INF" {
        return Ok(Ahead::Always);
    }
    if text.starts_with('-') {
        return Ok(Ahead::default());
    }
    let seconds = time::seconds(text);
    seconds.map(Ahead::By).ok_or_else(|| Fault::invalid("availabilityTimeOffset", text))
}
