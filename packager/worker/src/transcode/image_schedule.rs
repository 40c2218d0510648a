//! Which frames become images.
//!
//! Thumbnails at the plan's times, a picture of the sprite at every step, a still at every second. A time beyond the
//! end of the video gets the last frame, so that a thumbnail never misses.

use tidegate_contract::worker_frame::ImagePlan;

use crate::fraction::{Fraction, frame_ms};

/// One image of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageWanted {
    /// A thumbnail and its number from 1, in the order of the plan.
    Thumbnail(u32),
    /// The next picture of the sprite.
    Sprite,
    /// A still and its number from 1.
    Still(u32),
}

/// Answers frame by frame.
#[derive(Debug)]
pub(super) struct ImageSchedule {
    rate: Fraction,
    /// Times and numbers that are still to come, the earliest last.
    thumbnails: Vec<(u64, u32)>,
    sprite_ms: u64,
    sprites: u64,
    stills: u32,
}

impl ImageSchedule {
    pub(super) fn new(plan: &ImagePlan, rate: Fraction) -> Self {
        let mut thumbnails: Vec<_> = plan.thumbnail_ms.iter().copied().zip(1..).collect();
        thumbnails.sort_unstable_by(|left, right| right.cmp(left));
        Self { rate, thumbnails, sprite_ms: plan.sprite_ms.max(1), sprites: 0, stills: 0 }
    }

    /// When a frame is shown, in milliseconds.
    pub(super) fn at_ms(&self, number: u64) -> u64 {
        frame_ms(number, self.rate)
    }

    /// What the frame of this number, counted from 0, becomes; ask for each frame once and in order.
    pub(super) fn wanted(&mut self, number: u64) -> Vec<ImageWanted> {
        let now_ms = self.at_ms(number);
        let mut wanted = Vec::new();
        while self.thumbnails.last().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            wanted.extend(self.next_thumbnail());
        }
        if self.sprites.saturating_mul(self.sprite_ms) <= now_ms {
            self.sprites += 1;
            wanted.push(ImageWanted::Sprite);
        }
        if u64::from(self.stills) * STILL_MS <= now_ms {
            self.stills += 1;
            wanted.push(ImageWanted::Still(self.stills));
        }
        wanted
    }

    /// What the last frame becomes in the end.
    pub(super) fn rest(&mut self) -> Vec<ImageWanted> {
        std::iter::from_fn(|| self.next_thumbnail()).collect()
    }

    fn next_thumbnail(&mut self) -> Option<ImageWanted> {
        self.thumbnails.pop().map(|(_, number)| ImageWanted::Thumbnail(number))
    }
}

/// One still a second.
const STILL_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::{ImageWanted::*, *};

    fn schedule(thumbnail_ms: &[u64], rate: Fraction) -> ImageSchedule {
        let plan = ImagePlan {
            thumbnail_ms: thumbnail_ms.to_vec(),
            thumbnail_short_side: 360,
            sprite_ms: 500,
            sprite_width: 100,
            sprite_height: 100,
            sprite_columns: 6,
            sprite_rows: 6,
            still_short_side: 360,
        };
        ImageSchedule::new(&plan, rate)
    }

    #[test]
    fn frames_become_images_at_their_times() {
        let mut schedule = schedule(&[900, 0, 5000], Fraction::new(10, 1));
        let made: Vec<_> = (0..20)
            .flat_map(|number| {
                schedule.wanted(number).into_iter().map(move |image| (number, image))
            })
            .collect();
        let want = [
            (0, Thumbnail(2)),
            (0, Sprite),
            (0, Still(1)),
            (5, Sprite),
            (9, Thumbnail(1)),
            (10, Sprite),
            (10, Still(2)),
            (15, Sprite),
        ];
        assert_eq!(made, want);
        assert_eq!(schedule.rest(), [Thumbnail(3)], "beyond the end");
        assert_eq!(schedule.rest(), []);
    }

    #[test]
    fn an_ntsc_second_is_the_first_frame_after_it() {
        let mut schedule = schedule(&[], Fraction::new(30_000, 1001));
        let stills: Vec<u64> = (0..100)
            .filter(|number| schedule.wanted(*number).iter().any(|image| matches!(image, Still(_))))
            .collect();
        assert_eq!(stills, [0, 30, 60, 90]);
    }
}
