//! Who asks, and what it plays from: the parts of a request that decide.
//!
//! Pure. Invariant: nobody is believed about an address but those whom the configuration names.

use std::net::IpAddr;

use tidegate_contract::network::Network;
use url::form_urlencoded;

/// The longest query that is read, in bytes: pathways and throughputs of a session, and what an application adds.
pub(super) const QUERY_BYTES_MAX: usize = 2048;

/// The client that an edge asks for. The header is read from its end, where the nearest writes: whoever is trusted is
/// believed about the one before it.
pub(super) fn client<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[Network],
) -> IpAddr {
    let is_trusted =
        |address: IpAddr| trusted.iter().any(|network| network.contains(address.to_canonical()));
    let mut client = peer.to_canonical();
    let hops = forwarded_for.rev().flat_map(|value| value.rsplit(',')).take(HOPS_MAX);
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(before) => client = before.to_canonical(),
            Err(_) => break,
        }
    }
    client
}

/// The pathway that a session plays from: the last one that it names and `is_known`. HLS names one, DASH all that it
/// used since it asked last, in the order of use.
pub(super) fn current(query: &str, is_known: impl Fn(&str) -> bool) -> Option<String> {
    let values = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "_HLS_pathway" || name == "_DASH_pathway");
    let mut current = None;
    for (_, value) in values.take(VALUES_MAX) {
        let names = value.trim_matches('"').split(',').take(PATHWAYS_MAX);
        let known = names.map(str::trim).filter(|name| is_known(name)).last();
        current = known.map(str::to_owned).or(current);
    }
    current
}

/// More hops than any deployment has.
const HOPS_MAX: usize = 8;
/// A player sends one.
const VALUES_MAX: usize = 4;
/// More than a session uses between two questions.
const PATHWAYS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_those_who_are_trusted_say_for_whom_they_ask() {
        let trusted: Vec<Network> =
            ["127.0.0.0/8", "10.0.0.0/8"].map(|text| text.parse().expect("a network")).into();
        for (peer, headers, expected) in [
            ("127.0.0.1", &["198.51.100.7"][..], "198.51.100.7"),
            ("::ffff:127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            // What the client wrote itself stands before what the edge wrote.
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("127.0.0.1", &["nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7, unknown"], "127.0.0.1"),
        ] {
            let peer = peer.parse().expect("an address");
            let found = client(peer, headers.iter().copied(), &trusted);
            assert_eq!(found.to_string(), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_newest_known_pathway_is_the_one_it_plays_from() {
        for (query, expected) in [
            ("_HLS_pathway=a&_HLS_throughput=5140000", Some("a")),
            ("_DASH_pathway=%22a,b%22&_DASH_throughput=1,2", Some("b")),
            ("_DASH_pathway=%22b%2Ca%22", Some("a")),
            ("_DASH_pathway=%22a,other%22", Some("a")),
            ("_HLS_pathway=.", None),
            ("_HLS_pathway=", None),
            ("pathway=a", None),
            ("%zz&&==&_HLS_pathway=%ff", None),
            ("", None),
        ] {
            let found = current(query, |name| ["a", "b"].contains(&name));
            assert_eq!(found.as_deref(), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(query in ".*", header in ".*") {
            let _ = current(&query, |_| true);
            let _ = client([127, 0, 0, 1].into(), [header.as_str()].into_iter(), &["127.0.0.0/8".parse().expect("good")]);
        }
    }
}
