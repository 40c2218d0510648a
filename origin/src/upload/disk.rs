//! How much space is left where the spool lies.

use std::path::Path;

/// Free bytes for this process on the file system of a path; `None` when the system does not say.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let facts = rustix::fs::statvfs(path).ok()?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Whether bytes may be taken without going below the watermark.
pub(super) fn has_room(free: Option<u64>, bytes: u64, free_min: u64) -> bool {
    // Without an answer the write itself will tell.
    free.is_none_or(|free| free.saturating_sub(bytes) >= free_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_holds_after_the_bytes_were_taken() {
        for (free, bytes, has) in [
            (Some(100), 50, true),
            (Some(100), 51, false),
            (Some(10), 100, false),
            (None, u64::MAX, true),
        ] {
            assert_eq!(has_room(free, bytes, 50), has, "{free:?} {bytes}");
        }
    }

    #[test]
    fn this_machine_has_space_and_nowhere_has_none() {
        assert!(free_bytes(&std::env::temp_dir()).is_some());
        assert_eq!(free_bytes(Path::new("/nowhere/at/all")), None);
    }
}
