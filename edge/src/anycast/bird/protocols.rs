//! The table that BIRD answers to `show protocols`.
//!
//! Invariant: a line that cannot be read is left out, never guessed at.

use std::collections::BTreeMap;

use super::reply::Reply;

/// A protocol as the table shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// What kind it is: `BGP`, `Static`, `Pipe`.
    pub kind: String,
    /// Whether it runs.
    pub is_up: bool,
    /// Whether it is a session with a neighbour that stands.
    pub is_established: bool,
}

/// The protocols of an answer, by name.
#[must_use]
pub fn read(reply: &Reply) -> BTreeMap<String, Protocol> {
    reply.with_code(PROTOCOL_LINE).filter_map(line).collect()
}

/// `name kind table state since [info]`; since may have a blank in it.
fn line(text: &str) -> Option<(String, Protocol)> {
    let mut words = text.split_whitespace();
    let (name, kind) = (words.next()?, words.next()?);
    let (_table, state) = (words.next()?, words.next()?);
    let is_established = words.any(|word| word == "Established");
    let (kind, is_up) = (kind.to_owned(), state == "up");
    Some((name.to_owned(), Protocol { kind, is_up, is_established }))
}

const PROTOCOL_LINE: u16 = 1002;

#[cfg(test)]
mod tests {
    use super::{super::reply::ReplyReader, *};

    #[test]
    fn the_table_is_read_as_bird_writes_it() {
        let text = b"2002-Name       Proto      Table      State  Since         Info\n\
                     1002-up1        BGP        ---        up     22:18:44.912  Established   \n \
                     up2        BGP        ---        start  2026-01-01 22:18  Connect       Socket: Connection closed\n \
                     any_a_normal Static     anycast4   up     22:18:43.906  \n \
                     any_a_gshut Static     anycast4   down   22:18:43.906  \n \
                     odd\n\
                     0000 \n";
        let protocols = read(&ReplyReader::default().push(text).unwrap().unwrap());
        let of =
            |name: &str| protocols.get(name).map(|p| (p.kind.as_str(), p.is_up, p.is_established));
        assert_eq!(of("up1"), Some(("BGP", true, true)));
        assert_eq!(of("up2"), Some(("BGP", false, false)));
        assert_eq!(of("any_a_normal"), Some(("Static", true, false)));
        assert_eq!(of("any_a_gshut"), Some(("Static", false, false)));
        assert_eq!(protocols.len(), 4);
    }
}
