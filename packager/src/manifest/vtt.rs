//! WebVTT index of the sprite sheets: which part of which picture belongs to which time.

use std::fmt::Write;

/// How pictures lie on the sheets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpriteGrid {
    /// Distance of the pictures in milliseconds.
    pub every_ms: u64,
    /// Width of one picture.
    pub width: u32,
    /// Height of one picture.
    pub height: u32,
    /// Pictures in a row.
    pub columns: u32,
    /// Pictures on a sheet.
    pub per_sheet: u32,
}

/// The index of `pictures` pictures; the last one lasts until the end.
#[must_use]
pub fn sprite_vtt(grid: SpriteGrid, pictures: u32, duration_ms: u64) -> String {
    let mut text = String::from("WEBVTT\n");
    for picture in 0..pictures {
        let begins = u64::from(picture) * grid.every_ms;
        let is_last = picture + 1 == pictures;
        let ends = if is_last { duration_ms } else { begins + grid.every_ms };
        if ends <= begins {
            break;
        }
        let (sheet, place) = (picture / grid.per_sheet, picture % grid.per_sheet);
        let (x, y) = (place % grid.columns * grid.width, place / grid.columns * grid.height);
        let (begins, ends) = (clock(begins), clock(ends));
        let (width, height) = (grid.width, grid.height);
        writeln!(
            text,
            "\n{begins} --> {ends}\nsprite-{}.jpg#xywh={x},{y},{width},{height}",
            sheet + 1
        )
        .expect("writing into memory");
    }
    text
}

fn clock(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: SpriteGrid =
        SpriteGrid { every_ms: 2000, width: 168, height: 300, columns: 2, per_sheet: 4 };

    #[test]
    fn pictures_go_along_rows_and_on_to_the_next_sheet() {
        let text = sprite_vtt(GRID, 5, 3_605_500);
        assert!(text.starts_with(
            "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nsprite-1.jpg#xywh=0,0,168,300\n"
        ));
        assert!(text.contains("00:00:06.000 --> 00:00:08.000\nsprite-1.jpg#xywh=168,300,168,300"));
        assert!(text.ends_with("00:00:08.000 --> 01:00:05.500\nsprite-2.jpg#xywh=0,0,168,300\n"));
    }

    #[test]
    fn no_cue_ends_before_it_begins() {
        assert_eq!(sprite_vtt(GRID, 1, 0), "WEBVTT\n");
        assert_eq!(sprite_vtt(GRID, 0, 9), "WEBVTT\n");
    }
}
