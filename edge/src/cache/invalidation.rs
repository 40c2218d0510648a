//! What an unsafe request makes obsolete (RFC 9111 4.4), and when its answer stands for the resource itself.
//!
//! Pure. Invariant: nobody can make this cache forget what belongs to another host.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use tidegate_contract::{purge::host_of, url_path};

use super::governing::Governing;

/// The resources that the answer to a request makes obsolete: host and path with query, in normal form but with all
/// query parameters. Empty for safe methods and for errors.
#[must_use]
pub fn targets(
    method: &Method,
    status: StatusCode,
    host: &str,
    path: &str,
    response: &HeaderMap,
) -> Vec<(String, String)> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut targets = vec![(host.to_owned(), normal(path))];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let named = resolved(response, &name, host, path).map(|path| (host.to_owned(), path));
        targets.extend(named.filter(|target| !targets.contains(target)));
    }
    targets
}

/// Whether a method changes nothing (RFC 9110 9.2.1). Unknown ones may change everything.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// Whether the answer to a POST is what GET would get next, so that it may be judged and stored like an answer to GET:
/// it says that it is, by `Content-Location`, and for how long (RFC 9110 9.3.3).
#[must_use]
pub fn answers_get(
    method: &Method,
    status: StatusCode,
    host: &str,
    path: &str,
    response: &HeaderMap,
) -> bool {
    method == Method::POST
        && status == StatusCode::OK
        && Governing::of(response).is_explicit(response)
        && resolved(response, &header::CONTENT_LOCATION, host, path) == Some(normal(path))
}

/// The path that a URI reference in a header leads to; `None` when it leads to another host or nowhere.
fn resolved(response: &HeaderMap, name: &HeaderName, host: &str, path: &str) -> Option<String> {
    let mut values = response.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let reference = value.to_str().ok().filter(|text| text.len() <= REFERENCE_BYTES_MAX)?;
    let reference = reference.split('#').next().unwrap_or_default();
    if let Some((authority, tail)) = authority(reference)? {
        let is_ours = host_of(authority).is_some_and(|named| named == host);
        let tail = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
        return is_ours.then(|| normal(&tail));
    }
    let base = path.split('?').next().unwrap_or_default();
    Some(normal(&match reference.as_bytes().first() {
        None => path.to_owned(),
        Some(b'/') => reference.to_owned(),
        Some(b'?') => format!("{base}{reference}"),
        Some(_) => {
            let folder = base.rfind('/').map_or("/", |end| &base[..=end]);
            format!("{folder}{reference}")
        }
    }))
}

/// Authority and rest of a reference that has an authority; `None` for schemes that are not ours.
#[expect(clippy::option_option, reason = "another scheme is not the same as none")]
fn authority(reference: &str) -> Option<Option<(&str, &str)>> {
    let scheme_end = reference.find([':', '/', '?']).filter(|at| reference[*at..].starts_with(':'));
    let rest = match scheme_end {
        Some(at) => {
            let scheme = &reference[..at];
            let is_http = ["http", "https"].iter().any(|s| s.eq_ignore_ascii_case(scheme));
            is_http.then(|| &reference[at + 1..])?
        }
        None => reference,
    };
    match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            Some(Some(rest.split_at(end)))
        }
        // `http:x` means different things to different readers.
        None => scheme_end.is_none().then_some(None),
    }
}

fn normal(path: &str) -> String {
    url_path::normal_with_query(path).into_owned()
}

/// The longest reference that is followed, as long as the longest URL of a purge.
const REFERENCE_BYTES_MAX: usize = tidegate_contract::purge::URL_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    fn paths(method: &str, status: u16, response: &[(&str, &str)]) -> Vec<String> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let targets = targets(&method, status, "a.org", "/x/y?q=1", &headers(response));
        assert!(targets.iter().all(|(host, _)| host == "a.org"));
        targets.into_iter().map(|(_, path)| path).collect()
    }

    #[test]
    fn unsafe_methods_that_succeed_make_their_target_obsolete() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
            assert_eq!(paths(method, 200, &[]), ["/x/y?q=1"], "{method}");
            assert_eq!(paths(method, 303, &[]), ["/x/y?q=1"], "{method}");
            assert!(paths(method, 500, &[]).is_empty() && paths(method, 404, &[]).is_empty());
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(paths(method, 200, &[("location", "/z")]).is_empty(), "{method}");
        }
    }

    #[test]
    fn what_the_answer_names_is_obsolete_on_the_same_host_alone() {
        for (reference, expected) in [
            ("/z", Some("/z")),
            ("z/../w", Some("/x/w")),
            ("?q=2", Some("/x/y?q=2")),
            ("#f", None),
            ("", None),
            ("http://A.org:8080/z#f", Some("/z")),
            ("https://a.org?z", Some("/?z")),
            ("//a.org/z", Some("/z")),
            ("http://b.org/z", None),
            ("//b.org/z", None),
            ("http://u@a.org/z", None),
            ("ftp://a.org/z", None),
            ("http:z", None),
            ("mailto:a", None),
        ] {
            let found = paths("PUT", 201, &[("location", reference)]);
            assert_eq!(found.get(1).map(String::as_str), expected, "{reference}");
        }
        let both = [("location", "/z"), ("content-location", "/w")];
        assert_eq!(paths("POST", 200, &both), ["/x/y?q=1", "/z", "/w"]);
        assert_eq!(paths("POST", 200, &[("location", "/z"), ("location", "/w")]).len(), 1);
    }

    #[test]
    fn an_answer_to_a_post_may_say_that_get_would_get_it() {
        let check = |method, status, pairs: &[(&str, &str)]| {
            let status = StatusCode::from_u16(status).unwrap();
            answers_get(&method, status, "a.org", "/x/../y", &headers(pairs))
        };
        let good = [("content-location", "/y"), ("cache-control", "max-age=9")];
        assert!(check(Method::POST, 200, &good));
        assert!(check(Method::POST, 200, &[good[0], ("expires", "x")]));
        assert!(!check(Method::PUT, 200, &good));
        assert!(!check(Method::POST, 201, &good));
        assert!(!check(Method::POST, 200, &good[..1]) && !check(Method::POST, 200, &good[1..]));
        assert!(!check(Method::POST, 200, &[("content-location", "/z"), good[1]]));
    }
}
