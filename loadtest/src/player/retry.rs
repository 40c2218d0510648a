//! Whether and when a failed fetch is tried again. Pure.
//!
//! Invariant: the number of tries is limited, and the waits grow up to a limit.

use std::time::Duration;

use super::behaviour::Behaviour;
use crate::kind::{FailureClass, ObjectKind};

/// How long to wait before the next try; `None` when there is none. `failures` counts from 1.
pub(super) fn wait(
    behaviour: &Behaviour,
    kind: ObjectKind,
    class: FailureClass,
    failures: u32,
) -> Option<Duration> {
    let tries = match kind {
        ObjectKind::Multivariant => behaviour.retries_manifest,
        ObjectKind::Playlist | ObjectKind::Steering => behaviour.retries_playlist,
        ObjectKind::Init | ObjectKind::Key | ObjectKind::Segment | ObjectKind::Part => {
            behaviour.retries_segment
        }
    };
    if failures > tries || is_final(class) {
        return None;
    }
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    let wait = behaviour.retry_delay.saturating_mul(1 << doublings);
    Some(wait.min(behaviour.retry_delay_max))
}

/// Whether the same answer would come again: browsers do not ask twice for what a server refused.
fn is_final(class: FailureClass) -> bool {
    match class {
        FailureClass::ClientError | FailureClass::TooLarge => true,
        FailureClass::Dns
        | FailureClass::Connect
        | FailureClass::Handshake
        | FailureClass::Timeout
        | FailureClass::Reset
        | FailureClass::Protocol
        | FailureClass::ServerError
        | FailureClass::Unexpected
        | FailureClass::Truncated
        | FailureClass::Corrupt
        | FailureClass::Manifest
        | FailureClass::Rig => false,
    }
}

/// The wait is at its limit long before.
const DOUBLINGS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_end() {
        let behaviour = Behaviour::default();
        let waits: Vec<_> = (1..=8)
            .map(|failures| {
                wait(&behaviour, ObjectKind::Segment, FailureClass::ServerError, failures)
                    .map(|wait| wait.as_secs())
            })
            .collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), Some(8), Some(8), None, None]);
        let once = |kind, class| wait(&behaviour, kind, class, 2).is_some();
        assert!(!once(ObjectKind::Multivariant, FailureClass::Reset));
        assert!(once(ObjectKind::Playlist, FailureClass::Reset));
        assert!(!once(ObjectKind::Segment, FailureClass::ClientError));
    }
}
