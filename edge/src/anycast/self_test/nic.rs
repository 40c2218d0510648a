//! Whether an interface is up, as the kernel says.
//!
//! Invariant: an interface that is not there is not up; one that cannot say (a loopback, a tunnel) is.

use std::fs;

/// Whether the interface is up.
pub(super) fn is_up(name: &str) -> bool {
    let is_plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    is_plain
        && fs::read_to_string(format!("/sys/class/net/{name}/operstate"))
            .is_ok_and(|state| matches!(state.trim(), "up" | "unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_up_and_what_is_not_there_is_not() {
        assert!(is_up("lo"));
        for bad in ["", "no-such-interface", "../lo", ".."] {
            assert!(!is_up(bad), "{bad}");
        }
    }
}
