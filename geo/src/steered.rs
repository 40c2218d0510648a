//! What a player would be told by content steering, for those who ask without being one: operators.
//!
//! Invariant: it is decided where every player is answered ([`crate::steer::session`]); nothing is counted.

use std::{net::IpAddr, sync::Arc};

use serde_json::{Value, json};
use tidegate_contract::resource::ResourceName;
use url::{Url, form_urlencoded::Serializer};

use crate::{
    live::Steer,
    steer::{Manifest, Named, Policies, has, session, standing},
    world::Worlds,
};

/// Answers from the newest policies and the newest world.
#[must_use]
pub fn steered(policies: Arc<Policies>, worlds: Arc<Worlds>) -> Steer {
    Arc::new(move |asset, policy, pathway, client| {
        let all = policies.newest();
        told(&all, &worlds, asset, policy, pathway, client)
    })
}

fn told(
    all: &Named,
    worlds: &Worlds,
    asset: &str,
    policy: Option<&str>,
    pathway: Option<&str>,
    client: IpAddr,
) -> Result<Value, String> {
    if asset.len() > ASSET_BYTES_MAX {
        return Err(format!("an asset is a path or a URL of at most {ASSET_BYTES_MAX} bytes"));
    }
    let asked = Asked::of(asset)?;
    let (name, by) = chosen(all, policy, asked.policy.as_deref())?;
    let policy = &all[name];
    let mut query = asked.query;
    if let Some(pathway) = pathway {
        if !has(policy, pathway) {
            let there = names(policy.pathways.iter().map(|pathway| &pathway.id));
            return Err(format!("policy {name} has no pathway {pathway:?}; there are {there}"));
        }
        // The last one that is named counts.
        let said = Serializer::new(String::new()).append_pair("_HLS_pathway", pathway).finish();
        query = format!("{query}&{said}");
    }
    let client = client.to_canonical();
    let world = worlds.newest();
    let (order, current) = session(policy, &world, client, &query);
    Ok(json!({
        "asset": asset,
        "client": client,
        "policy": name,
        "policy_by": by,
        "pathway": current,
        "outcome": order.outcome.as_str(),
        "manifest": Manifest::new(policy, &order),
        "pathways": standing(policy, &world, client),
    }))
}

/// What an asset says of how it asks.
struct Asked {
    /// The policy, where the asset is the place that players ask.
    policy: Option<String>,
    query: String,
}

impl Asked {
    fn of(asset: &str) -> Result<Self, String> {
        let base = Url::parse("https://localhost/").map_err(|error| error.to_string())?;
        let url = base.join(asset).map_err(|error| format!("{asset:?}: {error}"))?;
        let policy = match url.path().split('/').collect::<Vec<_>>()[..] {
            ["", "steering", policy] if !policy.is_empty() => Some(policy.to_owned()),
            _ => None,
        };
        // What the query of a playlist says is not what its player would ask with.
        let query = policy.as_ref().and_then(|_| url.query()).unwrap_or_default().to_owned();
        Ok(Self { policy, query })
    }
}

/// The policy, and how it is known to be that one.
fn chosen<'a>(
    all: &'a Named,
    named: Option<&str>,
    asked: Option<&str>,
) -> Result<(&'a ResourceName, &'static str), String> {
    let find = |wanted: &str| all.keys().find(|name| name.as_str() == wanted);
    let missing = |name: &str| match all.is_empty() {
        true => "there is no steering policy".to_owned(),
        false => format!("there is no steering policy {name:?}; there are {}", names(all.keys())),
    };
    match (named, asked) {
        (Some(name), _) => Ok((find(name).ok_or_else(|| missing(name))?, "name")),
        (None, Some(name)) => Ok((find(name).ok_or_else(|| missing(name))?, "asset")),
        (None, None) => {
            let mut policies = all.keys();
            match (policies.next(), policies.next()) {
                (None, _) => Err(missing("")),
                (Some(only), None) => Ok((only, "only")),
                _ => Err(format!(
                    "which policy it asks by stands in its manifest alone, and there are {}: name the policy, or the URL \
                     of steering that the manifest names",
                    names(all.keys())
                )),
            }
        }
    }
}

fn names<'a>(all: impl Iterator<Item = &'a ResourceName>) -> String {
    let all: Vec<&str> = all.map(ResourceName::as_str).take(NAMES_SHOWN_MAX).collect();
    all.join(", ")
}

/// The longest that an operator asks about.
const ASSET_BYTES_MAX: usize = 2048;
/// Names in a message.
const NAMES_SHOWN_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(names: &[&str]) -> Named {
        let spec = json!({"ttl": "20s", "pathways": [{"id": "main", "pops": []}]});
        let one = |name: &&str| {
            let spec = serde_json::from_value(spec.clone()).expect("good");
            (ResourceName::parse(*name).expect("a name"), spec)
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn a_policy_is_the_named_one_the_asset_s_or_the_only_one_and_never_a_guess() {
        let (one, two) = (policies(&["video"]), policies(&["live", "video"]));
        for (all, named, asset, expected) in [
            (
                &two,
                None,
                "https://steer.example/steering/live?_HLS_pathway=a",
                Ok(("live", "asset")),
            ),
            (&two, None, "/steering/video", Ok(("video", "asset"))),
            (&two, Some("live"), "/steering/video", Ok(("live", "name"))),
            (&one, None, "/v/1/main.m3u8", Ok(("video", "only"))),
            (&one, None, "v/1/main.mpd", Ok(("video", "only"))),
            (&two, None, "https://cdn.example/v/1/main.m3u8", Err("stands in its manifest")),
            (&two, None, "/steering/none", Err("live, video")),
            (&one, Some("none"), "/v", Err("there are video")),
            (&policies(&[]), None, "/v", Err("no steering policy")),
        ] {
            let asked = Asked::of(asset).expect("good");
            let found = chosen(all, named, asked.policy.as_deref());
            match (found, expected) {
                (Ok((name, by)), Ok(expected)) => assert_eq!((name.as_str(), by), expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (found, _) => panic!("{asset}: {found:?}"),
            }
        }
        assert!(Asked::of("https://[").is_err());
        assert_eq!(Asked::of("/steering/a?x=1").expect("good").query, "x=1");
        assert_eq!(Asked::of("/v/1.m3u8?_HLS_pathway=a").expect("good").query, "");
    }
}
