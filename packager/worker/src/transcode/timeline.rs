//! Where decoded frames stand on the presentation's line of time.
//!
//! The line begins at zero with the earlier of the two tracks and only goes forward. Containers made of broadcast
//! packets may jump in the middle (a recording that was joined or whose clock wrapped); there the line goes on as if
//! nothing had happened.

/// Places the frames of one track.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    /// What is taken off every time; set by the first frame when the container did not say.
    offset: Option<i64>,
    /// Where the frame before this one stands, and where it ends.
    last: Option<(i64, i64)>,
    /// A step beyond this is a jump; absent when the container cannot jump.
    jump_min: Option<i64>,
}

impl Timeline {
    /// For a track that begins `offset` ticks into its own time; steps ahead of at least `jump_min` are jumps, and so
    /// are steps back of a hundredth of it.
    pub(super) fn new(offset: Option<i64>, jump_min: Option<i64>) -> Self {
        Self { offset, last: None, jump_min }
    }

    /// Where a frame of this time and length stands, in ticks; frames without a time follow the one before.
    pub(super) fn place(&mut self, time: Option<i64>, length: i64) -> i64 {
        let length = length.max(1);
        let due = self.last.map_or(0, |(_, end)| end);
        let place = match time {
            None => due,
            Some(time) => {
                let offset = *self.offset.get_or_insert(time);
                let place = time.saturating_sub(offset);
                if self.last.is_some() && self.is_jump(place.saturating_sub(due)) {
                    self.offset = Some(time.saturating_sub(due));
                    due
                } else {
                    place
                }
            }
        };
        let place = self.last.map_or(place, |(last, _)| place.max(last.saturating_add(1)));
        self.last = Some((place, place.saturating_add(length)));
        place
    }

    /// Where the last frame ends.
    pub(super) fn end(&self) -> i64 {
        self.last.map_or(0, |(_, end)| end)
    }

    fn is_jump(&self, step: i64) -> bool {
        self.jump_min.is_some_and(|jump_min| step >= jump_min || step <= -jump_min / BACK_PART)
    }
}

/// Clocks never go back; how far frames may without it being a jump is only rounding.
const BACK_PART: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(mut timeline: Timeline, times: &[Option<i64>]) -> Vec<i64> {
        times.iter().map(|time| timeline.place(*time, 10)).collect()
    }

    #[test]
    fn frames_are_placed_from_zero_and_only_forward() {
        for (name, offset, jump_min, times, want) in [
            ("from zero", Some(0), None, &[Some(0), Some(10), Some(20)][..], &[0, 10, 20][..]),
            ("begins late in the file", Some(500), None, &[Some(500), Some(510)], &[0, 10]),
            ("begins after the sound", Some(500), None, &[Some(530), Some(540)], &[30, 40]),
            ("start not known", None, None, &[Some(777), Some(787)], &[0, 10]),
            ("no times at all", Some(0), None, &[None, None, None], &[0, 10, 20]),
            ("a time is missing", Some(0), None, &[Some(0), None, Some(20)], &[0, 10, 20]),
            ("the same twice", Some(0), None, &[Some(0), Some(0), Some(20)], &[0, 1, 20]),
            ("a long still picture", Some(0), None, &[Some(0), Some(5000)], &[0, 5000]),
            ("jump ahead", Some(0), Some(100), &[Some(0), Some(5000), Some(5010)], &[0, 10, 20]),
            (
                "begins anew",
                Some(0),
                Some(500),
                &[Some(0), Some(10), Some(0), Some(10)],
                &[0, 10, 20, 30],
            ),
            ("jump back", Some(900), Some(100), &[Some(900), Some(0), Some(10)], &[0, 10, 20]),
            ("extremes", Some(i64::MAX), None, &[Some(i64::MIN), Some(i64::MAX)], &[i64::MIN, 0]),
        ] {
            assert_eq!(placed(Timeline::new(offset, jump_min), times), want, "{name}");
        }
    }
}
