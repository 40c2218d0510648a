//! A JSON Web Token (RFC 7519) in its compact form, as RFC 8725 wants it read.
//!
//! Beside the registered claims it may say `paths` (beginnings, one must hold), `catm` and `catgeoiso3166`. Invariant:
//! `none`, `crit`, another type of token, a claim of CTA-5007 that is not read here, and `cnf` refuse it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};
use tidegate_contract::guard_policy::TokenAlgorithm;

use super::{
    Token, TokenError,
    claims::{Claims, Region},
    key::Keys,
};
use crate::guard::base64url;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Payload {
    exp: Option<Number>,
    nbf: Option<Number>,
    iat: Option<Number>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    jti: Option<String>,
    paths: Option<Vec<String>>,
    catm: Option<Vec<String>>,
    catgeoiso3166: Option<Vec<String>>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Reads a token: signature first, claims after.
///
/// # Errors
/// [`TokenError`]
pub fn read(text: &str, keys: &Keys, now: u64) -> Result<Token, TokenError> {
    let mut parts = text.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let decode = |part| base64url::decode_bare(part).ok_or(TokenError::Malformed);
    let (algorithm, key_id) = read_header(&decode(header)?)?;
    let signed = &text.as_bytes()[..header.len() + 1 + payload.len()];
    let id = key_id.as_deref().map(str::as_bytes);
    let key_until = keys.verify(algorithm, id, signed, &decode(signature)?, now)?;
    let claims = read_claims(&decode(payload)?)?;
    Ok(Token::new(claims, signed, key_until))
}

fn read_header(bytes: &[u8]) -> Result<(TokenAlgorithm, Option<String>), TokenError> {
    let header: Header = serde_json::from_slice(bytes).map_err(|_| TokenError::Malformed)?;
    // RFC 7515 4.1.11: none of the extensions is known here; `b64` and `zip` change what is signed.
    if ["crit", "b64", "zip", "enc"].iter().any(|name| header.rest.contains_key(*name)) {
        return Err(TokenError::Claim("crit"));
    }
    // RFC 8725 3.11: a token that was made for something else does not open this.
    let is_access = |typ: &str| ["jwt", "at+jwt"].iter().any(|good| typ.eq_ignore_ascii_case(good));
    if header.typ.as_deref().is_some_and(|typ| !is_access(typ)) {
        return Err(TokenError::Claim("typ"));
    }
    let algorithm = match header.alg.as_str() {
        "HS256" => TokenAlgorithm::HS256,
        "ES256" => TokenAlgorithm::ES256,
        "PS256" => TokenAlgorithm::PS256,
        _ => return Err(TokenError::Malformed),
    };
    Ok((algorithm, header.kid))
}

fn read_claims(bytes: &[u8]) -> Result<Claims, TokenError> {
    let payload: Payload = serde_json::from_slice(bytes).map_err(|_| TokenError::Malformed)?;
    let is_restriction = |name: &&String| *name == "cnf" || name.starts_with("cat");
    if payload.rest.keys().any(|name| is_restriction(&name)) {
        return Err(TokenError::Claim("unknown"));
    }
    let time = |number: Option<Number>| number.map(|number| seconds(&number)).transpose();
    let region = |text: String| Region::read(&text).ok_or(TokenError::Malformed);
    let regions = payload.catgeoiso3166.map(|list| list.into_iter().map(region).collect());
    Ok(Claims {
        issuer: payload.iss,
        audience: payload.aud.map(|aud| match aud {
            OneOrMany::One(name) => vec![name],
            OneOrMany::Many(names) => names,
        }),
        expires: time(payload.exp)?.ok_or(TokenError::Claim("exp"))?,
        not_before: time(payload.nbf)?,
        issued: time(payload.iat)?,
        id: payload.jti.map(String::into_bytes),
        paths: payload.paths,
        methods: payload.catm,
        regions: regions.transpose()?,
        ..Claims::default()
    })
}

/// A NumericDate: seconds, perhaps with a fraction.
fn seconds(number: &Number) -> Result<u64, TokenError> {
    let in_range = |number: &f64| (0.0..9e15).contains(number);
    let rounded = || number.as_f64().filter(in_range).map(|number| number.floor() as u64);
    number.as_u64().or_else(rounded).ok_or(TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::fixture::{NOW, hs256, jwt, keys};

    fn refused(header: &str, payload: &str) -> Option<TokenError> {
        read(&jwt(header, payload), &keys(), NOW).err()
    }

    const HEADER: &str = r#"{"alg":"HS256","kid":"a"}"#;

    #[test]
    fn claims_are_read() {
        let payload = r#"{"iss":"i","aud":["x","y"],"exp":100.7,"nbf":1,"jti":"t","paths":["/v/"],
            "catm":["GET"],"catgeoiso3166":["DE"],"name":"nobody"}"#;
        let claims = read(&jwt(HEADER, payload), &keys(), NOW).unwrap().claims;
        assert_eq!(claims.expires, 100);
        assert_eq!(claims.audience, Some(vec!["x".into(), "y".into()]));
        assert_eq!(claims.paths, Some(vec!["/v/".into()]));
        assert_eq!(claims.id.as_deref(), Some(&b"t"[..]));
    }

    #[test]
    fn headers_that_could_mean_something_else_are_refused() {
        let good = r#"{"exp":1}"#;
        assert_eq!(refused(r#"{"alg":"HS256"}"#, good), None);
        assert_eq!(refused(r#"{"alg":"HS256","typ":"JWT"}"#, good), None);
        for (header, error) in [
            (r#"{"alg":"none"}"#, TokenError::Malformed),
            (r#"{"alg":"hs256"}"#, TokenError::Malformed),
            (r#"{"alg":"HS512"}"#, TokenError::Malformed),
            (r#"{"alg":"ES256"}"#, TokenError::Signature),
            (r#"{"alg":"HS256","alg":"none"}"#, TokenError::Malformed),
            (r#"{"alg":"HS256","kid":"z"}"#, TokenError::Signature),
            (r#"{"alg":"HS256","crit":[]}"#, TokenError::Claim("crit")),
            (r#"{"alg":"HS256","b64":false}"#, TokenError::Claim("crit")),
            (r#"{"alg":"HS256","typ":"dpop+jwt"}"#, TokenError::Claim("typ")),
            ("[]", TokenError::Malformed),
        ] {
            assert_eq!(refused(header, good), Some(error), "{header}");
        }
    }

    #[test]
    fn claims_that_restrict_must_be_understood() {
        for (payload, error) in [
            ("{}", TokenError::Claim("exp")),
            (r#"{"exp":1,"exp":2}"#, TokenError::Malformed),
            (r#"{"exp":-1}"#, TokenError::Malformed),
            (r#"{"exp":"1"}"#, TokenError::Malformed),
            (r#"{"exp":1,"cnf":{}}"#, TokenError::Claim("unknown")),
            (r#"{"exp":1,"catu":{}}"#, TokenError::Claim("unknown")),
            (r#"{"exp":1,"paths":"/v"}"#, TokenError::Malformed),
        ] {
            assert_eq!(refused(HEADER, payload), Some(error), "{payload}");
        }
    }

    #[test]
    fn the_signature_covers_header_and_payload_and_the_form_is_strict() {
        let good = jwt(HEADER, r#"{"exp":1}"#);
        let other = Keys::new(&[hs256("a", 99)]);
        assert_eq!(read(&good, &other, NOW).err(), Some(TokenError::Signature));
        let parts: Vec<_> = good.split('.').collect();
        let forged = base64url::encode(br#"{"exp":9999}"#);
        for (text, error) in [
            (format!("{}.{forged}.{}", parts[0], parts[2]), TokenError::Signature),
            (format!("{}.{}.", parts[0], parts[1]), TokenError::Signature),
            (format!("{good}.x"), TokenError::Malformed),
            (format!("{}.{}", parts[0], parts[1]), TokenError::Malformed),
            (format!("{good}="), TokenError::Malformed),
            ("..".into(), TokenError::Malformed),
        ] {
            assert_eq!(read(&text, &keys(), NOW).err(), Some(error), "{text}");
        }
    }
}
