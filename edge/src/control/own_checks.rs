//! What the agent finds when it looks at itself: who the node is, whom it believes, whether it is told everything.
//!
//! Read off what is there; nothing is asked of the network. Invariant: what the node has no way to know is not said.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tidegate_chassis::Clock;
use tidegate_contract::node_question::{Check, CheckReport};

use super::{
    authorities::Authorities,
    identity::Identity,
    intake::Intake,
    lane_board::{LaneBoard, LaneState},
    link::IdentityInUse,
};
use crate::cache::lease::Lease;

/// What is looked at.
pub(super) struct OwnChecks {
    pub(super) identity: IdentityInUse,
    pub(super) authorities: Authorities,
    pub(super) board: LaneBoard,
    pub(super) intake: Arc<Intake>,
    pub(super) lease: Lease,
    pub(super) clock: Clock,
}

impl OwnChecks {
    /// What is found now.
    pub(super) fn report(&self) -> CheckReport {
        let now = self.clock.now();
        let (runs, _, _) = self.intake.position();
        let refused = self.intake.refused.borrow().clone();
        let refused = refused.map(|refused| format!("{}: {}", refused.version, refused.error));
        let identity = self.identity.borrow().clone();
        let checks = vec![
            looked("identity", || identified(identity.as_deref(), now)),
            looked("authority", || believed(self.authorities.now().last_end(), now)),
            looked("lanes", || connected(&self.board)),
            looked("purges", || {
                let is_certain = self.lease.is_certain(now);
                let lag = self.lease.lag();
                let how = if is_certain { "every purge is known" } else { "purges may be unknown" };
                (is_certain, format!("{how}, {lag} not applied yet"))
            }),
        ];
        CheckReport { runs, refused, checks }
    }
}

/// How long something is left, in words.
pub(crate) fn left(left: Duration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn looked(name: &str, look: impl FnOnce() -> (bool, String)) -> Check {
    let began = Instant::now();
    let (is_ok, found) = look();
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Check { check: name.to_owned(), is_ok, found, took_ms }
}

fn identified(identity: Option<&Identity>, now: SystemTime) -> (bool, String) {
    let Some(identity) = identity else {
        return (false, "this node is not enrolled".to_owned());
    };
    let (remains, life) = identity.life(now);
    let name = format!("{}/{}", identity.pop, identity.node);
    if remains.is_zero() {
        return (false, format!("the certificate of {name} has ended"));
    }
    // It is renewed at half of its life: with a third left that has failed for long.
    (remains >= life / 3, format!("{name}, good for {} more", left(remains)))
}

fn believed(end: Option<SystemTime>, now: SystemTime) -> (bool, String) {
    match end {
        Some(end) => {
            let remains = end.duration_since(now).unwrap_or_default();
            let found = format!("the control plane's authority lasts {} more", left(remains));
            (remains >= AUTHORITY_LEFT_MIN, found)
        }
        None => (false, "no authority that can be read".to_owned()),
    }
}

fn connected(board: &LaneBoard) -> (bool, String) {
    let all = board.all();
    let mut found = Vec::new();
    let mut is_ok = true;
    for ((kind, number), state) in &all {
        let name = if *number == 0 { (*kind).to_owned() } else { format!("{kind} {number}") };
        found.push(match state {
            LaneState::Open(since, endpoint) => {
                format!("{name} at {endpoint} for {} s", since.elapsed().as_secs())
            }
            LaneState::Closed(why) => {
                is_ok = false;
                format!("{name} CLOSED: {why}")
            }
        });
    }
    (is_ok, found.join("; "))
}

/// An authority lasts ten years: whoever has a month left has to act.
const AUTHORITY_LEFT_MIN: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_good_when_all_are_open() {
        let board = LaneBoard::default();
        board.begin(("config", 0));
        board.begin(("purges", 1));
        board.opened(("config", 0), "a:1".to_owned());
        let (is_ok, found) = connected(&board);
        assert!(!is_ok && found.contains("config at a:1 for 0 s"), "{found}");
        assert!(found.contains("purges 1 CLOSED: not opened yet"), "{found}");
        board.opened(("purges", 1), "b:1".to_owned());
        assert!(connected(&board).0);
        board.closed(("config", 0), &"refused");
        assert!(!connected(&board).0);
    }

    #[test]
    fn an_authority_that_ends_soon_is_not_good() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (left, is_ok) in [(0, false), (86_400, false), (31 * 86_400, true)] {
            let (found, text) = believed(Some(now + Duration::from_secs(left)), now);
            assert_eq!(found, is_ok, "{text}");
        }
        assert!(!believed(None, now).0);
        assert!(!identified(None, now).0);
    }

    #[test]
    fn what_is_left_is_said_in_few_digits() {
        let said = |seconds| left(Duration::from_secs(seconds));
        let words = [90, 7200, 172_800, 86_400_000].map(said);
        assert_eq!(words, ["1 min", "2 h", "2 days", "1000 days"]);
    }
}
