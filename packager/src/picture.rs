//! Thumbnails, sprite sheets and stills of one run.
//!
//! The worker's pictures are opaque bytes: what is checked is that the plan asked for them, that none comes twice
//! and that they begin like their kind.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_contract::{
    media_path::{ImageName, MediaObject},
    worker_frame::{Image, ImageKind, ImagePlan},
};

use crate::{
    manifest::{SpriteGrid, sprite_vtt},
    output::{Output, OutputError},
};

/// The pictures that have arrived.
#[derive(Debug)]
pub struct Pictures {
    plan: Option<ImagePlan>,
    duration_ms_max: u64,
    seen: BTreeSet<(u8, u32)>,
    names: Vec<String>,
    stills: u32,
    sheets: u32,
}

/// Why a picture is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Not in the plan, or for the second time.
    #[error("picture {number} of kind {kind:?} was not asked for")]
    Unasked {
        /// Its kind.
        kind: ImageKind,
        /// Its number.
        number: u32,
    },
    /// Other bytes than its kind has.
    #[error("picture {number} of kind {kind:?} does not begin like one")]
    Form {
        /// Its kind.
        kind: ImageKind,
        /// Its number.
        number: u32,
    },
    /// It could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Pictures {
    /// For a run with this plan on an upload of at most this length.
    #[must_use]
    pub fn new(plan: Option<ImagePlan>, duration_ms_max: u64) -> Self {
        Self {
            plan,
            duration_ms_max,
            seen: BTreeSet::new(),
            names: Vec::new(),
            stills: 0,
            sheets: 0,
        }
    }

    /// Writes a picture.
    ///
    /// # Errors
    /// [`PictureError`].
    pub async fn take(&mut self, image: Image, output: &mut Output) -> Result<(), PictureError> {
        let Image { kind, number, data, .. } = image;
        if number == 0 || number > self.count_max(kind) || !self.seen.insert((kind as u8, number)) {
            return Err(PictureError::Unasked { kind, number });
        }
        if !begins_like(kind, &data) {
            return Err(PictureError::Form { kind, number });
        }
        let name = match kind {
            ImageKind::ThumbnailJpeg => format!("thumb-{number}.jpg"),
            ImageKind::ThumbnailWebp => format!("thumb-{number}.webp"),
            ImageKind::Sprite => {
                self.sheets = self.sheets.max(number);
                format!("sprite-{number}.jpg")
            }
            ImageKind::Still => {
                output.put_still(number, data.into()).await?;
                self.stills += 1;
                return Ok(());
            }
        };
        self.write(name, data.into(), output).await
    }

    /// Writes the index of the sprite sheets; a run without sheets has none.
    ///
    /// # Errors
    /// [`PictureError`].
    pub async fn finish(
        &mut self,
        pictures: u32,
        duration_ms: u64,
        output: &mut Output,
    ) -> Result<(), PictureError> {
        let Some(plan) = self.plan.as_ref().filter(|_| self.sheets > 0) else { return Ok(()) };
        let per_sheet = plan.sprite_columns * plan.sprite_rows;
        let grid = SpriteGrid {
            every_ms: plan.sprite_ms,
            width: plan.sprite_width,
            height: plan.sprite_height,
            columns: plan.sprite_columns,
            per_sheet,
        };
        // The worker's count is believed only as far as sheets have arrived.
        let pictures = pictures.min(self.sheets.saturating_mul(per_sheet));
        let text = sprite_vtt(grid, pictures, duration_ms);
        self.write("sprite.vtt".into(), text.into(), output).await
    }

    /// File names of what has arrived, for a publication.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Stills that have arrived.
    #[must_use]
    pub fn stills(&self) -> u32 {
        self.stills
    }

    async fn write(
        &mut self,
        name: String,
        data: Bytes,
        output: &mut Output,
    ) -> Result<(), PictureError> {
        let object = ImageName::parse(&name).expect("made of plain words and a number");
        output.put(MediaObject::Image(object), data).await?;
        self.names.push(name);
        Ok(())
    }

    fn count_max(&self, kind: ImageKind) -> u32 {
        let Some(plan) = &self.plan else { return 0 };
        let count = match kind {
            ImageKind::ThumbnailJpeg | ImageKind::ThumbnailWebp => plan.thumbnail_ms.len() as u64,
            ImageKind::Sprite => {
                let per_sheet = u64::from(plan.sprite_columns * plan.sprite_rows).max(1);
                let pictures = self.duration_ms_max / plan.sprite_ms.max(1) + 2;
                pictures.div_ceil(per_sheet)
            }
            ImageKind::Still => self.duration_ms_max / 1000 + 2,
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

fn begins_like(kind: ImageKind, data: &[u8]) -> bool {
    match kind {
        ImageKind::ThumbnailWebp => {
            data.starts_with(b"RIFF") && data.get(8..12).is_some_and(|word| word == b"WEBP")
        }
        _ => data.starts_with(&[0xff, 0xd8, 0xff]),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use prometheus::Registry;
    use tidegate_contract::id::MediaId;

    use super::*;
    use crate::{metrics::Metrics, store::Store};

    fn plan() -> ImagePlan {
        ImagePlan {
            thumbnail_ms: vec![0, 500],
            thumbnail_short_side: 64,
            sprite_ms: 1000,
            sprite_width: 32,
            sprite_height: 18,
            sprite_columns: 2,
            sprite_rows: 2,
            still_short_side: 64,
        }
    }

    fn image(kind: ImageKind, number: u32) -> Image {
        let data = match kind {
            ImageKind::ThumbnailWebp => b"RIFF\0\0\0\0WEBPVP8 ".to_vec(),
            _ => vec![0xff, 0xd8, 0xff, 0xe0],
        };
        Image { kind, number, at_ms: 0, data }
    }

    fn output() -> Output {
        let media = MediaId::parse("m1").expect("an id");
        let metrics = Metrics::register(&Registry::new());
        Output::new(Store::of(Arc::new(InMemory::new())), media, 1, metrics, 1_000_000)
    }

    #[tokio::test]
    async fn what_was_asked_for_is_published() {
        let (mut pictures, mut output) = (Pictures::new(Some(plan()), 5000), output());
        for (kind, number) in [
            (ImageKind::ThumbnailJpeg, 1),
            (ImageKind::ThumbnailWebp, 1),
            (ImageKind::Still, 1),
            (ImageKind::Still, 2),
            (ImageKind::Sprite, 1),
        ] {
            pictures.take(image(kind, number), &mut output).await.expect("asked for");
        }
        pictures.finish(3, 2500, &mut output).await.expect("written");
        assert_eq!(pictures.names(), ["thumb-1.jpg", "thumb-1.webp", "sprite-1.jpg", "sprite.vtt"]);
        assert_eq!(pictures.stills(), 2);
    }

    #[tokio::test]
    async fn what_was_not_is_refused() {
        let mut output = output();
        let mut none = Pictures::new(None, 5000);
        assert!(none.take(image(ImageKind::Still, 1), &mut output).await.is_err());
        let mut pictures = Pictures::new(Some(plan()), 5000);
        for number in [0, 3, u32::MAX] {
            let refused = pictures.take(image(ImageKind::ThumbnailJpeg, number), &mut output).await;
            assert!(matches!(refused, Err(PictureError::Unasked { .. })), "{number}");
        }
        pictures.take(image(ImageKind::Still, 1), &mut output).await.expect("asked for");
        let again = pictures.take(image(ImageKind::Still, 1), &mut output).await;
        assert!(matches!(again, Err(PictureError::Unasked { .. })), "twice");
        let text = Image { data: b"<svg>".to_vec(), ..image(ImageKind::Still, 2) };
        let refused = pictures.take(text, &mut output).await;
        assert!(matches!(refused, Err(PictureError::Form { .. })), "{refused:?}");
    }
}
