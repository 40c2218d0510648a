//! Content steering (RFC 8216bis section 7, DASH-IF content steering): which pathway to prefer, when to ask again, and
//! pathways made out of others.
//!
//! A steering manifest that cannot be read changes nothing for a player: it goes on as before.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::{Host, Url};

use super::{
    Audio, Presentation, Variant,
    error::{Fault, ManifestError, excerpt},
    limit, reference,
};

/// What a steering server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteeringManifest {
    /// From now until it is asked again; a second at least, a day at most.
    pub ttl: Duration,
    /// A reference against the URL that this came from; `None` asks that one again.
    pub reload_uri: Option<String>,
    /// The first that exists is the one to take.
    pub pathway_priority: Vec<String>,
    pub clones: Vec<PathwayClone>,
}

/// PATHWAY-CLONES: a pathway that is another one with parts of its URLs replaced.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PathwayClone {
    #[serde(rename = "BASE-ID")]
    pub base_id: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "URI-REPLACEMENT")]
    pub replacement: UriReplacement,
}

/// URI-REPLACEMENT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE", default)]
pub struct UriReplacement {
    pub host: Option<String>,
    pub params: BTreeMap<String, String>,
    /// By STABLE-VARIANT-ID and STABLE-RENDITION-ID.
    pub per_variant_uris: BTreeMap<String, String>,
    pub per_rendition_uris: BTreeMap<String, String>,
}

/// The steering manifest that a `data:` URI is itself; `None` for any other URI.
#[must_use]
pub fn inline(server: &Url) -> Option<Vec<u8>> {
    let (kind, data) = (server.scheme() == "data").then(|| server.path().split_once(','))??;
    let data: Vec<u8> = percent_decode_str(data).collect();
    match kind.ends_with(";base64") {
        // What is broken is no manifest, and is met as such.
        true => Some(BASE64.decode(data).unwrap_or_default()),
        false => Some(data),
    }
}

/// Whether what could not be read is of a version that is not known: in DASH that ends steering.
#[must_use]
pub fn is_of_another_version(error: &ManifestError) -> bool {
    matches!(error.what, Fault::Invalid { what: VERSION, .. })
}

/// Reads a steering manifest.
pub fn parse(text: &[u8]) -> Result<SteeringManifest, ManifestError> {
    if text.len() > limit::MAX_STEERING_BYTES {
        return Err(Fault::too_many("bytes", limit::MAX_STEERING_BYTES).into());
    }
    let document: Document = serde_json::from_slice(text).map_err(|error| ManifestError {
        line: u32::try_from(error.line()).ok().filter(|line| *line > 0),
        what: Fault::Syntax(excerpt(&error.to_string())),
    })?;
    document.read().map_err(ManifestError::from)
}

impl SteeringManifest {
    /// Where it is asked next, as a URL.
    pub fn reload_url(&self, own_url: &Url) -> Result<Url, ManifestError> {
        match &self.reload_uri {
            Some(uri) => Ok(reference::join(own_url, "RELOAD-URI", uri)?),
            None => Ok(own_url.clone()),
        }
    }

    /// Adds the pathways that are clones. One that is there already, or whose base is not, is left alone. DASH has none.
    pub fn extend(&self, presentation: &mut Presentation) -> Result<(), ManifestError> {
        if presentation.is_dash {
            return Ok(());
        }
        for clone in &self.clones {
            let has = |id: &str| {
                presentation.variants.iter().any(|variant| variant.pathway.as_deref() == Some(id))
            };
            if has(&clone.id) {
                continue;
            }
            let variants = clone.variants(&presentation.variants)?;
            let audio = clone.audio(&presentation.audio)?;
            presentation.variants.extend(variants);
            presentation.audio.extend(audio);
            if presentation.variants.len().max(presentation.audio.len()) > limit::MAX_VARIANTS {
                return Err(Fault::too_many("variants", limit::MAX_VARIANTS).into());
            }
        }
        presentation.variants.sort_by_key(|variant| variant.bandwidth);
        Ok(())
    }
}

impl PathwayClone {
    fn variants(&self, all: &[Variant]) -> Result<Vec<Variant>, Fault> {
        let base = all.iter().filter(|variant| variant.pathway.as_ref() == Some(&self.base_id));
        base.map(|variant| {
            let own = variant.stable_id.as_ref();
            let own = own.and_then(|id| self.replacement.per_variant_uris.get(id));
            let url = self.replacement.apply(&variant.url, own)?;
            Ok(Variant { url, pathway: Some(self.id.clone()), ..variant.clone() })
        })
        .collect()
    }

    fn audio(&self, all: &[Audio]) -> Result<Vec<Audio>, Fault> {
        let base = all.iter().filter(|audio| audio.pathway.as_ref() == Some(&self.base_id));
        base.map(|audio| {
            let own = audio.stable_id.as_ref();
            let own = own.and_then(|id| self.replacement.per_rendition_uris.get(id));
            let url = self.replacement.apply(&audio.url, own)?;
            Ok(Audio { url, pathway: Some(self.id.clone()), ..audio.clone() })
        })
        .collect()
    }
}

impl UriReplacement {
    /// The URL of the clone. A URI of its own takes the place of the host's replacement, but not of the parameters'.
    fn apply(&self, url: &Url, own: Option<&String>) -> Result<Url, Fault> {
        let mut url = match own {
            Some(uri) => reference::join(url, "a cloned pathway", uri)?,
            None => url.clone(),
        };
        if let (Some(host), None) = (&self.host, own) {
            let (name, port) = match host.rsplit_once(':') {
                Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
                _ => (host.as_str(), None),
            };
            Host::parse(name).map_err(|_| Fault::Url("HOST of a clone"))?;
            url.set_host(Some(name)).map_err(|_| Fault::Url("HOST of a clone"))?;
            url.set_port(port).map_err(|()| Fault::Url("HOST of a clone"))?;
        }
        if !self.params.is_empty() {
            set_parameters(&mut url, &self.params);
        }
        match url.as_str().len() {
            0..=limit::MAX_URL_BYTES => Ok(url),
            _ => Err(Fault::too_many("bytes of a URL", limit::MAX_URL_BYTES)),
        }
    }
}

/// A parameter that is there is set where it stands, another one is added.
fn set_parameters(url: &mut Url, params: &BTreeMap<String, String>) {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in url.query_pairs() {
        match params.get(name.as_ref()) {
            Some(_) if pairs.iter().any(|(known, _)| *known == name) => {}
            Some(new) => pairs.push((name.into_owned(), new.clone())),
            None => pairs.push((name.into_owned(), value.into_owned())),
        }
    }
    for (name, value) in params {
        if !name.is_empty() && !pairs.iter().any(|(known, _)| known == name) {
            pairs.push((name.clone(), value.clone()));
        }
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
}

/// The document as written.
#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Document {
    version: u64,
    #[serde(default)]
    ttl: Option<f64>,
    #[serde(default)]
    reload_uri: Option<String>,
    #[serde(default)]
    pathway_priority: Option<Vec<String>>,
    /// The name in early drafts of DASH.
    #[serde(default)]
    service_location_priority: Option<Vec<String>>,
    #[serde(default)]
    pathway_clones: Vec<PathwayClone>,
}

impl Document {
    fn read(self) -> Result<SteeringManifest, Fault> {
        if self.version != 1 {
            return Err(Fault::invalid(VERSION, &self.version.to_string()));
        }
        let priority = self.pathway_priority.or(self.service_location_priority);
        let mut pathway_priority = priority.unwrap_or_default();
        if pathway_priority.is_empty() {
            return Err(Fault::Missing("PATHWAY-PRIORITY"));
        }
        if pathway_priority.len().max(self.pathway_clones.len()) > limit::MAX_PATHWAYS {
            return Err(Fault::too_many("pathways", limit::MAX_PATHWAYS));
        }
        let is_long = |UriReplacement { params, per_variant_uris, per_rendition_uris, .. }: &_| {
            [params, per_variant_uris, per_rendition_uris]
                .iter()
                .any(|replacements| replacements.len() > limit::MAX_REPLACEMENTS)
        };
        if self.pathway_clones.iter().any(|clone| is_long(&clone.replacement)) {
            return Err(Fault::too_many("replacements", limit::MAX_REPLACEMENTS));
        }
        // Each once; which says the same as the list that repeats one.
        let mut known = HashSet::new();
        pathway_priority.retain(|pathway| known.insert(pathway.clone()));
        let ttl = self.ttl.filter(|ttl| ttl.is_finite()).unwrap_or(DEFAULT_TTL_SECONDS);
        Ok(SteeringManifest {
            ttl: Duration::from_secs_f64(ttl.clamp(1.0, MAX_TTL_SECONDS)),
            reload_uri: self.reload_uri,
            pathway_priority,
            clones: self.pathway_clones,
        })
    }
}

const VERSION: &str = "VERSION";
/// What the standard has players wait when they are not told.
const DEFAULT_TTL_SECONDS: f64 = 300.0;
const MAX_TTL_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::hls;

    const MASTER: &str = "#EXTM3U\n\
        #EXT-X-CONTENT-STEERING:SERVER-URI=\"/steer\",PATHWAY-ID=\"A\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",DEFAULT=YES,URI=\"a.m3u8\",\
        PATHWAY-ID=\"A\",STABLE-RENDITION-ID=\"sound\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"a\",PATHWAY-ID=\"A\",STABLE-VARIANT-ID=\"hi\"\nhi.m3u8?k=1&x=2\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\",PATHWAY-ID=\"A\"\nlo.m3u8\n";

    fn presentation() -> Presentation {
        let base = Url::parse("https://a.example/v/main.m3u8").expect("a URL");
        hls::multivariant(MASTER.as_bytes(), &base).expect("a playlist")
    }

    #[test]
    fn a_steering_manifest_is_read_in_both_dialects() {
        let hls = parse(
            br#"{"VERSION":1,"TTL":20,"RELOAD-URI":"next?s=1","PATHWAY-PRIORITY":["B","A"],"X":0}"#,
        )
        .expect("a manifest");
        assert_eq!(hls.ttl, Duration::from_secs(20));
        assert_eq!(hls.pathway_priority, ["B", "A"]);
        let own = Url::parse("https://s.example/a/steer?x=1").expect("a URL");
        assert_eq!(hls.reload_url(&own).unwrap().as_str(), "https://s.example/a/next?s=1");
        let dash = parse(br#"{"VERSION":1,"SERVICE-LOCATION-PRIORITY":["beta"]}"#).unwrap();
        assert_eq!(dash.pathway_priority, ["beta"]);
        assert_eq!(dash.ttl, Duration::from_secs(300));
        assert_eq!(dash.reload_url(&own).unwrap(), own);
    }

    #[test]
    fn a_clone_is_its_base_with_parts_replaced() {
        let steering = parse(
            br#"{"VERSION":1,"TTL":0,"PATHWAY-PRIORITY":["C","B","A"],"PATHWAY-CLONES":[
              {"BASE-ID":"A","ID":"B","URI-REPLACEMENT":{"HOST":"b.example:8443","PARAMS":{"k":"9","t":"y z"}}},
              {"BASE-ID":"B","ID":"C","URI-REPLACEMENT":{"HOST":"c.example",
                "PER-VARIANT-URIS":{"hi":"https://d.example/hi2.m3u8"},
                "PER-RENDITION-URIS":{"sound":"/s.m3u8"}}},
              {"BASE-ID":"gone","ID":"D","URI-REPLACEMENT":{}},
              {"BASE-ID":"A","ID":"A","URI-REPLACEMENT":{"HOST":"e.example"}}]}"#,
        )
        .expect("a manifest");
        assert_eq!(steering.ttl, Duration::from_secs(1), "never at once");
        let mut presentation = presentation();
        steering.extend(&mut presentation).expect("few variants");
        let urls = |pathway: &str| {
            let named = |own: &Option<String>| own.as_deref() == Some(pathway);
            let variants = presentation.variants.iter().filter(|v| named(&v.pathway));
            let audio = presentation.audio.iter().filter(|a| named(&a.pathway));
            variants
                .map(|v| &v.url)
                .chain(audio.map(|a| &a.url))
                .map(Url::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(urls("A").len(), 3);
        assert_eq!(
            urls("B"),
            [
                "https://b.example:8443/v/lo.m3u8?k=9&t=y+z",
                "https://b.example:8443/v/hi.m3u8?k=9&x=2&t=y+z",
                "https://b.example:8443/v/a.m3u8?k=9&t=y+z",
            ]
        );
        assert_eq!(
            urls("C"),
            [
                "https://c.example/v/lo.m3u8?k=9&t=y+z",
                "https://d.example/hi2.m3u8",
                "https://b.example:8443/s.m3u8",
            ]
        );
        assert!(urls("D").is_empty());
    }

    #[test]
    fn what_is_no_steering_manifest_is_refused() {
        let many = format!(
            r#"{{"VERSION":1,"PATHWAY-PRIORITY":[{}]}}"#,
            vec!["\"a\""; limit::MAX_PATHWAYS + 1].join(",")
        );
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "null",
            "{}",
            r#"{"VERSION":2,"PATHWAY-PRIORITY":["a"]}"#,
            r#"{"VERSION":1}"#,
            r#"{"VERSION":1,"PATHWAY-PRIORITY":"a"}"#,
            r#"{"VERSION":1,"PATHWAY-PRIORITY":[]}"#,
            many.as_str(),
            deep.as_str(),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{}", excerpt(text));
        }
        assert!(parse(&vec![b' '; limit::MAX_STEERING_BYTES + 1]).is_err());
        let error = parse(b"{\n\"VERSION\": x}").expect_err("no JSON");
        assert_eq!(error.line, Some(2));
    }

    #[test]
    fn a_data_uri_is_its_own_manifest() {
        for uri in [
            "data:application/json,%7B%22VERSION%22:1,%22PATHWAY-PRIORITY%22:[%22a%22]%7D",
            "DATA:;base64,eyJWRVJTSU9OIjoxLCJQQVRIV0FZLVBSSU9SSVRZIjpbImEiXX0=",
        ] {
            let text = inline(&Url::parse(uri).unwrap()).unwrap();
            assert_eq!(parse(&text).unwrap().pathway_priority, ["a"]);
        }
        let broken = inline(&Url::parse("data:;base64,???").unwrap()).unwrap_or_default();
        assert!(parse(&broken).is_err());
        assert_eq!(inline(&Url::parse("https://s.example/a,b").unwrap()), None);
    }

    #[test]
    fn clones_do_not_multiply_without_end() {
        let clones: Vec<_> = (0..limit::MAX_PATHWAYS)
            .map(|n| format!(r#"{{"BASE-ID":"A","ID":"{n}","URI-REPLACEMENT":{{}}}}"#))
            .collect();
        let text = format!(
            r#"{{"VERSION":1,"PATHWAY-PRIORITY":["0"],"PATHWAY-CLONES":[{}]}}"#,
            clones.join(",")
        );
        let steering = parse(text.as_bytes()).expect("a manifest");
        let mut big = presentation();
        let variant = big.variants[0].clone();
        big.variants = vec![variant; 10];
        assert!(steering.extend(&mut big).is_err());
        assert!(big.variants.len() <= limit::MAX_VARIANTS + 10);
    }
}
