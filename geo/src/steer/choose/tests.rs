//! Orders for sessions of a fleet of four PoPs.

use proptest::prelude::*;

use super::*;
use crate::fleet::Pop;
use crate::place::Place;
use tidegate_contract::id::PopId;

const POPS: [&str; 4] = ["a", "b", "c", "d"];
const STATES: [PopState; 4] =
    [PopState::Up, PopState::Troubled, PopState::Draining, PopState::Down];

fn fleet(states: [PopState; 4]) -> Fleet {
    let pop = |(id, state): (&str, PopState)| Pop {
        id: PopId::parse(id).expect("good"),
        place: Place::new(0.0, 0.0).expect("a place"),
        capacity: 1.0,
        weight: 1.0,
        state,
        addresses: Vec::new(),
    };
    Fleet::new(POPS.into_iter().zip(states).map(pop).collect()).expect("four")
}

/// `main` leads wherever DNS does, the others to one PoP each.
fn policy() -> SteeringPolicySpec {
    let clone =
        |id: &str| serde_json::json!({ "id": id, "pops": [id], "host": format!("{id}.example") });
    let mut pathways = vec![serde_json::json!({ "id": "main", "pops": [] })];
    pathways.extend(POPS.map(clone));
    serde_json::from_value(serde_json::json!({ "ttl": "20s", "pathways": pathways })).expect("good")
}

fn told(
    states: [PopState; 4],
    preference: &[u16],
    current: Option<&str>,
) -> (Vec<String>, u64, Outcome) {
    let (policy, fleet) = (policy(), fleet(states));
    let standing = Standing::new(&fleet, preference.iter().copied());
    let Order { pathways, ttl_seconds, outcome } = order(&policy, &standing, current);
    (pathways.iter().map(|pathway| pathway.id.to_string()).collect(), ttl_seconds, outcome)
}

#[test]
fn sessions_stay_where_it_is_fine_and_leave_where_it_is_not() {
    use Outcome::{Began, Moved, Stayed, Unserved};
    use PopState::{Down, Draining, Troubled, Up};
    let fine = [Up; 4];
    let b_drains = [Up, Draining, Up, Up];
    let b_is_dead = [Up, Down, Up, Up];
    for (states, preference, current, expected, ttl_seconds, outcome) in [
        // The manifest's own pathway is as good as the clone that leads to the same PoP.
        (fine, &[1, 0][..], None, "main b a c d", 20, Began),
        (fine, &[1, 0], Some("main"), "main b a c d", 20, Stayed),
        // It stays although another one is better now.
        (fine, &[1, 0], Some("a"), "a main b c d", 20, Stayed),
        // ... but not where it has nothing to look for.
        (fine, &[1, 0], Some("c"), "main b a c d", 20, Moved),
        // DNS may have sent it to the one that drains.
        (b_drains, &[0, 2], Some("main"), "a c d main b", 20, Moved),
        (b_drains, &[0, 2], Some("b"), "a c d main b", 20, Moved),
        (b_drains, &[0, 2], Some("c"), "c a d main b", 20, Stayed),
        (b_is_dead, &[0, 2], Some("b"), "a c d main", 20, Moved),
        ([Up, Troubled, Up, Up], &[1, 0], Some("b"), "b main a c d", 10, Stayed),
        ([Draining; 4], &[], Some("b"), "b main a c d", 10, Stayed),
        ([Draining, Down, Down, Down], &[], Some("a"), "a main", 10, Stayed),
        ([Down; 4], &[], Some("a"), "main a b c d", 10, Unserved),
        // A pathway that nobody knows.
        (fine, &[1, 0], Some("z"), "main b a c d", 20, Moved),
    ] {
        let expected: Vec<_> = expected.split(' ').map(str::to_owned).collect();
        assert_eq!(
            told(states, preference, current),
            (expected, ttl_seconds, outcome),
            "{states:?} {current:?}"
        );
    }
}

#[test]
fn an_answer_names_few_pathways_and_the_current_one_is_among_them() {
    let pathways: Vec<_> =
        (0..40).map(|n| serde_json::json!({ "id": format!("p{n}"), "pops": ["a"] })).collect();
    let policy: SteeringPolicySpec =
        serde_json::from_value(serde_json::json!({ "ttl": "20s", "pathways": pathways }))
            .expect("good");
    let fleet = fleet([PopState::Up; 4]);
    let order = order(&policy, &Standing::new(&fleet, [0]), Some("p39"));
    assert_eq!(order.pathways.len(), PATHWAYS_NAMED_MAX);
    assert_eq!(order.pathways[0].id.as_str(), "p39");
}

fn states() -> impl Strategy<Value = [PopState; 4]> {
    prop::array::uniform4(prop::sample::select(&STATES[..]))
}

fn preference() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(0_u16..4, 0..6)
}

proptest! {
    #[test]
    fn whoever_does_as_told_is_told_to_stay(states in states(), preference in preference(), current in 0..5_usize) {
        let names = ["main", "a", "b", "c", "d"];
        let (first, ..) = told(states, &preference, Some(names[current]));
        let (second, ..) = told(states, &preference, Some(&first[0]));
        prop_assert_eq!(&first[0], &second[0]);
    }

    #[test]
    fn a_session_leaves_only_what_is_not_fine(
        states in prop::array::uniform2(states()), preferences in prop::array::uniform2(preference()),
        is_troubled in prop::array::uniform2(any::<bool>()), pop in 0..4_usize,
    ) {
        for ((mut states, mut preference), is_troubled) in states.into_iter().zip(preferences).zip(is_troubled) {
            states[pop] = if is_troubled { PopState::Troubled } else { PopState::Up };
            preference.push(u16::try_from(pop).expect("few"));
            prop_assert_eq!(&told(states, &preference, Some(POPS[pop])).0[0], POPS[pop]);
        }
    }

    #[test]
    fn the_dead_are_not_named_and_those_who_leave_come_last(states in states(), preference in preference(), current in 0..4_usize) {
        let (names, _, outcome) = told(states, &preference, Some(POPS[current]));
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), names.len());
        prop_assert!(!names.is_empty());
        prop_assume!(outcome != Outcome::Unserved);
        let state = |name: &String| POPS.iter().position(|pop| pop == name).map(|index| states[index]);
        let of_pops: Vec<_> = names.iter().filter_map(state).collect();
        prop_assert!(!of_pops.contains(&PopState::Down));
        let first_leaving = of_pops.iter().position(|state| *state == PopState::Draining);
        let last_open = of_pops.iter().rposition(|state| *state != PopState::Draining);
        if let (Some(leaving), Some(open)) = (first_leaving, last_open) {
            prop_assert!(open < leaving, "{names:?}");
        }
    }
}
