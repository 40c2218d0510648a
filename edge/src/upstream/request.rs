//! What is sent to an upstream: the path that counts, the host that the upstream wants, the seal if it is another node.
//!
//! Pure. Invariant: the seal goes to shields and siblings alone, and a client's own goes nowhere.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use tidegate_contract::{
    header::TIER,
    property::{HealthCheck, Upstream},
};

use super::{
    ask::{Ask, Tier},
    failed::Failed,
    link::{BodyLength, Outgoing, keep_end_to_end},
};

/// The request for one upstream.
pub(super) fn outgoing(ask: &Ask<'_>, upstream: &Upstream, tier: Tier) -> Result<Outgoing, Failed> {
    let mut headers = ask.headers.clone();
    keep_end_to_end(&mut headers);
    let length = headers.remove(header::CONTENT_LENGTH);
    for name in [header::HOST, header::EXPECT, HeaderName::from_static(TIER)] {
        headers.remove(name);
    }
    if let (Tier::Shield | Tier::Sibling, Some(seal)) = (tier, ask.seal) {
        headers.insert(HeaderName::from_static(TIER), seal());
    }
    Ok(Outgoing {
        method: ask.method.clone(),
        path: path(ask.path)?,
        host: host(upstream.host.as_deref().unwrap_or(ask.host))?,
        headers,
        body: match (&ask.body, length) {
            (None, _) => BodyLength::None,
            (Some(_), None) => BodyLength::Unknown,
            (Some(_), Some(length)) => BodyLength::Known(
                length.to_str().ok().and_then(|text| text.parse().ok()).ok_or(LENGTH)?,
            ),
        },
    })
}

/// The request that asks an upstream whether it is well.
pub(super) fn check(check: &HealthCheck, upstream: &Upstream) -> Result<Outgoing, Failed> {
    let name = upstream.host.as_deref().or(check.host.as_deref());
    let agent = (header::USER_AGENT, HeaderValue::from_static("tidegate-health"));
    Ok(Outgoing {
        method: Method::GET,
        path: path(&check.path)?,
        host: host(name.unwrap_or(&upstream.authority))?,
        headers: HeaderMap::from_iter([agent]),
        body: BodyLength::None,
    })
}

fn path(path: &str) -> Result<PathAndQuery, Failed> {
    let is_origin_form = path.starts_with('/') || path == "*";
    let is_clean = path.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'#');
    if !is_origin_form || !is_clean {
        return Err(Failed::Request("its path is none"));
    }
    path.parse().map_err(|_| Failed::Request("its path is none"))
}

fn host(host: &str) -> Result<HeaderValue, Failed> {
    HeaderValue::from_str(host).map_err(|_| Failed::Request("its host is none"))
}

const LENGTH: Failed = Failed::Request("its content-length is none");

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_contract::{
        id::{Generation, PopId, PropertyId},
        property::Property,
        snapshot::{PopRole, Snapshot},
        tier::TierKey,
    };

    use super::*;
    use crate::{
        cache::key::Key,
        policy::{Policy, PolicyHandle},
    };

    fn policy() -> Arc<Policy> {
        let handle = PolicyHandle::default();
        let upstream = Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None };
        let id = PropertyId::parse("demo").unwrap();
        handle
            .install(Snapshot {
                generation: Generation(1),
                pop: PopId::parse("fra").unwrap(),
                role: PopRole::Edge,
                properties: vec![Property::new(id, vec!["a.org".into()], vec![upstream])],
                tier_key: TierKey::new([0; 32]),
                shields: vec![],
                certificates: vec![],
            })
            .unwrap();
        handle.current().unwrap()
    }

    #[test]
    fn hosts_seals_and_hop_by_hop_headers_are_for_one_upstream() {
        let policy = policy();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("host", "evil.example"),
            ("expect", "100-continue"),
            ("tidegate-tier", "made up"),
            ("content-length", "7"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let seal = || HeaderValue::from_static("sealed");
        let ask = Ask {
            policy: &policy,
            property: 0,
            key: &Key([0; 16]),
            home: None,
            host: "a.org",
            path: "/x?y",
            method: Method::GET,
            headers,
            body: None,
            avoid: vec![],
            interim: None,
            seal: Some(&seal),
            hold: None,
        };
        let mut upstream = Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None };
        let request = outgoing(&ask, &upstream, Tier::Origin).unwrap();
        assert_eq!((request.path.as_str(), request.host.to_str().unwrap()), ("/x?y", "a.org"));
        assert_eq!(request.headers.keys().collect::<Vec<_>>(), [header::ACCEPT]);
        assert_eq!(request.body, BodyLength::None);

        upstream.host = Some("b.org".into());
        let request = outgoing(&ask, &upstream, Tier::Shield).unwrap();
        assert_eq!(request.host, "b.org");
        assert_eq!(request.headers["tidegate-tier"], "sealed");
        let request = outgoing(&ask, &upstream, Tier::Sibling).unwrap();
        assert_eq!(request.headers["tidegate-tier"], "sealed");
        for bad in ["x", "", "/a b", "/a\r\nx: y", "/a#b", "http://a.org/"] {
            let refused = outgoing(
                &Ask {
                    path: bad,
                    headers: HeaderMap::new(),
                    avoid: vec![],
                    method: Method::GET,
                    body: None,
                    interim: None,
                    ..ask
                },
                &upstream,
                Tier::Origin,
            );
            assert!(matches!(refused, Err(Failed::Request(_))), "{bad:?}");
        }
    }
}
