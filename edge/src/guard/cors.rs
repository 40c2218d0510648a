//! What pages of other origins may do and read (the Fetch standard, CORS protocol).
//!
//! The edge answers preflights and writes the headers itself, per response, so that one stored object serves every
//! origin. Invariant: an origin's name is echoed only when it is on the list, and then `Vary: Origin` is said to caches
//! in between, also to whoever sent no origin.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tidegate_contract::guard_policy::CorsPolicy;

/// The rules of a property.
#[derive(Debug)]
pub struct Cors {
    /// `None`: any.
    origins: Option<Vec<Pattern>>,
    credentials: bool,
    methods: Vec<String>,
    headers: Vec<String>,
    allow_methods: HeaderValue,
    allow_headers: HeaderValue,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

#[derive(Debug, PartialEq)]
enum Pattern {
    Exact(String),
    /// Scheme with `://`, and what the host ends with, from the dot on.
    Below(String, String),
}

type Headers = Vec<(HeaderName, HeaderValue)>;

impl Cors {
    /// The rules of a policy.
    #[must_use]
    pub fn new(policy: &CorsPolicy) -> Self {
        let joined = |names: &[String]| {
            HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
        };
        let methods: Vec<String> =
            SIMPLE_METHODS.iter().map(|m| (*m).to_owned()).chain(policy.methods.clone()).collect();
        let expose = (!policy.expose.is_empty()).then(|| joined(&policy.expose));
        Self {
            origins: (!policy.is_any())
                .then(|| policy.origins.iter().map(|o| Pattern::new(o)).collect()),
            credentials: policy.credentials,
            allow_methods: joined(&methods),
            methods,
            headers: policy.headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            allow_headers: joined(&policy.headers),
            expose,
            max_age: HeaderValue::from(policy.max_age.as_secs()),
        }
    }

    /// Adds the headers of a response to a request with these headers.
    pub fn respond(&self, request: &HeaderMap, response: &mut Headers) {
        if self.allow_origin(request, response)
            && let Some(expose) = &self.expose
        {
            response.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone()));
        }
    }

    /// The headers of the answer to a preflight; `None` when the page may not do what it asks for.
    #[must_use]
    pub fn preflight(&self, request: &HeaderMap) -> Option<Headers> {
        let mut response = Headers::new();
        if !self.allow_origin(request, &mut response) || !self.allows_request(request) {
            return None;
        }
        response.push((header::ACCESS_CONTROL_ALLOW_METHODS, self.allow_methods.clone()));
        response.push((header::ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.clone()));
        response.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        Some(response)
    }

    /// Writes who may read; gives back whether this origin may.
    fn allow_origin(&self, request: &HeaderMap, response: &mut Headers) -> bool {
        let Some(origins) = &self.origins else {
            response.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")));
            return true;
        };
        response.push((header::VARY, HeaderValue::from_static("Origin")));
        let Some(origin) = request.get(header::ORIGIN) else { return false };
        let is_listed = |text: &str| origins.iter().any(|pattern| pattern.matches(text));
        if !origin.to_str().is_ok_and(is_listed) {
            return false;
        }
        response.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            response.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes));
        }
        true
    }

    fn allows_request(&self, request: &HeaderMap) -> bool {
        let text = |name| request.get(name).map(|value| value.to_str().unwrap_or("\0"));
        let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default();
        let names = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        self.methods.iter().any(|allowed| allowed == method)
            && names
                .all(|name| self.headers.iter().any(|allowed| name.eq_ignore_ascii_case(allowed)))
    }
}

impl Pattern {
    fn new(origin: &str) -> Self {
        match origin.split_once("://*") {
            Some((scheme, below)) => Self::Below(format!("{scheme}://"), below.to_owned()),
            None => Self::Exact(origin.to_owned()),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => origin == exact,
            Self::Below(scheme, below) => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(below.as_str()))
                .is_some_and(|name| !name.is_empty() && !name.contains(['/', '@', ':'])),
        }
    }
}

/// Whether a request is a preflight.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether the edge writes this response header itself when a property has CORS rules, so that upstream's must not be
/// stored.
#[must_use]
pub fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

/// Methods that need no leave for themselves, but are named in the answer.
const SIMPLE_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        Cors::new(&CorsPolicy {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            credentials,
            methods: vec!["DELETE".into()],
            ..CorsPolicy::default()
        })
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn allowed(cors: &Cors, origin: &str) -> Option<String> {
        let mut response = Headers::new();
        cors.respond(&headers(&[("origin", origin)]), &mut response);
        let found = response.iter().find(|(name, _)| name == header::ACCESS_CONTROL_ALLOW_ORIGIN);
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_listed_origins_are_echoed() {
        let listed = cors(&["https://a.org", "https://*.b.org"], false);
        for origin in ["https://a.org", "https://x.b.org", "https://y.x.b.org"] {
            assert_eq!(allowed(&listed, origin).as_deref(), Some(origin));
        }
        for origin in [
            "https://b.org",
            "https://a.org.evil",
            "http://a.org",
            "null",
            "https://evil/.b.org",
            "https://x:1.b.org",
        ] {
            assert_eq!(allowed(&listed, origin), None, "{origin}");
        }
        assert_eq!(allowed(&cors(&["*"], false), "https://a.org").as_deref(), Some("*"));
    }

    #[test]
    fn caches_in_between_learn_that_it_varies_even_without_an_origin() {
        let has_vary = |cors: &Cors| {
            let mut response = Headers::new();
            cors.respond(&HeaderMap::new(), &mut response);
            response.iter().any(|(name, _)| name == header::VARY)
        };
        assert!(has_vary(&cors(&["https://a.org"], true)));
        assert!(!has_vary(&cors(&["*"], false)));
    }

    #[test]
    fn a_preflight_is_answered_when_everything_in_it_is_allowed() {
        let cors = cors(&["https://a.org"], true);
        let ask = |origin, method, names| {
            cors.preflight(&headers(&[
                ("origin", origin),
                ("access-control-request-method", method),
                ("access-control-request-headers", names),
            ]))
        };
        let answer = ask("https://a.org", "GET", "Range, cmcd-session").unwrap();
        let has = |name| answer.iter().any(|(found, _)| found == name);
        assert!(
            has(header::ACCESS_CONTROL_ALLOW_CREDENTIALS) && has(header::ACCESS_CONTROL_MAX_AGE)
        );
        assert!(ask("https://a.org", "DELETE", "").is_some());
        assert!(ask("https://b.org", "GET", "").is_none());
        assert!(ask("https://a.org", "PUT", "").is_none());
        assert!(ask("https://a.org", "GET", "x-other").is_none());
    }
}
