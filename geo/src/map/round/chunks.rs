//! Units in as many parts as there are cores.
//!
//! What each part makes is put together in the order of the units, so that the outcome does not depend on the number
//! of cores.

use std::{num::NonZeroUsize, panic, thread};

/// Maps a slice part by part. `map` gets the index of its part's first entry, and returns one result for each entry.
pub(super) fn map<T: Sync, R: Send>(
    cores: NonZeroUsize,
    all: &[T],
    map: impl Fn(usize, &[T]) -> Vec<R> + Sync,
) -> Vec<R> {
    let size = all.len().div_ceil(cores.get()).max(SIZE_MIN);
    if all.len() <= size {
        return map(0, all);
    }
    thread::scope(|scope| {
        let map = &map;
        let chunks = all.chunks(size).enumerate();
        let running: Vec<_> =
            chunks.map(|(number, part)| scope.spawn(move || map(number * size, part))).collect();
        let mut done = Vec::with_capacity(all.len());
        for part in running {
            match part.join() {
                Ok(results) => done.extend(results),
                Err(panicked) => panic::resume_unwind(panicked),
            }
        }
        done
    })
}

/// A thread for fewer is not worth its start.
const SIZE_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_together_in_order() {
        for (count, cores) in [(0, 4), (1, 4), (1024, 2), (5000, 1), (5000, 3), (5000, 64)] {
            let all: Vec<usize> = (0..count).collect();
            let cores = NonZeroUsize::new(cores).expect("not 0");
            let done = map(cores, &all, |first, part| {
                assert_eq!(part.first().copied().unwrap_or(first), first);
                part.iter().map(|entry| entry * 2).collect()
            });
            assert_eq!(done, all.iter().map(|entry| entry * 2).collect::<Vec<_>>());
        }
    }
}
