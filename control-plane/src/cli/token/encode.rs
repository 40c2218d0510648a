//! Claims as a Common Access Token or a JSON Web Token.
//!
//! Invariant: what is written here is what the edge reads; the numbers are those of the contract.

use ciborium::Value;
use serde_json::{Map, json};
use tidegate_contract::playback_token::{self as claim, cose, matching, renewal, uri};

use super::{base64url, sign::Signer};

/// What a token says.
pub(super) struct Claims<'a> {
    pub(super) expires: u64,
    pub(super) issued: u64,
    pub(super) issuer: Option<&'a str>,
    pub(super) audience: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    pub(super) methods: &'a [String],
    pub(super) countries: &'a [String],
    pub(super) renew_s: Option<u64>,
}

/// A CWT (RFC 8392) in COSE_Mac0 or COSE_Sign1 with its tags.
pub(super) fn cat(claims: &Claims<'_>, signer: &Signer, key_id: &str) -> Option<String> {
    let (algorithm, context, tag) = match signer.is_shared() {
        true => (cose::HS256, "MAC0", cose::TAG_MAC0),
        false => (cose::ES256, "Signature1", cose::TAG_SIGN1),
    };
    let protected = bytes(&map([(cose::ALG, algorithm.into())]))?;
    let payload = bytes(&cat_claims(claims))?;
    let bstr = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let signed = vec![Value::Text(context.into()), bstr(&protected), bstr(b""), bstr(&payload)];
    let signature = signer.sign(&bytes(&Value::Array(signed))?)?;
    let unprotected = map([(cose::KID, bstr(key_id.as_bytes()))]);
    let message =
        Value::Array(vec![bstr(&protected), unprotected, bstr(&payload), bstr(&signature)]);
    let tagged = Value::Tag(cose::TAG_CWT, Box::new(Value::Tag(tag, Box::new(message))));
    Some(base64url(&bytes(&tagged)?))
}

/// A JWT (RFC 7519) in its compact form.
pub(super) fn jwt(claims: &Claims<'_>, signer: &Signer, key_id: &str) -> Option<String> {
    let algorithm = if signer.is_shared() { "HS256" } else { "ES256" };
    let header = json!({ "alg": algorithm, "typ": "JWT", "kid": key_id });
    let mut payload = Map::new();
    payload.insert("exp".into(), claims.expires.into());
    payload.insert("iat".into(), claims.issued.into());
    for (name, text) in [("iss", claims.issuer), ("aud", claims.audience), ("jti", claims.id)] {
        payload.extend(text.map(|text| (name.to_owned(), text.into())));
    }
    payload.extend(claims.path.map(|path| ("paths".to_owned(), json!([path]))));
    for (name, list) in [("catm", claims.methods), ("catgeoiso3166", claims.countries)] {
        payload.extend((!list.is_empty()).then(|| (name.to_owned(), json!(list))));
    }
    let part = |value: &serde_json::Value| base64url(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(&payload.into()));
    let signature = signer.sign(signed.as_bytes())?;
    Some(format!("{signed}.{}", base64url(&signature)))
}

fn cat_claims(claims: &Claims<'_>) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    let list = |list: &[String]| Value::Array(list.iter().map(|one| text(one)).collect());
    let mut entries: Vec<(i64, Value)> =
        vec![(claim::EXP, claims.expires.into()), (claim::IAT, claims.issued.into())];
    entries.extend(claims.issuer.map(|name| (claim::ISS, text(name))));
    entries.extend(claims.audience.map(|name| (claim::AUD, text(name))));
    entries.extend(claims.id.map(|id| (claim::CTI, Value::Bytes(id.as_bytes().to_vec()))));
    entries.extend(
        claims.path.map(|prefix| {
            (claim::CATU, map([(uri::PATH, map([(matching::PREFIX, text(prefix))]))]))
        }),
    );
    for (label, names) in [(claim::CATM, claims.methods), (claim::CATGEOISO3166, claims.countries)]
    {
        entries.extend((!names.is_empty()).then(|| (label, list(names))));
    }
    entries.extend(claims.renew_s.map(|seconds| {
        let way =
            map([(renewal::TYPE, renewal::AUTOMATIC.into()), (renewal::EXPADD, seconds.into())]);
        (claim::CATR, way)
    }));
    map(entries)
}

fn map(entries: impl IntoIterator<Item = (i64, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(label, value)| (label.into(), value)).collect())
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED_CAT: &str = "2D3RhEOhAQWhBEJrMVg1pwQaa0ngEAYaa0nSAAFkc2hvcAdBeBkBOKEDoQFlL3YvMS8ZATmBY0dFVBkBQ6IAAAEZAl\
        hYIOJOcZHpLzrH5r6_BlN0IAKUp_J-89EEjUHZ6XuVEjws";

    fn claims(methods: &[String]) -> Claims<'_> {
        Claims {
            expires: 1_800_003_600,
            issued: 1_800_000_000,
            issuer: Some("shop"),
            audience: None,
            id: Some("x"),
            path: Some("/v/1/"),
            methods,
            countries: &[],
            renew_s: Some(600),
        }
    }

    fn decode(text: &str) -> Vec<u8> {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.decode(text).expect("base64url")
    }

    #[test]
    fn a_common_access_token_has_the_numbers_of_the_contract() {
        let signer = Signer::read(&base64url(&[7; 32])).expect("long enough");
        let token = cat(&claims(&["GET".into()]), &signer, "k1").expect("signed");
        // 61(17([h'a10105', {4: 'k1'}, {4: …, 312: {3: {1: "/v/1/"}}, 313: ["GET"], 323: {0: 0, 1: 600}}, …])); the edge
        // reads this very text in a test of its own.
        assert_eq!(token, SIGNED_CAT);
    }

    #[test]
    fn a_json_web_token_has_three_parts() {
        let signer = Signer::read(&base64url(&[7; 32])).expect("long enough");
        let token = jwt(&claims(&[]), &signer, "k1").expect("signed");
        let parts: Vec<_> = token.split('.').collect();
        let payload: serde_json::Value = serde_json::from_slice(&decode(parts[1])).expect("JSON");
        assert_eq!(payload["paths"], json!(["/v/1/"]));
        assert_eq!((parts.len(), decode(parts[2]).len()), (3, 32));
    }

    #[test]
    fn keys_are_read_as_they_were_written_and_short_ones_are_not() {
        use super::super::{Algorithm, sign::new_key};
        for algorithm in [Algorithm::Hs256, Algorithm::Es256] {
            let (private, public) = new_key(algorithm).expect("random numbers");
            let signer = Signer::read(&private).expect("its own text");
            assert!(cat(&claims(&[]), &signer, "k1").is_some());
            assert_eq!(public.contains("PUBLIC KEY"), algorithm == Algorithm::Es256);
        }
        assert!(Signer::read(&base64url(&[7; 31])).is_none());
        assert!(Signer::read("-----BEGIN PRIVATE KEY-----\n").is_none());
    }
}
