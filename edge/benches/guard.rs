//! What the door costs: without rules, with a token that is known, with one that is new.
//!
//! A player shows the same token with every segment; the known one is what it costs a viewer.

#![allow(clippy::unwrap_used)] // a bench that cannot go on may say so

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ciborium::Value;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use tidegate_contract::{
    guard_policy::{
        CorsPolicy, GuardPolicy, Rate, RatePolicy, TokenAlgorithm, TokenKey, TokenPolicy,
        TokenSecret,
    },
    id::{Generation, PopId, PropertyId},
    playback_token as claim,
    property::{Property, Upstream},
    snapshot::{PopRole, Snapshot},
    tier::TierKey,
};
use tidegate_edge::{
    exchange::cmcd::Cmcd,
    guard::{
        Guard, base64url,
        token::{Verifier, cwt, key::Keys},
    },
    listener::{
        Downstream, Protocol,
        stream::{BodyLength, Request},
    },
    policy::{Policy, PolicyHandle},
};

const NOW: u64 = 1_800_000_000;

fn key(id: &str, algorithm: TokenAlgorithm) -> TokenKey {
    let secret = (algorithm == TokenAlgorithm::HS256).then(|| TokenSecret::new(vec![1; 32]));
    TokenKey { id: id.into(), algorithm, secret, public: None, not_before: None, not_after: None }
}

fn policy(guard: GuardPolicy) -> Arc<Policy> {
    let upstream = Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None };
    let id = PropertyId::parse("demo").unwrap();
    let property = Property { guard, ..Property::new(id, vec!["*".into()], vec![upstream]) };
    let handle = PolicyHandle::default();
    let snapshot = Snapshot {
        generation: Generation(1),
        pop: PopId::parse("fra").unwrap(),
        role: PopRole::Edge,
        properties: vec![property],
        tier_key: TierKey::new([0; 32]),
        shields: vec![],
    };
    handle.install(snapshot).unwrap();
    handle.current().unwrap()
}

fn request(target: &str) -> Request {
    let client = ([192, 0, 2, 7], 4711).into();
    Request {
        method: Method::GET,
        authority: "a.org".into(),
        target: target.parse().unwrap(),
        headers: HeaderMap::new(),
        body: BodyLength::Empty,
        expects_continue: false,
        downstream: Downstream { protocol: Protocol::Http2, client, tls: true, early_data: false },
        arrived_at: Instant::now(),
    }
}

fn cat() -> String {
    let path = Value::Map(vec![(claim::matching::PREFIX.into(), Value::Text("/v/018f/".into()))]);
    let claims = Value::Map(vec![
        (claim::ISS.into(), Value::Text("shop".into())),
        (claim::EXP.into(), (NOW + 3600).into()),
        (claim::CTI.into(), Value::Bytes(vec![7; 16])),
        (claim::CATU.into(), Value::Map(vec![(claim::uri::PATH.into(), path)])),
    ]);
    let keys = Keys::new(&[key("a", TokenAlgorithm::HS256)]);
    cwt::seal(&cwt::encode(&claims), &keys, NOW).unwrap()
}

fn es256() -> (TokenKey, String) {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let text = STANDARD.encode(der.as_ref());
    let public = Some(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"));
    let payload = format!(r#"{{"exp":{},"paths":["/v/018f/"]}}"#, NOW + 3600);
    let part = |text: &str| base64url::encode(text.as_bytes());
    let signed = format!("{}.{}", part(r#"{"alg":"ES256","kid":"e"}"#), part(&payload));
    let signature = pair.sign(&rng, signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", base64url::encode(signature.as_ref()));
    (TokenKey { public, ..key("e", TokenAlgorithm::ES256) }, token)
}

fn door(c: &mut Criterion) {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let (es_key, es_token) = es256();
    let tokens = TokenPolicy {
        keys: vec![key("a", TokenAlgorithm::HS256), es_key],
        ..TokenPolicy::default()
    };
    let rate = Rate { requests_per_second: 1_000_000, burst: 1_000_000, bytes_per_second: None };
    let rules = GuardPolicy {
        tokens: Some(tokens.clone()),
        cors: Some(CorsPolicy::default()),
        rates: RatePolicy { client: Some(rate), token: Some(rate) },
        ..GuardPolicy::default()
    };
    let cat = cat();
    let plain = request("/v/018f/720p/000017.m4s");
    let with = |token: &str| request(&format!("/v/018f/720p/000017.m4s?cat={token}"));
    for (name, policy, request) in [
        ("door/without rules", policy(GuardPolicy::default()), plain),
        ("door/known cat", policy(rules.clone()), with(&cat)),
        ("door/known jwt es256", policy(rules), with(&es_token)),
    ] {
        let guard = Guard::new(&prometheus::Registry::new(), None, Instant::now());
        let check = || guard.check(black_box(&request), &policy, 0, "a.org", now);
        assert!(check().is_ok());
        c.bench_function(name, |b| b.iter(check));
    }
    let verifier = Verifier::new(&tokens);
    for (name, token) in [("token/new cat hs256", &cat), ("token/new jwt es256", &es_token)] {
        c.bench_function(name, |b| b.iter(|| verifier.read(black_box(token), NOW).unwrap()));
    }
}

fn cmcd(c: &mut Criterion) {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("cmcd-object", "br=3200,d=4004,ot=v,tb=6000"),
        ("cmcd-request", "bl=21300,dl=18500,mtp=48100,nor=\"..%2F480p%2F4.m4s\""),
        ("cmcd-session", "cid=\"018f\",sf=h,sid=\"6e2fb550-c457-11e9-bb97-0800200c9a66\",st=v"),
        ("cmcd-status", "rtp=15000"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let path = "/v/018f/720p/000017.m4s";
    c.bench_function("cmcd/four headers", |b| {
        b.iter(|| Cmcd::read(black_box(&headers), None, path).unwrap().unwrap());
    });
}

criterion_group!(benches, door, cmcd);
criterion_main!(benches);
