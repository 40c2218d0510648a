//! The status page: three files that are part of the program, and the rules under which a browser shows them.
//!
//! The page loads nothing from elsewhere and may not: the content security policy names this server alone. It holds no
//! data; its script asks `/v1/status`, with a token that stays in the tab.

use axum::{
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};

/// `GET /`
pub async fn index() -> Response {
    file("text/html; charset=utf-8", include_str!("status.html"))
}

/// `GET /status.css`
pub async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("status.css"))
}

/// `GET /status.js`
pub async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("status.js"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-cache"),
        (OPENER_POLICY, "same-origin"),
    ];
    (headers, text).into_response()
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_asks_nobody_else() {
        for text in
            [include_str!("status.html"), include_str!("status.css"), include_str!("status.js")]
        {
            for address in text.match_indices("://").map(|(at, _)| &text[at.saturating_sub(6)..]) {
                // The name of a namespace is no request.
                assert!(
                    address.contains("www.w3.org/2000/svg"),
                    "{}",
                    &address[..40.min(address.len())]
                );
            }
            assert!(
                !text.contains("style=") && !text.contains("onclick"),
                "the policy would refuse it"
            );
        }
    }
}
