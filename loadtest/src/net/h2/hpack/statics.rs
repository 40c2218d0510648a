//! The static table (RFC 7541 appendix A).
//!
//! Invariant: entry 1 of the standard stands first.

/// The place in the standard's table of a name, for a literal that borrows it.
pub(super) fn place_of(name: &str) -> Option<usize> {
    // Few names are asked for, and most of them stand near the end.
    let place = TABLE.iter().skip(NAMES_BEGIN).position(|(known, _)| *known == name)?;
    Some(NAMES_BEGIN + place + 1)
}

/// Where the names of ordinary fields begin.
const NAMES_BEGIN: usize = 14;

#[rustfmt::skip]
pub(super) static TABLE: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_standard() {
        for (name, place) in
            [("accept-charset", 15), ("accept", 19), ("range", 50), ("user-agent", 58)]
        {
            assert_eq!(place_of(name), Some(place), "{name}");
        }
        assert_eq!(place_of("cmcd-request"), None);
        assert_eq!(TABLE[60].0, "www-authenticate");
    }
}
