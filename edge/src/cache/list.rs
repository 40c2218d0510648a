//! The members of a comma-separated header value (RFC 9110 5.6.1); commas inside quotes do not separate.
//!
//! Pure, without allocation. Invariant: no byte of a value is in two members.

/// The members, without the space around them. Empty ones are among them.
#[must_use]
pub fn members(value: &[u8]) -> Members<'_> {
    Members { rest: Some(value), has_escapes: true }
}

/// As [`members`], for values whose quotes know no escapes: entity tags.
#[must_use]
pub fn plain_members(value: &[u8]) -> Members<'_> {
    Members { rest: Some(value), has_escapes: false }
}

/// Iterates over members.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    rest: Option<&'a [u8]>,
    has_escapes: bool,
}

/// One member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// What stands between two commas.
    pub text: &'a [u8],
    /// Whether a quote in it has no end; everything up to the end of the value is in it then.
    pub is_open: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let rest = self.rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = rest.iter().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted && self.has_escapes => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted => return true,
                _ => {}
            }
            false
        });
        self.rest = end.map(|at| &rest[at + 1..]);
        let text = rest[..end.unwrap_or(rest.len())].trim_ascii();
        Some(Member { text, is_open: is_quoted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<String> {
        members(value.as_bytes())
            .map(|member| String::from_utf8_lossy(member.text).into_owned())
            .collect()
    }

    #[test]
    fn commas_separate_unless_they_are_quoted() {
        for (value, expected) in [
            ("", vec![""]),
            ("a", vec!["a"]),
            (" a ,b\t, ,c", vec!["a", "b", "", "c"]),
            ("x=\"a,b\",c", vec!["x=\"a,b\"", "c"]),
            ("x=\"a\\\",b\",c", vec!["x=\"a\\\",b\"", "c"]),
            ("x=\"a,b", vec!["x=\"a,b"]),
        ] {
            assert_eq!(texts(value), expected, "{value}");
        }
    }

    #[test]
    fn an_open_quote_is_told() {
        let open: Vec<bool> = members(b"a,\"b,c").map(|member| member.is_open).collect();
        assert_eq!(open, [false, true]);
        let tags: Vec<&[u8]> = plain_members(b"\"a\\\",\"b\"").map(|member| member.text).collect();
        assert_eq!(tags, [&b"\"a\\\""[..], b"\"b\""]);
    }
}
