//! Which variant of a resource a request gets: a hash over the request headers that `Vary` names.
//!
//! Pure. Invariant: two requests share a variant only when every named header has the same values.

use http::{HeaderMap, header};

/// The variance of a request for a response with these headers; `None` when the response does not vary.
#[must_use]
pub fn of(response: &HeaderMap, request: &HeaderMap) -> Option<[u8; 16]> {
    let mut names: Vec<String> = response
        .get_all(header::VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return None;
    }
    names.sort_unstable();
    names.dedup();
    let mut hasher = blake3::Hasher::new();
    for name in &names {
        update(&mut hasher, name.as_bytes());
        for value in request.get_all(name.as_str()) {
            update(&mut hasher, value.as_bytes());
        }
        update(&mut hasher, b"");
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Some(out)
}

fn update(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn only_the_named_headers_count() {
        let response = headers(&[("vary", "Accept-Encoding"), ("vary", "x-a")]);
        let plain = of(&response, &headers(&[]));
        assert!(plain.is_some());
        assert_eq!(plain, of(&response, &headers(&[("user-agent", "x")])));
        let gzip = of(&response, &headers(&[("accept-encoding", "gzip")]));
        assert_ne!(plain, gzip);
        assert_ne!(gzip, of(&response, &headers(&[("x-a", "gzip")])));
        let reordered = headers(&[("vary", "x-a, accept-encoding, x-A")]);
        assert_eq!(gzip, of(&reordered, &headers(&[("accept-encoding", "gzip")])));
    }

    #[test]
    fn a_response_without_vary_has_no_variants() {
        assert_eq!(of(&headers(&[]), &headers(&[("accept", "x")])), None);
        assert_eq!(of(&headers(&[("vary", " , ")]), &headers(&[])), None);
    }
}
