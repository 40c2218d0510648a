//! What of a request is for the door alone: tokens and CMCD.
//!
//! Invariant: what is stripped reaches neither the cache key, nor upstream, nor a log.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::PathAndQuery};
use tidegate_contract::guard_policy::Carriers;

/// What must go from one request.
#[derive(Debug, Default)]
pub struct Strip {
    target: Option<PathAndQuery>,
    rules: Option<Arc<Rules>>,
}

/// What must go from every request of a property.
#[derive(Debug, Default)]
pub struct Rules {
    /// Query parameters beside CMCD.
    query: Option<String>,
    /// The name before `=` in the first path segment.
    path: Option<String>,
    /// A cookie.
    cookie: Option<String>,
    /// Whole headers.
    headers: Vec<HeaderName>,
}

impl Rules {
    /// The rules of a property: its token's carriers, and `Origin` when the edge itself answers for other origins,
    /// since upstream must not then vary by it.
    #[must_use]
    pub fn new(carriers: Option<&Carriers>, is_cors: bool) -> Self {
        let mut rules = Self::default();
        if let Some(carriers) = carriers {
            rules.query.clone_from(&carriers.query);
            rules.path.clone_from(&carriers.path);
            rules.cookie.clone_from(&carriers.cookie);
            rules.headers.extend(carriers.header.as_ref().and_then(|name| name.parse().ok()));
        }
        if is_cors {
            rules.headers.push(header::ORIGIN);
        }
        rules
    }

    /// What must go from a request for this target.
    #[must_use]
    pub fn strip(self: &Arc<Self>, target: &PathAndQuery) -> Strip {
        // Without rules there is no count that all threads would write to.
        let has_rules = self.cookie.is_some() || !self.headers.is_empty();
        Strip { target: self.rest(target), rules: has_rules.then(|| self.clone()) }
    }

    /// The target without token and CMCD; `None` when it has neither.
    fn rest(&self, target: &PathAndQuery) -> Option<PathAndQuery> {
        let path = self.path_of(target.path());
        let has_any = |query: &str| query.split('&').any(|pair| self.is_ours(pair));
        let query = target.query();
        if path.len() == target.path().len() && !query.is_some_and(has_any) {
            return None;
        }
        let mut rest = String::with_capacity(target.as_str().len());
        rest.push_str(path);
        let mut separator = '?';
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            if !self.is_ours(pair) {
                rest.push(separator);
                rest.push_str(pair);
                separator = '&';
            }
        }
        // Parts of a good target, from a slash on.
        rest.try_into().ok()
    }

    /// The path without the segment that carries a token.
    fn path_of<'a>(&self, path: &'a str) -> &'a str {
        let Some(name) = &self.path else { return path };
        match token_segment(path, name) {
            Some(token) => match &path[1 + name.len() + 1 + token.len()..] {
                "" => "/",
                rest => rest,
            },
            None => path,
        }
    }

    fn is_ours(&self, pair: &str) -> bool {
        let name = pair.split('=').next().unwrap_or_default();
        is_name(name, CMCD) || self.query.as_ref().is_some_and(|query| is_name(name, query))
    }
}

impl Strip {
    /// The target that remains; `target` is the one that was asked for.
    #[must_use]
    pub fn target<'a>(&'a self, target: &'a PathAndQuery) -> &'a PathAndQuery {
        self.target.as_ref().unwrap_or(target)
    }

    /// Takes what must go out of a request's headers. To be done before the variance is computed.
    pub fn clean(&self, headers: &mut HeaderMap) {
        let Some(rules) = &self.rules else { return };
        for name in &rules.headers {
            headers.remove(name);
        }
        if let Some(cookie) = &rules.cookie {
            clean_cookie(headers, cookie);
        }
    }
}

/// The token in a first path segment `name=TOKEN`.
#[must_use]
pub fn token_segment<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let segment = path.strip_prefix('/')?.split('/').next()?;
    segment.strip_prefix(name)?.strip_prefix('=')
}

/// Whether a parameter's name is this one, escaped or not.
fn is_name(found: &str, name: &str) -> bool {
    if !found.contains('%') {
        return found == name;
    }
    let mut bytes = found.bytes();
    let mut next = || match bytes.next()? {
        b'%' => {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            Some((digit()? * 16 + digit()?) as u8)
        }
        byte => Some(byte),
    };
    name.bytes().all(|byte| next() == Some(byte)) && next().is_none()
}

/// Takes one cookie out of the `Cookie` line.
fn clean_cookie(headers: &mut HeaderMap, name: &str) {
    let Some(line) = headers.get(header::COOKIE).and_then(|line| line.to_str().ok()) else {
        return;
    };
    let is_ours = |pair: &&str| pair.trim_start().split('=').next() == Some(name);
    if !line.split(';').any(|pair| is_ours(&pair)) {
        return;
    }
    let rest: Vec<_> = line.split(';').filter(|pair| !is_ours(pair)).map(str::trim).collect();
    if rest.is_empty() {
        headers.remove(header::COOKIE);
    } else if let Ok(value) = HeaderValue::try_from(rest.join("; ")) {
        headers.insert(header::COOKIE, value);
    }
}

/// The query parameter of CTA-5004.
const CMCD: &str = "CMCD";

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(target: &str) -> String {
        let carriers = Carriers { path: Some("t".into()), ..Carriers::default() };
        let rules = Arc::new(Rules::new(Some(&carriers), true));
        let target: PathAndQuery = target.parse().unwrap();
        rules.strip(&target).target(&target).as_str().to_owned()
    }

    #[test]
    fn tokens_and_cmcd_leave_the_target() {
        for (target, expected) in [
            ("/a?b=1", "/a?b=1"),
            ("/a?cat=x", "/a"),
            ("/a?b=1&cat=x&c=2", "/a?b=1&c=2"),
            ("/a?CMCD=br%3D3200&b=1", "/a?b=1"),
            ("/a?%63at=x&CMC%44=1", "/a"),
            ("/a?cats=x&cat", "/a?cats=x"),
            ("/t=abc/v/a.m3u8?b=1", "/v/a.m3u8?b=1"),
            ("/t=abc", "/"),
            ("/t=abc?CMCD=1", "/"),
            ("/tt=abc/v", "/tt=abc/v"),
            ("/v/t=abc/x", "/v/t=abc/x"),
        ] {
            assert_eq!(rest(target), expected, "{target}");
        }
    }

    #[test]
    fn without_tokens_only_cmcd_leaves() {
        let rules = Arc::new(Rules::new(None, false));
        let target: PathAndQuery = "/a?cat=x&CMCD=1".parse().unwrap();
        assert_eq!(rules.strip(&target).target(&target).as_str(), "/a?cat=x");
    }

    #[test]
    fn headers_and_the_one_cookie_leave() {
        let rules = Arc::new(Rules::new(Some(&Carriers::default()), true));
        let strip = rules.strip(&"/".parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cta-common-access-token", "x"),
            ("origin", "https://a.org"),
            ("cookie", "a=1; cta-common-access-token=secret; b=2"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        strip.clean(&mut headers);
        assert_eq!(headers.get("cookie").unwrap(), "a=1; b=2");
        assert_eq!(headers.len(), 2);
        headers.insert("cookie", "cta-common-access-token=secret".parse().unwrap());
        strip.clean(&mut headers);
        assert!(!headers.contains_key("cookie"));
    }
}
