//! JSON Web Tokens from strangers: nothing opens that nobody signed, whatever the header says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::guard_policy::{TokenAlgorithm, TokenKey, TokenSecret};
use tidegate_edge::guard::{
    base64url, plain_path,
    token::{jwt, key::Keys},
};

fuzz_target!(|parts: (&str, &str, &[u8])| {
    let keys = Keys::new(&[TokenKey {
        id: "a".into(),
        algorithm: TokenAlgorithm::HS256,
        secret: Some(TokenSecret::new(vec![7; 32])),
        public: None,
        not_before: None,
        not_after: None,
    }]);
    let (header, payload, signature) = parts;
    let part = |bytes: &[u8]| base64url::encode(bytes);
    let text =
        format!("{}.{}.{}", part(header.as_bytes()), part(payload.as_bytes()), part(signature));
    assert!(jwt::read(&text, &keys, 0).is_err());
    assert!(jwt::read(payload, &keys, 0).is_err());
    // what a token matches is a path that stays what it is
    if let Some(plain) = plain_path::plain(header) {
        assert!(!plain.split('/').any(|segment| segment == ".."));
    }
});
