//! Variables (EXT-X-DEFINE): `{$name}` in URIs and quoted values stands for a text that the playlist, the query of its
//! own URL, or the multivariant playlist gives.
//!
//! A replaced text is never longer than a URL may be, so that few bytes cannot become many.

use std::{borrow::Cow, collections::BTreeMap};

use url::Url;

use super::{
    super::{error::Fault, limit, work},
    attribute::Attributes,
};

/// What is defined so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, String>,
}

impl Variables {
    /// Takes one EXT-X-DEFINE. `imported` are those of the multivariant playlist.
    pub(super) fn define(
        &mut self,
        list: &str,
        own_url: &Url,
        imported: &Self,
    ) -> Result<(), Fault> {
        let (mut name, mut value) = (None, None);
        for (attribute, given) in Attributes::new(list) {
            match attribute {
                "NAME" => name = Some(given.text.to_owned()),
                "VALUE" => value = Some(self.expand(given.text)?.into_owned()),
                "QUERYPARAM" => {
                    let found = own_url.query_pairs().find(|(key, _)| key == given.text);
                    let found = found.ok_or_else(|| undefined(given.text))?;
                    (name, value) = (Some(given.text.to_owned()), Some(found.1.into_owned()));
                }
                "IMPORT" => {
                    let found = imported.values.get(given.text);
                    let found = found.ok_or_else(|| undefined(given.text))?;
                    (name, value) = (Some(given.text.to_owned()), Some(found.clone()));
                }
                _ => {}
            }
        }
        let name = name.ok_or(Fault::Missing("NAME, IMPORT or QUERYPARAM of EXT-X-DEFINE"))?;
        let value = value.ok_or(Fault::Missing("VALUE of EXT-X-DEFINE"))?;
        if name.len() > limit::MAX_NAME_BYTES || value.len() > limit::MAX_URL_BYTES {
            return Err(Fault::too_many("bytes of a variable", limit::MAX_URL_BYTES));
        }
        self.values.insert(name, value);
        if self.values.len() > limit::MAX_VARIABLES {
            return Err(Fault::too_many("variables", limit::MAX_VARIABLES));
        }
        Ok(())
    }

    /// The text with every `{$name}` replaced, once: what a value brings is not looked through again.
    pub(super) fn expand<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, Fault> {
        work::add(text.len());
        if !text.contains("{$") {
            return Ok(Cow::Borrowed(text));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{$") {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                out.push_str("{$");
                rest = after;
                continue;
            };
            out.push_str(self.values.get(name).ok_or_else(|| undefined(name))?);
            if out.len() > limit::MAX_URL_BYTES {
                return Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES));
            }
            rest = after;
        }
        out.push_str(rest);
        work::add(out.len());
        Ok(Cow::Owned(out))
    }
}

fn undefined(name: &str) -> Fault {
    Fault::Undefined(super::super::error::excerpt(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://a.example/main.m3u8?token=a%20b&n=1").expect("a URL")
    }

    #[test]
    fn a_variable_comes_from_the_text_the_query_or_the_other_playlist() {
        let mut imported = Variables::default();
        imported
            .define("NAME=\"host\",VALUE=\"b.example\"", &url(), &Variables::default())
            .unwrap();
        let mut variables = Variables::default();
        for list in ["NAME=\"dir\",VALUE=\"x/y\"", "QUERYPARAM=\"token\"", "IMPORT=\"host\""] {
            variables.define(list, &url(), &imported).unwrap();
        }
        let table = [
            ("//{$host}/{$dir}/1.ts?t={$token}", Ok("//b.example/x/y/1.ts?t=a b")),
            ("plain", Ok("plain")),
            ("open{$dir", Ok("open{$dir")),
            ("{$gone}", Err(Fault::Undefined("gone".into()))),
        ];
        for (text, expected) in table {
            assert_eq!(variables.expand(text), expected.map(Cow::Borrowed), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_taken() {
        let none = Variables::default();
        for list in ["QUERYPARAM=\"gone\"", "IMPORT=\"gone\"", "VALUE=\"1\"", "NAME=\"a\"", ""] {
            assert!(Variables::default().define(list, &url(), &none).is_err(), "{list}");
        }
    }

    #[test]
    fn variables_do_not_multiply() {
        let mut variables = Variables::default();
        let long = format!("NAME=\"a\",VALUE=\"{}\"", "x".repeat(limit::MAX_URL_BYTES));
        variables.define(&long, &url(), &Variables::default()).unwrap();
        assert!(variables.expand("{$a}").is_ok());
        assert!(variables.expand("{$a}{$a}").is_err());
        let twice =
            variables.define("NAME=\"b\",VALUE=\"{$a}{$a}\"", &url(), &Variables::default());
        assert!(twice.is_err());
    }
}
