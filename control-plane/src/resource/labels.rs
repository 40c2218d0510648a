//! Labels: names with values that operators give to resources, and what they choose resources by.
//!
//! They are for people and their scripts: no node ever reads them, and the root that a release is signed with does not
//! cover them. Names and values are limited as those of Kubernetes are, so that what names things there can name them here.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The most labels of one resource.
pub const LABELS_MAX: usize = 16;
/// The most that the labels of all resources may take together, in bytes of names and values.
pub const LABELS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest value, and the longest name behind its prefix, in bytes.
pub(super) const WORD_BYTES_MAX: usize = 63;
/// The longest prefix of a name (`example.com/` in `example.com/team`), in bytes.
pub(super) const PREFIX_BYTES_MAX: usize = 253;
/// The most conditions of a selector.
pub(super) const CONDITIONS_MAX: usize = 16;
/// The longest selector, in bytes.
pub(super) const SELECTOR_BYTES_MAX: usize = 2048;

/// The labels of one resource, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

/// What chooses resources by their labels: all conditions must be met. Without any it chooses every resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Is(String, String),
    /// Also met where there is no such label.
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

/// Not labels, or not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A name.
    #[error(
        "the name of a label is 1 to {WORD_BYTES_MAX} bytes of letters, digits, '-', '_' and '.', a letter or digit at both \
         ends, perhaps behind a prefix (a domain in lower case and '/'), not {0:?}"
    )]
    Name(String),
    /// A value.
    #[error(
        "the value of a label is at most {WORD_BYTES_MAX} bytes of letters, digits, '-', '_' and '.', a letter or digit at \
         both ends, not {0:?}"
    )]
    Value(String),
    /// Too many of one resource.
    #[error("a resource has at most {LABELS_MAX} labels, not {0}")]
    Count(usize),
    /// Too long, or too many conditions.
    #[error("a selector has at most {CONDITIONS_MAX} conditions and {SELECTOR_BYTES_MAX} bytes")]
    Selector,
    /// A condition that is none.
    #[error("a selector is name=value, name!=value, name or !name, joined by commas, not {0:?}")]
    Condition(String),
}

impl Labels {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What they take, in bytes of names and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = LabelError;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, LabelError> {
        if labels.len() > LABELS_MAX {
            return Err(LabelError::Count(labels.len()));
        }
        for (name, value) in &labels {
            check_name(name)?;
            check_value(value)?;
        }
        Ok(Self(labels))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&words.join(","))
    }
}

impl Selector {
    /// Whether it chooses a resource with these labels.
    #[must_use]
    pub fn chooses(&self, labels: &Labels) -> bool {
        self.0.iter().all(|condition| match condition {
            Condition::Is(name, value) => labels.0.get(name) == Some(value),
            Condition::IsNot(name, value) => labels.0.get(name) != Some(value),
            Condition::Has(name) => labels.0.contains_key(name),
            Condition::HasNot(name) => !labels.0.contains_key(name),
        })
    }
}

impl FromStr for Selector {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(LabelError::Selector);
        }
        let conditions = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let conditions: Vec<_> = conditions.map(condition).collect::<Result<_, _>>()?;
        match conditions.len() {
            // Whoever asks for some shall not get all.
            0 => Err(LabelError::Condition(text.to_owned())),
            1..=CONDITIONS_MAX => Ok(Self(conditions)),
            _ => Err(LabelError::Selector),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |condition: &Condition| match condition {
            Condition::Is(name, value) => format!("{name}={value}"),
            Condition::IsNot(name, value) => format!("{name}!={value}"),
            Condition::Has(name) => name.clone(),
            Condition::HasNot(name) => format!("!{name}"),
        };
        f.write_str(&self.0.iter().map(word).collect::<Vec<_>>().join(","))
    }
}

fn condition(word: &str) -> Result<Condition, LabelError> {
    let named = |name: &str| {
        let name = name.trim();
        check_name(name).map_err(|_| LabelError::Condition(shown(word)))?;
        Ok::<_, LabelError>(name.to_owned())
    };
    let valued = |value: &str| {
        let value = value.trim();
        check_value(value).map(|()| value.to_owned())
    };
    if let Some((name, value)) = word.split_once("!=") {
        return Ok(Condition::IsNot(named(name)?, valued(value)?));
    }
    if let Some((name, value)) = word.split_once('=') {
        // Two signs mean the same as one.
        let value = value.strip_prefix('=').unwrap_or(value);
        return Ok(Condition::Is(named(name)?, valued(value)?));
    }
    match word.strip_prefix('!') {
        Some(name) => Ok(Condition::HasNot(named(name)?)),
        None => Ok(Condition::Has(named(word)?)),
    }
}

fn check_name(name: &str) -> Result<(), LabelError> {
    let (prefix, word) = match name.split_once('/') {
        Some((prefix, word)) => (Some(prefix), word),
        None => (None, name),
    };
    let is_good = !word.is_empty() && is_word(word) && prefix.is_none_or(is_domain);
    if is_good { Ok(()) } else { Err(LabelError::Name(shown(name))) }
}

fn check_value(value: &str) -> Result<(), LabelError> {
    if is_word(value) { Ok(()) } else { Err(LabelError::Value(shown(value))) }
}

/// Nothing is a word, too: a label may have no value.
fn is_word(word: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    word.len() <= WORD_BYTES_MAX
        && word.bytes().all(is_inner)
        && is_end(word.bytes().next())
        && is_end(word.bytes().next_back())
}

fn is_domain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(|byte| is_plain(byte) || byte == b'-')
            && part.bytes().next().is_some_and(is_plain)
            && part.bytes().next_back().is_some_and(is_plain)
    };
    text.len() <= PREFIX_BYTES_MAX && text.split('.').all(is_part)
}

fn shown(text: &str) -> String {
    text.chars().take(WORD_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, LabelError> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect::<BTreeMap<_, _>>().try_into()
    }

    #[test]
    fn names_and_values_are_plain_and_bounded() {
        let long = "x".repeat(WORD_BYTES_MAX);
        let domain = format!("{}.a/x", "y".repeat(PREFIX_BYTES_MAX - 2));
        for (name, value) in [
            ("a", ""),
            ("tier", "1"),
            ("example.com/team", "Video_a.b-c"),
            (&long, &long),
            (&domain, "x"),
        ] {
            assert!(labels(&[(name, value)]).is_ok(), "{name}={value}");
        }
        let longer = "x".repeat(WORD_BYTES_MAX + 1);
        let far = format!("y{domain}");
        for (name, value) in [
            ("", "x"),
            ("/a", "x"),
            ("a/", "x"),
            ("a/b/c", "x"),
            ("A.com/b", "x"),
            ("a..b/c", "x"),
            ("-a", "x"),
            ("a_", "x"),
            ("a b", "x"),
            ("ä", "x"),
            (&longer, "x"),
            (&far, "x"),
            ("a", "-x"),
            ("a", "x y"),
            ("a", "x,b=y"),
            ("a", &longer),
        ] {
            assert!(labels(&[(name, value)]).is_err(), "{name}={value}");
        }
        let many = |count: usize| {
            let all = (0..count).map(|n| (format!("n{n}"), String::new()));
            Labels::try_from(all.collect::<BTreeMap<_, _>>())
        };
        assert!(many(LABELS_MAX).is_ok());
        assert_eq!(many(LABELS_MAX + 1), Err(LabelError::Count(LABELS_MAX + 1)));
    }

    #[test]
    fn labels_are_read_from_what_they_are_written_as_and_checked_then() {
        let some = labels(&[("b", "2"), ("a", "1")]).expect("good");
        let text = serde_json::to_string(&some).expect("plain");
        assert_eq!((text.as_str(), some.bytes()), (r#"{"a":"1","b":"2"}"#, 4));
        assert_eq!(serde_json::from_str::<Labels>(&text).expect("its own"), some);
        assert!(serde_json::from_str::<Labels>(r#"{"a b":"1"}"#).is_err());
        assert_eq!(some.to_string(), "a=1,b=2");
    }

    #[test]
    fn a_selector_chooses_by_all_of_its_conditions() {
        let some = labels(&[("tier", "gold"), ("x.org/team", "video"), ("new", "")]).expect("good");
        for (selector, is_chosen) in [
            ("tier=gold", true),
            ("tier==gold", true),
            ("tier=silver", false),
            ("tier!=silver", true),
            ("tier!=gold", false),
            ("gone!=x", true),
            ("gone=", false),
            ("new=", true),
            ("new", true),
            ("!new", false),
            ("!gone", true),
            ("tier=gold, x.org/team=video, !gone", true),
            ("tier=gold,x.org/team=audio", false),
        ] {
            let read: Selector = selector.parse().expect(selector);
            assert_eq!(read.chooses(&some), is_chosen, "{selector}");
            assert_eq!(read.to_string().parse(), Ok(read), "{selector}");
        }
        assert!(Selector::default().chooses(&some));
        let many = vec!["a"; CONDITIONS_MAX + 1].join(",");
        let long = "a".repeat(SELECTOR_BYTES_MAX + 1);
        for bad in ["", ",", "=x", "!", "!=x", "a=b c", "a b", "!a=b", &many, &long] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
