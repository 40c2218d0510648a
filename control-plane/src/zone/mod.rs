//! Master files of the DNS (RFC 1035 5), checked before they are released: what no geo node would serve is refused with its
//! line and the reason.
//!
//! Nodes check more of how records stand to one another; what they refuse they say, and go on with the zone before.
//! Invariant: no text makes this process read a file, and what is refused here is refused by every node too.

mod rules; // what every zone must have and none may
mod reader; // records, one an entry
mod entry; // lines that belong together, and their words

use std::fmt;

use hickory_proto::rr::Name;

use self::{entry::entries, reader::Reader, rules::rules};

/// The most that all zones together may take, in bytes as they travel: with the rest of the fleet they fit into one line of
/// the feed.
pub const ZONES_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Why a zone is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneError {
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// Why.
    pub reason: String,
}

/// Checks the text of a zone.
///
/// # Errors
/// [`ZoneError`] names the first thing that is wrong.
pub fn check(name: &str, text: &str) -> Result<(), ZoneError> {
    let origin = match Name::from_ascii(name) {
        Ok(mut origin) if !origin.is_root() && !name.is_empty() => {
            origin.set_fqdn(true);
            origin.to_lowercase()
        }
        _ => {
            let reason = format!("{name:?} is not the name of a zone");
            return Err(ZoneError { line: None, reason });
        }
    };
    let mut reader = Reader::new(origin.clone());
    let mut lines = Vec::new();
    for entry in entries(text) {
        let read = entry.words().and_then(|words| reader.read(&entry, &words));
        match read {
            Ok(line) => lines.extend(line),
            Err(reason) => return Err(ZoneError { line: Some(entry.number), reason }),
        }
    }
    rules(&origin, &lines)
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ZoneError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "$TTL 300\n\
        @ IN SOA ns1 hostmaster (\n  1 3600 600\n  86400 60 )\n\
        @ NS ns1\n\
        ns1 A 192.0.2.53\n\
        www CNAME video ; the player\n\
        _steer.video TXT \"alpn=h3,h2 port=443\"\n\
        text TXT \"a;b\" \"(\"\n\
        list 1h IN TXT ( \"a b\" c ; and\n  \"\\034\" )\n";

    #[test]
    fn a_zone_that_nodes_would_serve_is_taken() {
        assert_eq!(check("example.com", GOOD), Ok(()));
        assert_eq!(
            check(
                "example.com",
                &GOOD.replace("_steer.video TXT \"alpn=h3,h2 port=443\"", "_steer TXT \"\"")
            ),
            Ok(())
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let with = |line: &str| format!("{GOOD}{line}\n");
        let mut wrong = Vec::new();
        for (text, line, reason) in [
            (with("a A 192.0.2.256"), Some(12), "IPv4"),
            (with("a A 192.0.2.1\nb WHAT x"), Some(13), "WHAT"),
            (with("$INCLUDE /etc/passwd"), Some(12), "$INCLUDE"),
            (with("a A ( 192.0.2.1"), Some(12), "not closed"),
            (with("$GENERATE 1-3 a A 192.0.2.$"), Some(12), "no directive"),
            (with("a CH A 192.0.2.1"), Some(12), "class"),
            (with("a TXT \"\\300\""), Some(12), "255"),
            (with("a (\n A\n 192.0.2 )"), Some(12), ""),
            (
                with("a CAA 0 issue \"ca.example\n$INCLUDE /etc/passwd\n\""),
                Some(12),
                "end of its line",
            ),
            (with("other.org. A 192.0.2.1"), Some(12), "outside"),
            (with("sub SOA ns1 hostmaster 1 2 3 4 5"), Some(12), "SOA"),
            (with("www A 192.0.2.1"), Some(7), "CNAME"),
            (with("video A 192.0.2.1"), Some(12), "is steered"),
            (with("_steer.b TXT \"ttl=5\""), Some(12), "there is no option"),
            (with("_steer.b TXT \"port=0\""), Some(12), "is no port"),
            (with("_steer.b TXT \"alpn=h3,\""), Some(12), "is no alpn"),
            (with("_steer.b A 192.0.2.1"), Some(12), "something else"),
            (with("a 4294967295 A 192.0.2.1"), Some(12), "TTL"),
            (GOOD.replace("@ NS ns1\n", ""), None, "no NS"),
            (GOOD.replace("$TTL 300\n", ""), Some(1), "no TTL"),
            ("$TTL 5\nns1 A 192.0.2.1\n".to_owned(), None, "no SOA"),
            ("@ IN SOA".to_owned(), Some(1), ""),
            (String::new(), None, "no SOA"),
        ] {
            let error = check("example.com", &text).expect_err(&text);
            if error.line != line || !error.reason.contains(reason) {
                wrong.push(format!("{text}\n{error}, not {line:?} {reason}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        for name in ["", ".", "a..b"] {
            assert!(check(name, GOOD).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_refused(text in "[a-z@$;()\"\\\\ \n\t0-9.A-Z]{0,200}") {
            let _ = check("example.com", &text);
            let _ = check("example.com", &format!("{GOOD}{text}"));
        }
    }
}
