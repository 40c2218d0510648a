//! Stories at the door: whole requests against the rules of a property.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use ciborium::Value;
use http::{HeaderMap, Method, StatusCode, header};
use tidegate_contract::{
    guard_policy::*,
    id::{Generation, PopId, PropertyId},
    playback_token as claim,
    property::{Property, Upstream},
    snapshot::{PopRole, Snapshot},
    tier::TierKey,
};

use super::{
    Granted, Guard, Reason, Reply, base64url,
    fixture::{NOW, es256_public, hs256, jwt, keys, pem_of, request},
    token::cwt,
};
use crate::{
    listener::stream::Request,
    policy::{Policy, PolicyHandle},
};

struct Story {
    guard: Guard,
    handle: PolicyHandle,
    generation: u64,
}

impl Story {
    fn new(guard: GuardPolicy) -> Self {
        let registry = prometheus::Registry::new();
        let door = Guard::new(&registry, None, Instant::now() - Duration::from_secs(1));
        let mut story = Self { guard: door, handle: PolicyHandle::default(), generation: 0 };
        story.install(guard);
        story
    }

    fn install(&mut self, guard: GuardPolicy) {
        self.generation += 1;
        let upstream = Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None };
        let id = PropertyId::parse("demo").unwrap();
        let property = Property { guard, ..Property::new(id, vec!["*".into()], vec![upstream]) };
        let snapshot = Snapshot {
            generation: Generation(self.generation),
            pop: PopId::parse("fra").unwrap(),
            role: PopRole::Edge,
            properties: vec![property],
            tier_key: TierKey::new([0; 32]),
            shields: vec![],
        };
        self.handle.install(snapshot).unwrap();
    }

    fn policy(&self) -> Arc<Policy> {
        self.handle.current().unwrap()
    }

    fn ask(&self, request: &Request) -> Result<Granted, Box<Reply>> {
        self.ask_at(request, NOW)
    }

    fn ask_at(&self, request: &Request, now: u64) -> Result<Granted, Box<Reply>> {
        let now = UNIX_EPOCH + Duration::from_secs(now);
        self.guard.check(request, &self.policy(), 0, "a.org", now)
    }

    fn reason(&self, request: &Request) -> Option<Reason> {
        self.ask(request).err().map(|reply| reply.reason)
    }
}

fn token_policy() -> TokenPolicy {
    TokenPolicy { keys: vec![hs256("a", 1)], ..TokenPolicy::default() }
}

fn with_tokens(tokens: TokenPolicy) -> GuardPolicy {
    GuardPolicy { tokens: Some(tokens), ..GuardPolicy::default() }
}

/// A Common Access Token for a prefix of the path, until a time.
fn cat(prefix: &str, expires: u64, more: Vec<(i64, Value)>) -> String {
    let part = Value::Map(vec![(claim::matching::PREFIX.into(), Value::Text(prefix.into()))]);
    let mut claims: Vec<(Value, Value)> = vec![
        (claim::EXP.into(), expires.into()),
        (claim::CATU.into(), Value::Map(vec![(claim::uri::PATH.into(), part)])),
    ];
    claims.extend(more.into_iter().map(|(label, value)| (label.into(), value)));
    cwt::seal(&cwt::encode(&Value::Map(claims)), &keys(), NOW).unwrap()
}

fn header_of(
    fields: &[(http::HeaderName, http::HeaderValue)],
    name: header::HeaderName,
) -> Option<&str> {
    let found = fields.iter().find(|(found, _)| *found == name)?;
    found.1.to_str().ok()
}

#[test]
fn without_rules_everybody_is_let_in_and_cmcd_stays_outside() {
    let story = Story::new(GuardPolicy::default());
    let request = request("/v/a.m4s?CMCD=br%3D3200&cat=x&b=1");
    let granted = story.ask(&request).unwrap();
    assert_eq!(granted.strip.target(&request.target).as_str(), "/v/a.m4s?cat=x&b=1");
    assert!(granted.response_headers.is_empty());
    assert_eq!(granted.token, None);
}

#[test]
fn a_token_opens_its_path_until_it_is_over_and_leaves_no_trace() {
    let story = Story::new(with_tokens(token_policy()));
    let token = cat("/v/1/", NOW + 100, vec![]);
    let asked = request(&format!("/v/1/a.m4s?cat={token}&b=1"));
    let granted = story.ask(&asked).unwrap();
    assert_eq!(granted.strip.target(&asked.target).as_str(), "/v/1/a.m4s?b=1");
    assert!(granted.token.is_some());
    assert!(!format!("{granted:?}").contains(&token));

    assert_eq!(story.reason(&request(&format!("/v/2/a.m4s?cat={token}"))), Some(Reason::TokenPath));
    assert_eq!(story.reason(&request("/v/1/a.m4s")), Some(Reason::TokenMissing));
    assert_eq!(story.reason(&request("/v/1/a.m4s?cat=nonsense")), Some(Reason::TokenMalformed));
    let late = story.ask_at(&asked, NOW + 105).unwrap_err();
    assert_eq!((late.reason, late.status), (Reason::TokenExpired, StatusCode::UNAUTHORIZED));
    assert!(!late.body.contains(&token) && !format!("{late:?}").contains(&token));
    assert_eq!(late.strip.target(&asked.target).as_str(), "/v/1/a.m4s?b=1");
}

#[test]
fn no_path_leads_around_the_lists() {
    let tokens = TokenPolicy {
        paths: vec!["/v/".into()],
        exempt: vec!["/v/free/".into()],
        ..token_policy()
    };
    let story = Story::new(with_tokens(tokens));
    for free in ["/", "/x/a", "/v/free/a", "/v"] {
        assert_eq!(story.reason(&request(free)), None, "{free}");
    }
    for closed in [
        "/v/a",
        "/%76/a",
        "//v/a",
        "/x/../v/a",
        "/x/%2e%2e/v/a",
        "/v/free/../a",
        "/v/free/..%2fa",
        "/x/..;/v/a",
        "/%2576/a",
    ] {
        assert_eq!(story.reason(&request(closed)), Some(Reason::TokenMissing), "{closed}");
    }
}

#[test]
fn a_rotated_key_opens_nothing_at_once() {
    let mut story = Story::new(with_tokens(token_policy()));
    let asked = request(&format!("/v/a?cat={}", cat("/v/", NOW + 100, vec![])));
    assert_eq!(story.reason(&asked), None);
    assert_eq!(story.reason(&asked), None, "known by now");
    let rotated = TokenPolicy { keys: vec![hs256("b", 2), hs256("a", 1)], ..token_policy() };
    story.install(with_tokens(rotated));
    assert_eq!(story.reason(&asked), None, "the old key is still there");
    story.install(with_tokens(TokenPolicy { keys: vec![hs256("b", 2)], ..token_policy() }));
    assert_eq!(story.reason(&asked), Some(Reason::TokenSignature));
}

#[test]
fn a_key_is_good_within_its_time_also_for_known_tokens() {
    let until = UNIX_EPOCH + Duration::from_secs(NOW + 10);
    let key = TokenKey { not_after: Some(until), ..hs256("a", 1) };
    let story = Story::new(with_tokens(TokenPolicy { keys: vec![key], ..token_policy() }));
    let asked = request(&format!("/v/a?cat={}", cat("/v/", NOW + 100, vec![])));
    assert!(story.ask(&asked).is_ok());
    assert_eq!(story.ask_at(&asked, NOW + 10).unwrap_err().reason, Reason::TokenSignature);
}

#[test]
fn jwt_and_es256_open_as_well() {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let public = es256_public("e", pair.public_key().as_ref());
    let story = Story::new(with_tokens(TokenPolicy {
        keys: vec![public, hs256("a", 1)],
        ..token_policy()
    }));
    let payload = format!(r#"{{"exp":{},"paths":["/v/1/"]}}"#, NOW + 60);
    let signed = format!(
        "{}.{}",
        base64url::encode(br#"{"alg":"ES256","kid":"e"}"#),
        base64url::encode(payload.as_bytes())
    );
    let signature = pair.sign(&rng, signed.as_bytes()).unwrap();
    let es = format!("{signed}.{}", base64url::encode(signature.as_ref()));
    let hs = jwt(r#"{"alg":"HS256"}"#, &payload);
    for token in [es, hs] {
        let mut asked = request("/v/1/a");
        asked.headers.insert("cta-common-access-token", token.parse().unwrap());
        assert_eq!(story.reason(&asked), None);
        asked.target = "/v/2/a".parse().unwrap();
        assert_eq!(story.reason(&asked), Some(Reason::TokenPath));
    }
}

#[test]
fn ps256_opens_and_a_public_key_is_no_secret() {
    let rng = SystemRandom::new();
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let pem = pem_of(der.as_ref());
    let key = TokenKey {
        algorithm: TokenAlgorithm::PS256,
        secret: None,
        public: Some(pem.clone()),
        ..hs256("r", 0)
    };
    let story = Story::new(with_tokens(TokenPolicy { keys: vec![key], ..token_policy() }));
    let payload = base64url::encode(format!(r#"{{"exp":{}}}"#, NOW + 60).as_bytes());
    let signed = format!("{}.{payload}", base64url::encode(br#"{"alg":"PS256"}"#));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PSS_SHA256, &rng, signed.as_bytes(), &mut signature).unwrap();
    let good = format!("{signed}.{}", base64url::encode(&signature));
    assert_eq!(story.reason(&request(&format!("/v/a?cat={good}"))), None);

    // Whoever knows the public key signs with it as if it were shared.
    let signed = format!("{}.{payload}", base64url::encode(br#"{"alg":"HS256","kid":"r"}"#));
    for secret in [pem.as_bytes(), der.as_ref()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let forged = format!("{signed}.{}", base64url::encode(tag.as_ref()));
        assert_eq!(
            story.reason(&request(&format!("/v/a?cat={forged}"))),
            Some(Reason::TokenSignature)
        );
    }
}

#[test]
fn issuer_audience_and_lifetime_are_asked_for() {
    let text = |text: &str| Value::Text(text.into());
    let strict = TokenPolicy {
        issuer: Some("us".into()),
        audience: vec!["edge".into()],
        lifetime_max: Duration::from_secs(1000),
        ..token_policy()
    };
    let story = Story::new(with_tokens(strict));
    let reason = |expires, claims| {
        story.reason(&request(&format!("/v/a?cat={}", cat("/", expires, claims))))
    };
    let good = || vec![(claim::ISS, text("us")), (claim::AUD, text("edge"))];
    assert_eq!(reason(NOW + 100, good()), None);
    assert_eq!(reason(NOW + 1001, good()), Some(Reason::TokenClaim));
    assert_eq!(reason(NOW + 100, vec![(claim::AUD, text("edge"))]), Some(Reason::TokenClaim));
    assert_eq!(reason(NOW + 100, vec![(claim::ISS, text("us"))]), Some(Reason::TokenClaim));
    let early = [good(), vec![(claim::NBF, (NOW + 6).into())]].concat();
    assert_eq!(reason(NOW + 100, early), Some(Reason::TokenEarly));
}

#[test]
fn a_token_in_the_url_becomes_a_cookie_once() {
    let session = SessionCookie { path: "/v/".into(), ..SessionCookie::default() };
    let story = Story::new(with_tokens(TokenPolicy { session: Some(session), ..token_policy() }));
    let token = cat("/v/", NOW + 100, vec![]);
    let mut asked = request(&format!("/v/master.m3u8?cat={token}"));
    let granted = story.ask(&asked).unwrap();
    let cookie = header_of(&granted.response_headers, header::SET_COOKIE).unwrap();
    assert!(
        cookie.starts_with(&format!("cta-common-access-token={token}; Path=/v/; Max-Age=100;")),
        "{cookie}"
    );
    assert_eq!(
        header_of(&granted.response_headers, header::CACHE_CONTROL),
        Some("private=\"set-cookie\"")
    );

    asked.target = "/v/720p/1.m4s".parse().unwrap();
    asked
        .headers
        .insert("cookie", format!("cta-common-access-token={token}; other=1").parse().unwrap());
    let granted = story.ask(&asked).unwrap();
    assert!(granted.response_headers.is_empty(), "the cookie opens and is not set again");
    let mut headers = asked.headers.clone();
    granted.strip.clean(&mut headers);
    assert_eq!(headers.get("cookie").unwrap(), "other=1");

    asked.target = format!("/v/master.m3u8?cat={}", cat("/v/", NOW - 100, vec![])).parse().unwrap();
    assert_eq!(story.reason(&asked), None, "a stale URL does not spoil a good cookie");
}

#[test]
fn a_token_in_the_path_travels_with_relative_urls() {
    let carriers = Carriers { path: Some("cat".into()), ..Carriers::default() };
    let story = Story::new(with_tokens(TokenPolicy { carriers, ..token_policy() }));
    let asked = request(&format!("/cat={}/v/1/master.m3u8?b=1", cat("/v/1/", NOW + 100, vec![])));
    let granted = story.ask(&asked).unwrap();
    assert_eq!(granted.strip.target(&asked.target).as_str(), "/v/1/master.m3u8?b=1");
    let other = request(&format!("/cat={}/v/2/x", cat("/v/1/", NOW + 100, vec![])));
    assert_eq!(story.reason(&other), Some(Reason::TokenPath));
}

#[test]
fn a_token_that_asks_for_it_is_renewed_the_way_it_came() {
    let renewal = Some(RenewalPolicy::default());
    let asks = |way: i64| {
        let map = vec![(0.into(), way.into()), (1.into(), 600.into()), (2.into(), 60.into())];
        vec![(claim::CATR, Value::Map(map)), (claim::IAT, (NOW - 600).into())]
    };
    let story = Story::new(with_tokens(TokenPolicy { renewal: renewal.clone(), ..token_policy() }));
    let token = cat("/v/", NOW + 30, asks(0));

    let mut by_header = request("/v/a");
    by_header.headers.insert("cta-common-access-token", token.parse().unwrap());
    let granted = story.ask(&by_header).unwrap();
    let name = header::HeaderName::from_static("cta-common-access-token");
    let new = header_of(&granted.response_headers, name).unwrap().to_owned();
    assert_eq!(
        story.ask_at(&request(&format!("/v/a?cat={new}")), NOW + 590).err().map(|r| r.reason),
        Some(Reason::Renewal)
    );

    let by_query = request(&format!("/v/a?x=1&cat={token}&y=2"));
    let reply = story.ask(&by_query).unwrap_err();
    assert_eq!((reply.reason, reply.status), (Reason::Renewal, StatusCode::TEMPORARY_REDIRECT));
    let location = header_of(&reply.headers, header::LOCATION).unwrap();
    assert!(location.starts_with("/v/a?x=1&cat=") && location.ends_with("&y=2"), "{location}");
    assert!(story.ask(&request(location)).is_ok(), "the new token opens without another redirect");
    let foreign = request(&format!("//evil.org/v/a?cat={}", cat("/", NOW + 30, asks(3))));
    assert!(story.ask(&foreign).is_ok(), "not redirected to another host");

    let by_cookie =
        story.ask(&request(&format!("/v/a?cat={}", cat("/v/", NOW + 30, asks(1))))).unwrap();
    assert!(
        header_of(&by_cookie.response_headers, header::SET_COOKIE)
            .unwrap()
            .contains("Max-Age=600;")
    );

    let without = Story::new(with_tokens(token_policy()));
    assert!(
        without.ask(&by_query).unwrap().response_headers.is_empty(),
        "the property does not renew"
    );
}

#[test]
fn rates_count_clients_and_tokens() {
    let rate = Rate { requests_per_second: 1, burst: 2, bytes_per_second: None };
    let rates = RatePolicy { client: Some(rate), token: None };
    let story = Story::new(GuardPolicy { rates, ..GuardPolicy::default() });
    let asked = request("/v/a");
    assert!(story.ask(&asked).is_ok() && story.ask(&asked).is_ok());
    let reply = story.ask(&asked).unwrap_err();
    assert_eq!((reply.reason, reply.status), (Reason::RateClient, StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(header_of(&reply.headers, header::RETRY_AFTER), Some("1"));
    let mut other = request("/v/a");
    other.downstream.client.set_ip("192.0.2.8".parse().unwrap());
    assert!(story.ask(&other).is_ok());

    let rates = RatePolicy { client: None, token: Some(rate) };
    let story = Story::new(GuardPolicy { rates, ..with_tokens(token_policy()) });
    let token = cat("/v/", NOW + 100, vec![]);
    let mut asked = request(&format!("/v/a?cat={token}"));
    assert!(story.ask(&asked).is_ok());
    asked.downstream.client.set_ip("192.0.2.8".parse().unwrap());
    assert!(story.ask(&asked).is_ok());
    assert_eq!(story.reason(&asked), Some(Reason::RateToken), "from wherever it is used");
}

#[test]
fn bytes_are_paid_for_before_the_next_request() {
    let bytes_per_second = Some(bytesize::ByteSize::kib(100));
    let rate = Rate { requests_per_second: 1000, burst: 1000, bytes_per_second };
    let rates = RatePolicy { client: Some(rate), token: None };
    let story = Story::new(GuardPolicy { rates, ..GuardPolicy::default() });
    let asked = request("/v/a");
    let granted = story.ask(&asked).unwrap();
    story.guard.charge(granted.meters, 1000 * 1024, asked.arrived_at);
    let granted = story.ask(&asked).unwrap();
    story.guard.charge(granted.meters, 500 * 1024, asked.arrived_at);
    let reply = story.ask(&asked).unwrap_err();
    assert_eq!(header_of(&reply.headers, header::RETRY_AFTER), Some("5"));
}

#[test]
fn methods_and_countries_are_let_in_or_not() {
    let methods = vec!["GET".into(), "HEAD".into()];
    let geo = GeoPolicy {
        allow: vec!["DE".parse().unwrap()],
        places: vec!["192.0.2.0/24=DE".parse().unwrap(), "198.51.100.0/24=FR".parse().unwrap()],
        ..GeoPolicy::default()
    };
    let story = Story::new(GuardPolicy { methods, geo: Some(geo), ..GuardPolicy::default() });
    let mut asked = request("/v/a");
    assert!(story.ask(&asked).is_ok());
    asked.method = Method::POST;
    let reply = story.ask(&asked).unwrap_err();
    assert_eq!(header_of(&reply.headers, header::ALLOW), Some("GET, HEAD"));
    asked.method = Method::GET;
    for client in ["198.51.100.1", "203.0.113.1"] {
        asked.downstream.client.set_ip(client.parse().unwrap());
        assert_eq!(story.reason(&asked), Some(Reason::Geo), "{client}");
    }
}

#[test]
fn a_page_may_ask_first_and_read_why_it_was_refused() {
    let cors = CorsPolicy {
        origins: vec!["https://p.org".into()],
        credentials: true,
        ..CorsPolicy::default()
    };
    let story = Story::new(GuardPolicy { cors: Some(cors), ..with_tokens(token_policy()) });
    let mut asked = request("/v/a");
    asked.headers = HeaderMap::from_iter([
        (header::ORIGIN, "https://p.org".parse().unwrap()),
        (header::ACCESS_CONTROL_REQUEST_METHOD, "GET".parse().unwrap()),
    ]);
    asked.method = Method::OPTIONS;
    let reply = story.ask(&asked).unwrap_err();
    assert_eq!((reply.reason, reply.status), (Reason::Preflight, StatusCode::NO_CONTENT));
    let origins = |fields: &[(http::HeaderName, http::HeaderValue)]| {
        fields.iter().filter(|(name, _)| *name == header::ACCESS_CONTROL_ALLOW_ORIGIN).count()
    };
    assert_eq!(origins(&reply.headers), 1);

    asked.method = Method::GET;
    let refused = story.ask(&asked).unwrap_err();
    assert_eq!((refused.reason, origins(&refused.headers)), (Reason::TokenMissing, 1));
    asked.target = format!("/v/a?cat={}", cat("/v/", NOW + 9, vec![])).parse().unwrap();
    let granted = story.ask(&asked).unwrap();
    assert_eq!(origins(&granted.response_headers), 1);
    let mut headers = asked.headers.clone();
    granted.strip.clean(&mut headers);
    assert!(!headers.contains_key(header::ORIGIN), "upstream does not vary by it");
}

#[test]
fn a_request_under_an_older_policy_ends_under_it() {
    let mut story = Story::new(GuardPolicy::default());
    let old = story.policy();
    let asked = request("/v/a");
    let now = SystemTime::now();
    story.install(with_tokens(token_policy()));
    assert_eq!(story.reason(&asked), Some(Reason::TokenMissing));
    assert!(story.guard.check(&asked, &old, 0, "a.org", now).is_ok());
    assert_eq!(story.reason(&asked), Some(Reason::TokenMissing));
}

#[test]
fn what_the_documentation_shows_can_be_used() {
    #[derive(serde::Deserialize)]
    struct Shown {
        guard: GuardPolicy,
    }
    let text = include_str!("../../../docs/playback-tokens.md");
    let blocks: Vec<_> =
        text.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let shown: Shown = toml::from_str(&block.replace('…', &"A".repeat(43))).unwrap();
        assert_eq!(shown.guard.check(), Ok(()), "{block}");
    }
    for reason in Reason::ALL.into_iter().filter(|reason| reason.is_refusal()) {
        assert!(text.contains(&format!("`{}`", reason.as_str())), "{reason:?}");
    }
}
