//! Thumbnails, sprite sheets and stills from the pictures that are decoded anyway.
//!
//! One thread makes all of them. Images never enlarge: a source smaller than asked for gives images of its own size.

use std::sync::mpsc::Receiver;

use ffmpeg_next::Error;
use tidegate_contract::worker_frame::{Frame, Image, ImageKind};

use super::{image_schedule::ImageWanted, lag::SharedPicture, shared::Shared, wish::ImageWish};
use crate::{
    codec::{ImageEncoder, ImageFormat},
    failure::RunError,
    ffi::{
        kernel,
        libav::{self, PictureFormat},
    },
};

/// A picture and the images that it becomes.
pub(super) struct ImageTask<'a> {
    pub(super) picture: SharedPicture<'a>,
    pub(super) wanted: Vec<ImageWanted>,
    pub(super) at_ms: u64,
}

struct Maker<'a> {
    shared: &'a Shared<'a>,
    thumbnail_jpeg: ImageEncoder,
    thumbnail_webp: ImageEncoder,
    sprite: ImageEncoder,
    still: ImageEncoder,
    sheet_pictures: u32,
    sprites: u32,
    sheet_at_ms: u64,
}

/// Makes all images of the queue; gives the number of pictures on the sprite sheets.
pub(super) fn run(
    wish: &ImageWish,
    displayed: (u32, u32),
    tasks: Receiver<ImageTask<'_>>,
    shared: &Shared<'_>,
) -> Result<u32, RunError> {
    kernel::lower_thread_priority(NICE);
    let mut maker = None;
    while let Ok(task) = tasks.recv() {
        let maker = match &mut maker {
            Some(maker) => maker,
            none => {
                let format = libav::picture_format(&task.picture.picture);
                none.insert(Maker::open(wish, displayed, format, shared).map_err(failed)?)
            }
        };
        for wanted in &task.wanted {
            maker.make(*wanted, &task)?;
        }
    }
    match maker.filter(|_| !shared.is_stopped()) {
        Some(maker) => maker.finish(),
        None => Ok(0),
    }
}

impl<'a> Maker<'a> {
    fn open(
        wish: &ImageWish,
        displayed: (u32, u32),
        input: PictureFormat,
        shared: &'a Shared<'a>,
    ) -> Result<Self, Error> {
        let plan = &wish.plan;
        let thumbnail = fitted(displayed, plan.thumbnail_short_side);
        let still = fitted(displayed, plan.still_short_side);
        let sheet = (plan.sprite_columns, plan.sprite_rows);
        let cell = (plan.sprite_width, plan.sprite_height);
        Ok(Self {
            shared,
            thumbnail_jpeg: ImageEncoder::open(ImageFormat::Jpeg, input, thumbnail)?,
            thumbnail_webp: ImageEncoder::open(ImageFormat::Webp, input, thumbnail)?,
            sprite: ImageEncoder::open_sheet(input, cell, sheet)?,
            still: ImageEncoder::open(ImageFormat::Jpeg, input, still)?,
            sheet_pictures: plan.sprite_columns * plan.sprite_rows,
            sprites: 0,
            sheet_at_ms: 0,
        })
    }

    fn make(&mut self, wanted: ImageWanted, task: &ImageTask<'_>) -> Result<(), RunError> {
        let own = || libav::share(&task.picture.picture).map_err(failed);
        let at_ms = task.at_ms;
        match wanted {
            ImageWanted::Thumbnail(number) => {
                let jpeg = self.thumbnail_jpeg.make(own()?).map_err(failed)?;
                self.send(ImageKind::ThumbnailJpeg, number, at_ms, jpeg)?;
                let webp = self.thumbnail_webp.make(own()?).map_err(failed)?;
                self.send(ImageKind::ThumbnailWebp, number, at_ms, webp)
            }
            ImageWanted::Still(number) => {
                let jpeg = self.still.make(own()?).map_err(failed)?;
                self.send(ImageKind::Still, number, at_ms, jpeg)
            }
            ImageWanted::Sprite => {
                if self.sprites.is_multiple_of(self.sheet_pictures) {
                    self.sheet_at_ms = at_ms;
                }
                self.sprites += 1;
                let sheet = self.sprite.make(own()?).map_err(failed)?;
                self.send(ImageKind::Sprite, self.sheet(), self.sheet_at_ms, sheet)
            }
        }
    }

    fn finish(mut self) -> Result<u32, RunError> {
        let sheet = self.sprite.finish().map_err(failed)?;
        self.send(ImageKind::Sprite, self.sheet(), self.sheet_at_ms, sheet)?;
        Ok(self.sprites)
    }

    /// The number of the sheet that holds the last picture.
    fn sheet(&self) -> u32 {
        self.sprites.div_ceil(self.sheet_pictures)
    }

    fn send(
        &self,
        kind: ImageKind,
        number: u32,
        at_ms: u64,
        data: Option<Vec<u8>>,
    ) -> Result<(), RunError> {
        match data {
            Some(data) => {
                Ok(self.shared.send(&Frame::Image(Image { kind, number, at_ms, data }))?)
            }
            None => Ok(()),
        }
    }
}

/// The size with this short side and the displayed shape, even, and not larger than what is displayed.
fn fitted((width, height): (u32, u32), short_side: u32) -> (u32, u32) {
    let short = width.min(height).max(1);
    let target = short_side.min(short);
    let side = |side: u32| {
        let scaled = u64::from(side) * u64::from(target) / u64::from(short);
        u32::try_from(scaled).unwrap_or(SIDE_MAX).clamp(2, SIDE_MAX) & !1
    };
    (side(width), side(height))
}

fn failed(error: Error) -> RunError {
    RunError::internal("make an image", error)
}

/// Images can wait longer than any rung but the largest.
const NICE: i32 = 5;
/// What JPEG and WebP can both be.
const SIDE_MAX: u32 = 16_382;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_keep_the_displayed_shape_and_are_never_enlarged() {
        for (displayed, short_side, want) in [
            ((1080, 1920), 360, (360, 640)),
            ((1920, 1080), 360, (640, 360)),
            ((320, 241), 360, (320, 240)),
            ((17, 10_000), 360, (16, 10_000)),
            ((16, 60_000), 360, (16, SIDE_MAX)),
        ] {
            assert_eq!(fitted(displayed, short_side), want, "{displayed:?}");
        }
    }
}
