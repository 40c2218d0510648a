//! One PoP's snapshot from the desired state.
//!
//! Pure. An edge gets all shields, in the order of their ids; a shield gets none, so that no fill ever goes from
//! shield to shield.

use tidegate_contract::{
    id::PopId,
    snapshot::{PopRole, Snapshot},
};

use crate::store::{Desired, Pop};

/// The snapshot of a PoP; `None` when there is no such PoP.
#[must_use]
pub fn compile(desired: &Desired, pop: &PopId) -> Option<Snapshot> {
    let this = desired.pops.iter().find(|known| known.id == *pop)?;
    let shields = match this.role {
        PopRole::Edge => desired.pops.iter().cloned().filter_map(Pop::into_shield).collect(),
        PopRole::Shield => Vec::new(),
    };
    Some(Snapshot {
        generation: desired.generation,
        pop: pop.clone(),
        role: this.role,
        properties: desired.properties.iter().map(|(property, _)| property.clone()).collect(),
        tier_key: desired.tier_key.clone(),
        shields,
        certificates: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use tidegate_contract::{
        id::{Generation, PropertyId},
        property::{Property, Upstream},
        tier::TierKey,
    };

    use super::*;

    fn upstream(authority: &str) -> Upstream {
        Upstream { authority: authority.into(), tls: None, host: None }
    }

    fn pop(id: &str, role: PopRole, authority: Option<&str>) -> Pop {
        Pop { id: PopId::parse(id).expect("good"), role, shield_upstream: authority.map(upstream) }
    }

    fn desired() -> Desired {
        let property = Property::new(
            PropertyId::parse("demo").expect("good"),
            vec!["*".into()],
            vec![upstream("127.0.0.1:1")],
        );
        Desired {
            generation: Generation(4),
            properties: vec![(property, Generation(2))],
            pops: vec![
                pop("edge-a", PopRole::Edge, None),
                pop("shield-1", PopRole::Shield, Some("10.0.0.1:443")),
                pop("shield-2", PopRole::Shield, Some("10.0.0.2:443")),
                pop("shield-new", PopRole::Shield, None),
            ],
            tier_key: TierKey::new([7; 32]),
        }
    }

    #[test]
    fn an_edge_gets_the_shields_that_can_be_reached_and_a_shield_none() {
        let id = |text| PopId::parse(text).expect("good");
        let edge = compile(&desired(), &id("edge-a")).expect("there");
        let shields: Vec<_> = edge.shields.iter().map(|shield| shield.pop.as_str()).collect();
        assert_eq!(shields, ["shield-1", "shield-2"]);
        assert_eq!((edge.generation, edge.properties.len()), (Generation(4), 1));
        let shield = compile(&desired(), &id("shield-1")).expect("there");
        assert!(shield.shields.is_empty());
        assert_eq!(shield.role, PopRole::Shield);
        assert!(compile(&desired(), &id("nobody")).is_none());
    }

    #[test]
    fn the_same_state_gives_the_same_bytes_which_a_pop_accepts() {
        let id = PopId::parse("edge-a").expect("good");
        let bytes = compile(&desired(), &id).expect("there").to_bytes();
        assert_eq!(bytes, compile(&desired(), &id).expect("there").to_bytes());
        assert!(Snapshot::from_bytes(&bytes).is_ok());
    }
}
