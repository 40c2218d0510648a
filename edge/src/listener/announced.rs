//! How much body a response's head announces, on any protocol. Pure.
//!
//! Invariant: a body ends only when exactly what was announced has been handed over.

use http::StatusCode;

use super::stream::ResponseHead;

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// No body, whatever the headers say: what is handed over is dropped.
    Nothing,
    /// So many bytes.
    Exactly(u64),
    /// As many as come.
    Open,
}

impl Announced {
    /// What this head announces; `None` when its length and its end contradict each other.
    pub(super) fn of(head: &ResponseHead<'_>, is_last: bool, is_head: bool) -> Option<Self> {
        match (is_head || is_bodiless(head.status), head.length, is_last) {
            (true, _, _) => Some(Self::Nothing),
            (false, Some(0) | None, true) => Some(Self::Exactly(0)),
            (false, Some(_), true) => None,
            (false, Some(length), false) => Some(Self::Exactly(length)),
            (false, None, false) => Some(Self::Open),
        }
    }

    /// Takes a piece into account; false when it is too long, or the last and too short.
    pub(super) fn take(&mut self, bytes: usize, is_last: bool) -> bool {
        let Self::Exactly(left) = self else { return true };
        let Some(after) = left.checked_sub(bytes as u64) else { return false };
        *left = after;
        !is_last || after == 0
    }

    /// The body may end here.
    pub(super) fn may_end(self) -> bool {
        !matches!(self, Self::Exactly(1..))
    }
}

/// Statuses whose responses never have a body (RFC 9112 6.3).
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_as_long_as_announced() {
        let mut five = Announced::Exactly(5);
        assert!(five.take(3, false) && !five.may_end());
        assert!(five.take(2, true) && five.may_end());
        assert!(!Announced::Exactly(5).take(6, false));
        assert!(!Announced::Exactly(5).take(4, true));
        assert!(Announced::Open.take(9, true) && Announced::Open.may_end());
        assert!(Announced::Nothing.take(9, true) && Announced::Nothing.may_end());
    }
}
