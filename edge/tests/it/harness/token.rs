//! Playback tokens as a story needs them, under keys whose bytes are all one number.

use aws_lc_rs::hmac;
use ciborium::Value;
use tidegate_contract::{
    guard_policy::{TokenAlgorithm, TokenKey, TokenSecret},
    playback_token as claim,
};
use tidegate_edge::guard::{
    base64url,
    token::{cwt, key::Keys},
};

/// A key.
pub(crate) fn key(id: &str, byte: u8) -> TokenKey {
    TokenKey {
        id: id.into(),
        algorithm: TokenAlgorithm::HS256,
        secret: Some(TokenSecret::new(vec![byte; 32])),
        public: None,
        not_before: None,
        not_after: None,
    }
}

/// A Common Access Token for paths with this beginning, until a time, with more claims.
pub(crate) fn cat(key: &TokenKey, prefix: &str, expires: u64, more: Vec<(i64, Value)>) -> String {
    let part = Value::Map(vec![(claim::matching::PREFIX.into(), Value::Text(prefix.into()))]);
    let mut claims: Vec<(Value, Value)> = vec![
        (claim::EXP.into(), expires.into()),
        (claim::CATU.into(), Value::Map(vec![(claim::uri::PATH.into(), part)])),
    ];
    claims.extend(more.into_iter().map(|(label, value)| (label.into(), value)));
    cwt::seal(&cwt::encode(&Value::Map(claims)), &Keys::new(std::slice::from_ref(key)), 0).unwrap()
}

/// The claims of a Common Access Token that asks to be renewed this way, for ten minutes, in its last minute.
pub(crate) fn renewable(way: i64, issued: u64) -> Vec<(i64, Value)> {
    let renewal = vec![
        (claim::renewal::TYPE.into(), way.into()),
        (claim::renewal::EXPADD.into(), 600.into()),
        (claim::renewal::DEADLINE.into(), 60.into()),
    ];
    vec![(claim::CATR, Value::Map(renewal)), (claim::IAT, issued.into())]
}

/// A JSON Web Token for paths with this beginning, until a time.
pub(crate) fn jwt(key: &TokenKey, prefix: &str, expires: u64) -> String {
    let header = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, key.id);
    let payload = format!(r#"{{"exp":{expires},"paths":["{prefix}"]}}"#);
    let encode = |text: &str| base64url::encode(text.as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(&payload));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret.as_ref().unwrap().bytes());
    let tag = hmac::sign(&secret, signed.as_bytes());
    format!("{signed}.{}", base64url::encode(tag.as_ref()))
}
