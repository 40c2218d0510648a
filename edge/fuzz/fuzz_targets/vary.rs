//! Whatever varies by whatever, every request has one variant, and a star never has one.
#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use tidegate_contract::property::VaryPolicy;
use tidegate_edge::cache::variance::{NAMES_MAX, Varies};

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (vary, encoding, language) = input;
    let mut request = HeaderMap::new();
    for (name, bytes) in [(header::ACCEPT_ENCODING, encoding), (header::ACCEPT_LANGUAGE, language)]
    {
        if let Ok(value) = HeaderValue::from_bytes(bytes) {
            request.append(name, value);
        }
    }
    let Ok(value) = HeaderValue::from_bytes(vary) else { return };
    let mut response = HeaderMap::from_iter([(header::VARY, value)]);
    let varies = Varies::of(&response);
    let known =
        VaryPolicy { accept_language: vec!["en".into(), "de".into()], ..VaryPolicy::default() };
    if let Varies::By(vary) = &varies {
        assert!((1..=NAMES_MAX).contains(&vary.names().len()));
        for policy in [VaryPolicy::default(), known] {
            assert_eq!(vary.select(&request, &policy), vary.select(&request, &policy));
        }
    }
    response.append(header::VARY, HeaderValue::from_static("*"));
    assert_eq!(Varies::of(&response), Varies::Any);
});
