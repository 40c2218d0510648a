//! Common Access Tokens from strangers: whole tokens, and claims as if they had been signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_contract::guard_policy::{TokenAlgorithm, TokenKey, TokenSecret};
use tidegate_edge::guard::{
    base64url,
    token::{cat, cwt, key::Keys},
};

const NOW: u64 = 1_800_000_000;

fuzz_target!(|bytes: &[u8]| {
    let keys = Keys::new(&[TokenKey {
        id: "a".into(),
        algorithm: TokenAlgorithm::HS256,
        secret: Some(TokenSecret::new(vec![7; 32])),
        public: None,
        not_before: None,
        not_after: None,
    }]);
    // nobody can guess the mac: what opens was sealed
    assert!(cwt::read(&base64url::encode(bytes), &keys, NOW).is_err());
    let claims = cwt::value(bytes).and_then(|value| cat::read(&value));
    let sealed = cwt::seal(bytes, &keys, NOW).expect("there is a key");
    let read = cwt::read(&sealed, &keys, NOW);
    assert_eq!(read.map(|token| token.claims), claims);
});
