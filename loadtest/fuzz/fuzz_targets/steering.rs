//! A steering manifest: no bytes make the reader panic, and its clones lead to HTTP and stay few.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_load::manifest::{hls, limit, steering};
use url::Url;

const MASTER: &str = "#EXTM3U\n\
    #EXT-X-CONTENT-STEERING:SERVER-URI=\"/s\",PATHWAY-ID=\"A\"\n\
    #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g\",NAME=\"n\",DEFAULT=YES,URI=\"a\",PATHWAY-ID=\"A\",STABLE-RENDITION-ID=\"r\"\n\
    #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"g\",PATHWAY-ID=\"A\",STABLE-VARIANT-ID=\"v\"\nv?k=1\n\
    #EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"g\",PATHWAY-ID=\"B\"\nw\n";

fuzz_target!(|bytes: &[u8]| {
    let base = Url::parse("https://a.example/v/1/main.m3u8").expect("a URL");
    let Ok(steering) = steering::parse(bytes) else { return };
    assert!(steering.ttl.as_secs() >= 1);
    assert!(steering.pathway_priority.len() <= limit::MAX_PATHWAYS);
    let _ = steering.reload_url(&base);
    let mut presentation = hls::multivariant(MASTER.as_bytes(), &base).expect("a playlist");
    let is_extended = steering.extend(&mut presentation).is_ok();
    assert!(!is_extended || presentation.variants.len() <= limit::MAX_VARIANTS);
    for variant in &presentation.variants {
        assert!(matches!(variant.url.scheme(), "http" | "https"));
        assert!(variant.url.as_str().len() <= limit::MAX_URL_BYTES);
    }
});
