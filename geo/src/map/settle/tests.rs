//! Steps between plans that are written down.

use proptest::prelude::*;

use super::*;

fn part(pop: u16, amount: f64, rtt_ms: f32) -> Part {
    Part { pop, amount, rtt_ms }
}

fn loads(plan: &[Vec<Part>], pops: usize) -> Vec<f64> {
    let mut loads = vec![0.0; pops];
    for part in plan.iter().flatten() {
        loads[usize::from(part.pop)] += part.amount;
    }
    loads
}

/// Where as much is planned as can be carried.
fn settled(now: Vec<Vec<Part>>, wanted: &[Vec<Part>], limits: &[f64]) -> (Vec<Vec<Part>>, Moved) {
    settle(now, wanted, Limits { planned: limits, carried: limits })
}

#[test]
fn the_largest_gains_go_first_and_no_more_than_the_share() {
    let now: Vec<_> = (0..100).map(|_| vec![part(0, 1.0, 100.0)]).collect();
    let wanted: Vec<_> = (0..100).map(|unit| vec![part(1, 1.0, unit as f32)]).collect();
    let (after, moved) = settled(now, &wanted, &[200.0, 200.0]);
    assert!((moved.chosen - 5.0).abs() < 1e-9 && moved.forced == 0.0, "{moved:?}");
    assert!((moved.left - 95.0).abs() < 1e-9);
    for (unit, parts) in after.iter().enumerate() {
        assert_eq!(parts[0].pop, u16::from(unit < 5), "{unit}");
    }
}

#[test]
fn who_sits_in_a_dead_pop_leaves_at_once_and_an_overfull_one_is_relieved_as_far_as_there_is_room() {
    let now = vec![vec![part(0, 50.0, 5.0)], vec![part(1, 40.0, 5.0)], vec![part(2, 10.0, 5.0)]];
    let wanted = vec![
        vec![part(2, 50.0, 9.0)],
        vec![part(1, 20.0, 5.0), part(2, 20.0, 9.0)],
        vec![part(2, 10.0, 5.0)],
    ];
    let (after, moved) = settled(now, &wanted, &[0.0, 20.0, 80.0]);
    assert_eq!(loads(&after, 3), [0.0, 20.0, 80.0]);
    assert_eq!((moved.forced, moved.chosen, moved.left), (70.0, 0.0, 0.0));
}

#[test]
fn of_a_pop_that_has_too_much_only_what_it_cannot_carry_moves_beyond_the_share() {
    // 100 is planned for each and 120 can be carried; the first has 160, of which the plan wants 60 elsewhere.
    let now: Vec<_> = (0..160).map(|_| vec![part(0, 1.0, 10.0)]).collect();
    let near = |unit| vec![if unit < 100 { part(0, 1.0, 10.0) } else { part(1, 1.0, 30.0) }];
    let wanted: Vec<_> = (0..160).map(near).collect();
    let limits = Limits { planned: &[100.0, 100.0], carried: &[120.0, 120.0] };
    let (after, moved) = settle(now, &wanted, limits);
    assert!((moved.forced - 40.0).abs() < 1e-9 && (moved.chosen - 8.0).abs() < 1e-9, "{moved:?}");
    assert!((loads(&after, 2)[0] - 112.0).abs() < 1e-9, "a twentieth of 160 more than it must");
}

#[test]
fn room_for_those_who_must_leave_is_made_along_a_chain() {
    // The first is dead; its clients fit into the second only when some of that go on to the third.
    let now = vec![vec![part(0, 30.0, 5.0)], vec![part(1, 100.0, 5.0)], vec![part(2, 10.0, 5.0)]];
    let wanted = vec![
        vec![part(1, 30.0, 6.0)],
        vec![part(1, 70.0, 5.0), part(2, 30.0, 9.0)],
        vec![part(2, 10.0, 5.0)],
    ];
    let (after, moved) = settled(now, &wanted, &[0.0, 100.0, 100.0]);
    assert_eq!(loads(&after, 3), [0.0, 100.0, 40.0]);
    assert_eq!((moved.forced, moved.chosen), (60.0, 0.0));
}

#[test]
fn what_is_above_the_plan_but_can_be_carried_moves_within_the_share_and_before_gains() {
    let mut now: Vec<_> = (0..90).map(|_| vec![part(0, 1.0, 10.0)]).collect();
    let mut wanted: Vec<_> =
        (0..90).map(|unit| vec![part(u16::from(unit >= 80), 1.0, 15.0)]).collect();
    now.extend((0..10).map(|_| vec![part(1, 1.0, 90.0)]));
    wanted.extend((0..10).map(|_| vec![part(2, 1.0, 1.0)]));
    let limits = Limits { planned: &[80.0; 3], carried: &[100.0; 3] };
    let (after, moved) = settle(now, &wanted, limits);
    assert_eq!((moved.forced, moved.chosen), (0.0, 5.0));
    assert_eq!(loads(&after, 3), [85.0, 15.0, 0.0], "no gain before there is headroom");
}

#[test]
fn two_that_want_to_change_places_between_full_pops_do_not_overfill_either() {
    let now = vec![vec![part(0, 10.0, 50.0)], vec![part(1, 10.0, 50.0)]];
    let wanted = vec![vec![part(1, 10.0, 5.0)], vec![part(0, 10.0, 5.0)]];
    let (after, moved) = settled(now.clone(), &wanted, &[10.0, 10.0]);
    assert_eq!((after, moved.chosen), (now.clone(), 0.0), "no room: it waits");
    let (after, moved) = settled(now, &wanted, &[10.5, 10.5]);
    assert!((moved.chosen - 1.0).abs() < 1e-9, "a share of 5 %: {moved:?}");
    assert!(loads(&after, 2).iter().all(|load| *load <= 10.5 + 1e-9));
}

#[test]
fn units_from_which_nobody_asks_are_where_they_shall_be_at_once_however_many_others_there_are() {
    for busy in [50.0, 5e7] {
        let (near, far) = (|amount| part(0, amount, 10.0), |amount| part(1, amount, 90.0));
        let now = vec![vec![far(IDLE)], vec![far(busy)]];
        let wanted = [vec![near(IDLE)], vec![near(busy)]];
        let (then, moved) = settled(now, &wanted, &[busy * 2.0, busy * 2.0]);
        assert_eq!(then[0], [near(IDLE)]);
        assert!((then[1][0].amount / busy - 0.05).abs() < 1e-6, "a twentieth");
        assert!((moved.chosen / busy - 0.05).abs() < 1e-6 && moved.forced == 0.0, "{moved:?}");
    }
}

#[test]
fn an_idle_fleet_is_where_it_shall_be_at_once_and_a_busy_one_is_not() {
    let now = [vec![part(0, 1.0, 90.0)]];
    let wanted = [vec![part(1, 1.0, 10.0)]];
    // Idle below a hundredth of what is planned with for both.
    for (limit, chosen) in [(51.0, 1.0), (49.0, 0.05)] {
        let (_, moved) = settled(now.to_vec(), &wanted, &[limit, limit]);
        assert!((moved.chosen - chosen).abs() < 1e-9, "{limit}: {moved:?}");
    }
}

fn placed(seed: u64, salt: u64, amounts: &[f64], pops: u16) -> Vec<Vec<Part>> {
    let pick = |unit: usize, salt: u64| {
        ((seed ^ salt).wrapping_mul(unit as u64 * 2 + 0x9E37_79B9) >> 17) as u16 % pops
    };
    let rtt_ms = |unit| f32::from(pick(unit, salt ^ 7)) * 9.0;
    let units = amounts.iter().enumerate();
    units.map(|(unit, amount)| vec![part(pick(unit, salt), *amount, rtt_ms(unit))]).collect()
}

proptest! {
    #[test]
    fn nothing_is_lost_and_rounds_come_to_rest(
        amounts in prop::collection::vec(0.1..10.0f64, 1..20), seed in any::<u64>(),
    ) {
        let (mut now, wanted) = (placed(seed, 1, &amounts, 4), placed(seed, 2, &amounts, 4));
        let total: f64 = amounts.iter().sum();
        let limits = vec![total; 4];
        for _ in 0..40 {
            let (after, moved) = settled(now, &wanted, &limits);
            prop_assert!(moved.chosen <= total * MOVED_SHARE_MAX * 1.000_001);
            prop_assert!(moved.forced == 0.0);
            let sum: f64 = after.iter().flatten().map(|part| part.amount).sum();
            prop_assert!((sum - total).abs() < 1e-6);
            now = after;
        }
        for (now, wanted) in now.iter().zip(&wanted) {
            let stays = now.iter().find(|part| part.pop == wanted[0].pop).map_or(0.0, |part| part.amount);
            prop_assert!((stays - wanted[0].amount).abs() < 1e-6, "{now:?} {wanted:?}");
        }
    }

    #[test]
    fn no_pop_is_left_with_more_than_it_can_carry_for_the_sake_of_the_share(
        amounts in prop::collection::vec(0.1..10.0f64, 1..20), seed in any::<u64>(), dead in 0..5usize,
    ) {
        let (now, mut wanted) = (placed(seed, 1, &amounts, 4), placed(seed, 2, &amounts, 4));
        // Nobody is wanted where nobody serves; the fifth is none of them.
        for part in wanted.iter_mut().flatten().filter(|part| usize::from(part.pop) == dead) {
            part.pop = (part.pop + 1) % 4;
        }
        // As much as the wanted plan needs, and no more.
        let planned: Vec<f64> = loads(&wanted, 4).iter().map(|load| load.max(1.0)).collect();
        let carried: Vec<f64> = planned.iter().map(|planned| planned / 0.85).collect();
        let planned: Vec<f64> =
            planned.iter().enumerate().map(|(pop, planned)| if pop == dead { 0.0 } else { *planned }).collect();
        let homeless = if dead < 4 { loads(&now, 4)[dead] } else { 0.0 };
        let total: f64 = amounts.iter().sum();
        let (after, moved) = settle(now, &wanted, Limits { planned: &planned, carried: &carried });
        for (pop, load) in loads(&after, 4).iter().enumerate().filter(|(pop, _)| *pop != dead) {
            prop_assert!(*load <= carried[pop] * 1.000_01 + 1e-6, "{pop}: {load} of {}", carried[pop]);
        }
        prop_assert!(moved.forced >= homeless - 1e-6);
        prop_assert!(moved.chosen <= total * MOVED_SHARE_MAX * 1.000_001);
    }
}
