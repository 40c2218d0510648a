//! The elements of an XML document one after another: names, attributes, text. Bounded in number and depth; a document
//! type is refused, since only entities that grow need one.

use std::borrow::Cow;

use quick_xml::{
    XmlVersion,
    events::{BytesStart, Event},
    reader::Reader,
};

use super::super::{
    error::{Fault, ManifestError, excerpt},
    limit, text, work,
};

/// Walks down and up a document. An element that was returned is read (its children until there are none, or its
/// text) or skipped before the next one is asked for.
pub(super) struct Cursor<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    elements: u32,
    depth: u32,
}

/// The beginning of an element.
pub(super) struct Element<'a> {
    start: BytesStart<'a>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, text, elements: 0, depth: 0 }
    }

    /// The next child of the element whose children are being read; `None` at its end.
    pub(super) fn child(&mut self) -> Result<Option<Element<'a>>, ManifestError> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(Some(Element { start })),
                Event::End(_) => return Ok(None),
                _ => {}
            }
        }
    }

    /// The text of the element that was returned last, up to its end; children of it are passed over.
    pub(super) fn text(&mut self) -> Result<String, ManifestError> {
        let mut out = String::new();
        let outside = self.depth - 1;
        loop {
            match self.event()? {
                Event::End(_) if self.depth == outside => break,
                Event::Text(part) => out.push_str(&part.xml10_content()),
                Event::CData(part) => out.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => {
                    let known = match reference.resolve_char_ref() {
                        Ok(Some(character)) => Some(character),
                        _ => predefined(&reference.xml10_content()),
                    };
                    out.push(known.ok_or_else(|| self.fault(Fault::Unsupported("an entity")))?);
                }
                _ => {}
            }
            if out.len() > limit::MAX_URL_BYTES {
                return Err(self.fault(Fault::too_many("bytes of text", limit::MAX_URL_BYTES)));
            }
        }
        Ok(out.trim_ascii().to_owned())
    }

    /// Passes over the element that was returned last.
    pub(super) fn skip(&mut self) -> Result<(), ManifestError> {
        let outside = self.depth - 1;
        while self.depth > outside {
            self.event()?;
        }
        Ok(())
    }

    /// A fault where the cursor stands.
    pub(super) fn fault(&self, fault: Fault) -> ManifestError {
        fault.at(text::line_of(self.text, self.position()))
    }

    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).expect("within the text")
    }

    fn event(&mut self) -> Result<Event<'a>, ManifestError> {
        let before = self.position();
        let event = self.reader.read_event();
        work::add(self.position() - before);
        let event =
            event.map_err(|error| self.fault(Fault::Syntax(excerpt(&error.to_string()))))?;
        match &event {
            Event::Start(_) => {
                self.elements += 1;
                self.depth += 1;
                if self.elements > limit::MAX_ELEMENTS {
                    let limit = limit::MAX_ELEMENTS as usize;
                    return Err(self.fault(Fault::too_many("elements", limit)));
                }
                if self.depth > limit::MAX_DEPTH {
                    let limit = limit::MAX_DEPTH as usize;
                    return Err(self.fault(Fault::too_many("elements in one another", limit)));
                }
            }
            // The reader checks that every end has its beginning.
            Event::End(_) => self.depth -= 1,
            Event::DocType(_) => return Err(self.fault(Fault::Unsupported("a document type"))),
            Event::Eof => {
                return Err(self.fault(Fault::Syntax("it ends in the middle".to_owned())));
            }
            _ => {}
        }
        Ok(event)
    }
}

impl Element<'_> {
    /// Without its prefix.
    pub(super) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// Hands every attribute to `take`, by its name with prefix.
    pub(super) fn attributes(
        &self,
        cursor: &Cursor<'_>,
        mut take: impl FnMut(&str, Cow<'_, str>) -> Result<(), Fault>,
    ) -> Result<(), ManifestError> {
        // Looking for doubles would take time in proportion to the square.
        for attribute in self.start.attributes().with_checks(false) {
            let syntax = |error: &dyn std::fmt::Display| {
                cursor.fault(Fault::Syntax(excerpt(&error.to_string())))
            };
            let attribute = attribute.map_err(|error| syntax(&error))?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|error| syntax(&error))?;
            work::add(value.len());
            take(attribute.key.into_inner(), value).map_err(|fault| cursor.fault(fault))?;
        }
        Ok(())
    }
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}
