//! What the demo's DNS and content steering are told: where its PoPs are, a zone, a policy, where clients are.
//!
//! On one machine every PoP is at one place, so each gets an address of the loopback network of its own and is said to be
//! far from the other. Invariant: nothing here is an address or a name that anybody else has (RFC 5737, RFC 6761).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

/// A PoP that DNS and steering know.
pub(super) struct Site {
    /// The PoP.
    pub(super) pop: &'static str,
    /// The last part of its address.
    host: u8,
    latitude: f64,
    longitude: f64,
    country: &'static str,
    city: &'static str,
    /// Clients that are near it.
    clients: &'static str,
}

/// The PoPs that face clients.
pub(super) const SITES: [Site; 2] = [
    Site {
        pop: "pop-a",
        host: 11,
        latitude: 50.11,
        longitude: 8.68,
        country: "DE",
        city: "Frankfurt",
        clients: "198.51.100.0/24",
    },
    Site {
        pop: "pop-b",
        host: 12,
        latitude: -33.87,
        longitude: 151.21,
        country: "AU",
        city: "Sydney",
        clients: "203.0.113.0/24",
    },
];

/// The demo's zone.
pub(super) const ZONE: &str = "demo.test";
/// The name in it that leads each client to its PoP.
pub(super) const STEERED_NAME: &str = "video.demo.test";
/// The host under which each PoP passes on what players ask the steering server. Every browser takes it for both addresses
/// of this machine, and each is another PoP's: with one gone it asks the other.
pub(super) const STEERING_HOST: &str = "steer.localhost";
/// The same host as the DNS knows it, as it would be anywhere else: it leads to a PoP that lives.
pub(super) const STEERING_NAME: &str = "steer.demo.test";
/// The pathway that manifests name, and the policy.
pub(super) const PATHWAY: &str = "main";
pub(super) const POLICY: &str = "demo";

impl Site {
    /// Its own address.
    pub(super) fn address(&self) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, self.host).into()
    }

    /// The PoP as a resource: what it is, where it is, what it can carry.
    pub(super) fn pop_spec(&self, port: u16) -> Value {
        json!({
            "role": "edge",
            "site": {
                "place": { "latitude": self.latitude, "longitude": self.longitude },
                "capacity_mbps": 10_000,
                "addresses": [self.address()],
                "port": port,
                "name": "localhost",
            },
        })
    }

    /// An address of a client near it.
    pub(super) fn client_subnet(&self) -> &'static str {
        self.clients
    }
}

/// Where a PoP serves the host of steering: the first at this machine's IPv6 address, which is tried first, the other at
/// the IPv4 one. Without IPv6 the first alone does.
pub(super) fn steering_address(pop: &str, port: u16, has_v6: bool) -> Option<SocketAddr> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let number = SITES.iter().position(|site| site.pop == pop)?;
    let all = if has_v6 { [Some(v6), Some(v4)] } else { [Some(v4), None] };
    all[number].map(|ip| SocketAddr::new(ip, port))
}

/// The site of a PoP; shields have none.
pub(super) fn site(pop: &str) -> Option<&'static Site> {
    SITES.iter().find(|site| site.pop == pop)
}

/// Where clients are that nobody can locate: at the first PoP.
pub(super) fn home() -> [f64; 2] {
    [SITES[0].latitude, SITES[0].longitude]
}

/// Lines for `tidegate-geo make-places`: who is near which PoP. This machine's own players are near the first.
pub(super) fn places() -> String {
    let line = |site: &Site, network: &str| {
        let Site { latitude, longitude, country, city, .. } = site;
        format!("{network},{country},{latitude},{longitude},{city}\n")
    };
    let near = SITES.iter().map(|site| line(site, site.clients));
    near.chain([line(&SITES[0], "127.0.0.0/8")]).collect()
}

/// The zone as a resource. A name with a text at `_steer.` gets its addresses from the map.
pub(super) fn zone(port: u16) -> Value {
    let zone = format!(
        "$ORIGIN {ZONE}.\n$TTL 60\n\
         @ IN SOA ns hostmaster 1 3600 600 86400 60\n\
         @ IN NS ns\n\
         ns IN A 127.0.0.1\n\
         _steer.video IN TXT \"alpn=h3,h2\" \"port={port}\"\n\
         _steer.steer IN TXT \"alpn=h3,h2\" \"port={port}\"\n"
    );
    json!({ "zone": zone })
}

/// The steering policy as a resource: where DNS leads, and each PoP by itself.
pub(super) fn policy() -> Value {
    let by_itself = |site: &Site| json!({ "id": site.pop, "pops": [site.pop], "host": site.address().to_string() });
    let pathways: Vec<Value> = [json!({ "id": PATHWAY, "pops": [] })]
        .into_iter()
        .chain(SITES.iter().map(by_itself))
        .collect();
    json!({ "ttl": "10s", "pathways": pathways })
}

/// The property whose origin is the steering server.
pub(super) fn property(steering: SocketAddr) -> Value {
    json!({
        "id": "steering",
        "hosts": [STEERING_HOST, STEERING_NAME],
        "origins": [{ "authority": steering.to_string() }],
    })
}

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        resource::{Kind, ResourceName},
        resource_spec::Spec,
    };

    use super::*;

    #[test]
    fn each_pop_has_an_address_of_its_own_for_the_host_of_steering() {
        let at = |pop, has_v6| {
            let address = steering_address(pop, 443, has_v6);
            address.map(|address| address.to_string())
        };
        assert_eq!(at("pop-a", true).as_deref(), Some("[::1]:443"));
        assert_eq!(at("pop-b", true).as_deref(), Some("127.0.0.1:443"));
        assert_eq!(at("pop-a", false).as_deref(), Some("127.0.0.1:443"));
        assert_eq!((at("pop-b", false), at("shield-1", true)), (None, None));
    }

    #[test]
    fn all_of_it_is_what_the_control_plane_takes() {
        for (kind, name, spec) in [
            (Kind::DnsZone, ZONE, zone(443)),
            (Kind::SteeringPolicy, POLICY, policy()),
            (Kind::Pop, "pop-a", SITES[0].pop_spec(443)),
        ] {
            let name = ResourceName::parse(name).unwrap();
            Spec::parse(kind, &name, spec.to_string().as_bytes()).unwrap();
        }
    }
}
