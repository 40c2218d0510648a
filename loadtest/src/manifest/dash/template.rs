//! URL templates: `$RepresentationID$`, `$Number%05d$`, `$Time$`, `$Bandwidth$`, `$$`.

use super::super::{error::Fault, limit, work};

/// A template that was read once, to be filled in for each segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<TemplatePiece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePiece {
    Text(String),
    /// Filled with zeros to so many digits.
    Number(usize),
    Time(usize),
}

impl Template {
    /// Reads a template; what is the same for all segments is filled in.
    pub(super) fn read(text: &str, id: &str, bandwidth: u64) -> Result<Self, Fault> {
        let mut template = Self { pieces: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            template.text(before)?;
            let (name, after) =
                after.split_once('$').ok_or_else(|| Fault::invalid("a template", "$"))?;
            rest = after;
            let (name, width) = match name.split_once('%') {
                Some((name, format)) => (name, width(format)?),
                None => (name, 1),
            };
            match name {
                "" => template.text("$")?,
                "RepresentationID" => template.text(id)?,
                "Bandwidth" => template.text(&format!("{bandwidth:0width$}"))?,
                "Number" => template.pieces.push(TemplatePiece::Number(width)),
                "Time" => template.pieces.push(TemplatePiece::Time(width)),
                "SubNumber" => return Err(Fault::Unsupported("$SubNumber$ in a template")),
                other => return Err(Fault::invalid("an identifier of a template", other)),
            }
        }
        template.text(rest)?;
        Ok(template)
    }

    /// The URL of one segment.
    pub(super) fn fill(&self, number: u64, time: u64) -> Result<String, Fault> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Text(text) => out.push_str(text),
                TemplatePiece::Number(width) => out.push_str(&format!("{number:0width$}")),
                TemplatePiece::Time(width) => out.push_str(&format!("{time:0width$}")),
            }
            if out.len() > limit::MAX_URL_BYTES {
                return Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES));
            }
        }
        work::add(out.len());
        Ok(out)
    }

    /// Adds to the text at the end, which a template of many `$$` would else keep in as many pieces.
    fn text(&mut self, text: &str) -> Result<(), Fault> {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(TemplatePiece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(TemplatePiece::Text(text.to_owned())),
        }
        match self.pieces.last() {
            Some(TemplatePiece::Text(last)) if last.len() > limit::MAX_URL_BYTES => {
                Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES))
            }
            _ => Ok(()),
        }
    }
}

/// `05d`: at least so many digits.
fn width(format: &str) -> Result<usize, Fault> {
    let invalid = || Fault::invalid("a format of a template", format);
    let digits = format.strip_suffix('d').ok_or_else(invalid)?;
    if digits.is_empty() {
        return Ok(1);
    }
    let digits = digits.strip_prefix('0').ok_or_else(invalid)?;
    match digits.parse::<usize>() {
        Ok(width @ 1..=MAX_WIDTH) => Ok(width),
        _ => Err(invalid()),
    }
}

/// Digits that a number is filled to at most; the largest has twenty.
const MAX_WIDTH: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let table = [
            ("../../m/m1/3/360p/$Number$.m4s", Some("../../m/m1/3/360p/7.m4s")),
            ("chunk-stream$RepresentationID$-$Number%05d$.m4s", Some("chunk-streamv1-00007.m4s")),
            ("$Bandwidth%08d$/$Time$.m4s", Some("00500000/90000.m4s")),
            ("$Time%010d$$Number%d$", Some("00000900007")),
            ("a$$b$RepresentationID$$$", Some("a$bv1$")),
            ("plain.mp4", Some("plain.mp4")),
            ("$SubNumber$", None),
            ("$Unknown$", None),
            ("$Number%5d$", None),
            ("$Number%099d$", None),
            ("$Number%0d$", None),
            ("$Number%x$", None),
            ("open$Number", None),
        ];
        for (text, expected) in table {
            let filled = Template::read(text, "v1", 500_000).and_then(|t| t.fill(7, 90_000));
            assert_eq!(filled.ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn templates_do_not_multiply() {
        let id = "x".repeat(limit::MAX_NAME_BYTES);
        let ids = "$RepresentationID$".repeat(9);
        assert!(Template::read(&ids, &id, 1).is_err());
        let numbers = "$Number%032d$".repeat(limit::MAX_URL_BYTES / 32 + 1);
        assert!(Template::read(&numbers, "", 1).expect("a template").fill(1, 1).is_err());
    }

    proptest! {
        #[test]
        fn any_template_is_read_or_refused(text in "([a-z/]|\\$(Number|Time|Bandwidth)?(%0[0-9]{1,2}d)?\\$?){0,12}") {
            if let Ok(template) = Template::read(&text, "id", 5) {
                let filled = template.fill(u64::MAX, u64::MAX);
                prop_assert!(filled.is_ok_and(|url| url.len() <= limit::MAX_URL_BYTES));
            }
        }
    }
}
