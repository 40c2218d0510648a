//! Attribute lists of tags (`NAME=value,NAME="quoted, value"`), and the values in them. Read as players read them:
//! what is no attribute is passed over, what a tag needs is asked for by the tag.

use std::{borrow::Cow, time::Duration};

use super::{
    super::{error::Fault, limit, time, work},
    variable::Variables,
};

/// The attributes of one tag, in their order.
pub(super) struct Attributes<'a> {
    rest: &'a str,
}

/// One value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    /// Without quotes.
    pub text: &'a str,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(list: &'a str) -> Self {
        Self { rest: list }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // A comma before the next `=` ends something that is no attribute.
            let end = self.rest.find(['=', ',']);
            work::add(end.unwrap_or(self.rest.len()) + 1);
            let (name, rest) = self.rest.split_at(end?);
            if let Some(rest) = rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            let (value, rest) = Value::split(&rest[1..]);
            self.rest = rest;
            return Some((name.trim_ascii(), value));
        }
    }
}

impl<'a> Value<'a> {
    /// A value, and what stands behind its comma.
    fn split(text: &'a str) -> (Self, &'a str) {
        let text = text.trim_ascii_start();
        if let Some(quoted) = text.strip_prefix('"') {
            if let Some((text, behind)) = quoted.split_once('"') {
                let rest = behind.split_once(',').map_or("", |(_, rest)| rest);
                work::add(quoted.len() - rest.len());
                return (Self { text }, rest);
            }
            work::add(quoted.len());
        }
        let (text, rest) = text.split_once(',').unwrap_or((text, ""));
        work::add(text.len());
        (Self { text: text.trim_ascii() }, rest)
    }

    pub(super) fn is_yes(self) -> bool {
        self.text == "YES"
    }

    /// A text with its variables replaced.
    pub(super) fn text(self, variables: &Variables) -> Result<Cow<'a, str>, Fault> {
        variables.expand(self.text)
    }

    /// A text that is kept.
    pub(super) fn name(self, what: &'static str, variables: &Variables) -> Result<String, Fault> {
        let text = variables.expand(self.text)?;
        if text.len() > limit::MAX_NAME_BYTES {
            return Err(Fault::too_many(what, limit::MAX_NAME_BYTES));
        }
        Ok(text.into_owned())
    }

    pub(super) fn number(self, what: &'static str) -> Result<u64, Fault> {
        number(what, self.text)
    }

    /// Seconds that are more than none.
    pub(super) fn duration(self, what: &'static str) -> Result<Duration, Fault> {
        duration(what, self.text)
    }

    /// `1920x1080`; nothing when it is something else, since only a label depends on it.
    pub(super) fn resolution(self) -> Option<(u32, u32)> {
        let (width, height) = self.text.split_once(['x', 'X'])?;
        Some((width.parse().ok()?, height.parse().ok()?))
    }

    /// `n` or `n@o`: length and offset.
    pub(super) fn byte_range(self, what: &'static str) -> Result<(u64, Option<u64>), Fault> {
        byte_range(what, self.text)
    }
}

/// A number of sequence or bits per second.
pub(super) fn number(what: &'static str, text: &str) -> Result<u64, Fault> {
    time::digits(text)
        .filter(|number| *number <= limit::MAX_NUMBER)
        .ok_or_else(|| Fault::invalid(what, text))
}

/// Seconds that are more than none and at most a day.
pub(super) fn duration(what: &'static str, text: &str) -> Result<Duration, Fault> {
    time::seconds(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| Fault::invalid(what, text))
}

/// `n` or `n@o`: length, which is not zero, and offset.
pub(super) fn byte_range(what: &'static str, text: &str) -> Result<(u64, Option<u64>), Fault> {
    let (length, offset) = match text.split_once('@') {
        Some((length, offset)) => (length, Some(number(what, offset.trim_ascii())?)),
        None => (text, None),
    };
    match number(what, length.trim_ascii())? {
        0 => Err(Fault::invalid(what, text)),
        length => Ok((length, offset)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(list: &str) -> Vec<(&str, &str)> {
        Attributes::new(list).map(|(name, value)| (name, value.text)).collect()
    }

    #[test]
    fn attributes_are_read_as_players_read_them() {
        let table: [(&str, &[(&str, &str)]); 9] = [
            ("A=1,B=\"x, y=z\",C=YES", &[("A", "1"), ("B", "x, y=z"), ("C", "YES")]),
            (" A = 1 , B = \"x\" ,C=2", &[("A", "1"), ("B", "x"), ("C", "2")]),
            ("junk,A=1,more junk", &[("A", "1")]),
            ("A=\"\",B=", &[("A", ""), ("B", "")]),
            ("A=\"open,B=1", &[("A", "\"open"), ("B", "1")]),
            ("A=1=2,B=3", &[("A", "1=2"), ("B", "3")]),
            ("A=\"1\"x,B=3", &[("A", "1"), ("B", "3")]),
            (",,,", &[]),
            ("", &[]),
        ];
        for (list, expected) in table {
            assert_eq!(read(list), expected, "{list}");
        }
    }

    #[test]
    fn values_that_break_play_are_refused() {
        let value = |text| Value { text };
        assert_eq!(value("100@5").byte_range("r"), Ok((100, Some(5))));
        assert_eq!(value("100").byte_range("r"), Ok((100, None)));
        for text in ["0@5", "@5", "-1", "1@", "99999999999999999999@0", "1@99999999999999999999"] {
            assert!(value(text).byte_range("r").is_err(), "{text}");
        }
        for text in ["0", "0.000", "-4", "NaN", "Infinity", "1e9", "86400.1", ""] {
            assert_eq!(value(text).duration("d").is_ok(), text == "86400.1", "{text}");
        }
        assert_eq!(value("640x360").resolution(), Some((640, 360)));
        assert_eq!(value("640").resolution(), None);
        assert!(value("9007199254740993").number("n").is_err());
    }

    proptest! {
        #[test]
        fn any_list_is_read_in_one_pass(list in "[A-B=,\" ]{0,60}") {
            let kept: usize = read(&list).iter().map(|(name, text)| name.len() + text.len()).sum();
            prop_assert!(kept <= list.len());
        }
    }
}
