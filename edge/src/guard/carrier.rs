//! Where a request carries its token.
//!
//! Invariant: what is found is made of the characters of base64url and dots, so that it can be set as a cookie or put
//! into a URL as it is.

use http::header;
use tidegate_contract::guard_policy::Carriers;

use super::strip::token_segment;
use crate::listener::stream::Request;

/// Where a token stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// In the first path segment.
    Path,
    /// In a query parameter.
    Query,
    /// In a header.
    Header,
    /// In a cookie.
    Cookie,
}

/// Something in a token's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where.
    pub carrier: Carrier,
    /// The text; `None` when it cannot be a token.
    pub text: Option<&'a str>,
}

/// What stands in the places of a token, in the order in which it is tried.
pub fn find<'a>(
    request: &'a Request,
    carriers: &'a Carriers,
) -> impl Iterator<Item = Found<'a>> + use<'a> {
    let path = || token_segment(request.target.path(), carriers.path.as_deref()?);
    let query = || parameter(request.target.query()?, carriers.query.as_deref()?);
    let in_header = || header_token(request, carriers.header.as_deref()?);
    let in_cookie = || cookie(request, carriers.cookie.as_deref()?);
    [
        (Carrier::Path, path()),
        (Carrier::Query, query()),
        (Carrier::Header, in_header()),
        (Carrier::Cookie, in_cookie()),
    ]
    .into_iter()
    .filter_map(|(carrier, text)| {
        text.map(|text| Found { carrier, text: is_token(text).then_some(text) })
    })
}

/// The value of the first parameter of a name.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The token in a header; behind `Bearer` in `Authorization`.
fn header_token<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let value = request.headers.get(name)?.to_str().unwrap_or_default();
    if !name.eq_ignore_ascii_case(header::AUTHORIZATION.as_str()) {
        return Some(value.trim());
    }
    // Other schemes are for the origin.
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let line = request.headers.get(header::COOKIE)?.to_str().ok()?;
    line.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Whether a text can be a token: of the right length and characters.
fn is_token(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.=".contains(&b);
    (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The longest token: what browsers still keep as one cookie, and far more than the longest in use.
pub const TOKEN_BYTES_MAX: usize = 4096 - 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::fixture::request;

    fn texts(request: &Request, carriers: &Carriers) -> Vec<(Carrier, Option<String>)> {
        find(request, carriers)
            .map(|found| (found.carrier, found.text.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn every_place_is_looked_at_in_order() {
        let carriers = Carriers { path: Some("t".into()), ..Carriers::default() };
        let mut request = request("/t=in-path/v?a=1&cat=in-query&cat=second");
        let name = "cta-common-access-token";
        request.headers.insert(name, "in-header".parse().unwrap());
        request.headers.insert("cookie", format!("a=b; {name}=in-cookie").parse().unwrap());
        assert_eq!(
            texts(&request, &carriers),
            [
                (Carrier::Path, Some("in-path".into())),
                (Carrier::Query, Some("in-query".into())),
                (Carrier::Header, Some("in-header".into())),
                (Carrier::Cookie, Some("in-cookie".into())),
            ]
        );
    }

    #[test]
    fn what_cannot_be_a_token_is_found_but_not_read() {
        let carriers = Carriers::default();
        let long = format!("/v?cat={}", "a".repeat(TOKEN_BYTES_MAX + 1));
        for target in ["/v?cat=", "/v?cat=a%20b", "/v?cat=a;b", &long] {
            assert_eq!(texts(&request(target), &carriers), [(Carrier::Query, None)], "{target}");
        }
        assert_eq!(texts(&request("/v?cats=a&xcat=b"), &carriers), []);
    }

    #[test]
    fn authorization_needs_bearer() {
        let carriers = Carriers { header: Some("authorization".into()), ..Carriers::default() };
        let mut request = request("/v");
        request.headers.insert("authorization", "Basic abc".parse().unwrap());
        assert_eq!(texts(&request, &carriers), []);
        request.headers.insert("authorization", "bearer abc".parse().unwrap());
        assert_eq!(texts(&request, &carriers), [(Carrier::Header, Some("abc".into()))]);
    }
}
