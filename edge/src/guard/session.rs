//! The cookie that takes over from a token in the URL.
//!
//! Relative URLs in a playlist lose its query; with the cookie every request of the player carries the token. Invariant:
//! it is never readable by scripts, never sent in clear text, and never outlives the token.

use http::{HeaderName, HeaderValue, header};
use tidegate_contract::guard_policy::SessionCookie;

/// The headers that hand a token to the browser. The text is of base64url and dots (see [`super::carrier`]), so that it
/// cannot end the cookie.
#[must_use]
pub fn hand_over(
    name: &str,
    token: &str,
    policy: &SessionCookie,
    lifetime_s: u64,
) -> Vec<(HeaderName, HeaderValue)> {
    let max_age = policy.max_age.as_secs().min(lifetime_s);
    let partitioned = if policy.partitioned { "; Partitioned" } else { "" };
    let path = &policy.path;
    let cookie = format!(
        "{name}={token}; Path={path}; Max-Age={max_age}; Secure; HttpOnly; SameSite=None{partitioned}"
    );
    let Ok(mut cookie) = HeaderValue::try_from(cookie) else { return Vec::new() };
    cookie.set_sensitive(true);
    // A shared cache in between must not give one viewer's cookie to another (RFC 9111 5.2.2.7).
    let private = HeaderValue::from_static("private=\"set-cookie\"");
    vec![(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, private)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_cookie_is_kept_from_scripts_and_does_not_outlive_the_token() {
        let policy = SessionCookie {
            path: "/v/".into(),
            max_age: Duration::from_secs(100),
            partitioned: true,
        };
        let text =
            |lifetime| hand_over("t", "abc", &policy, lifetime)[0].1.to_str().unwrap().to_owned();
        assert_eq!(
            text(50),
            "t=abc; Path=/v/; Max-Age=50; Secure; HttpOnly; SameSite=None; Partitioned"
        );
        assert!(text(500).contains("Max-Age=100;"));
    }
}
