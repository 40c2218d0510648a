//! Thumbnails, sprite sheets and stills from the same pass.

use tidegate_contract::worker_frame::{Image, ImageKind, Plan};

use crate::harness::{Clip, ffmpeg, images, order, plan, transcode, video};

#[test]
fn images_of_every_kind_come_with_their_times() {
    let clip = Clip::generated(&["--seconds", "4", "--width", "320", "--height", "240"]);
    let wanted = images(&[0, 2000, 60_000]);
    let outcome =
        transcode(&clip, order(), |_| Plan { images: Some(wanted), ..plan(&[video(160, 120)]) });

    assert_eq!(outcome.done().sprite_pictures, 8);
    for kind in [ImageKind::ThumbnailJpeg, ImageKind::ThumbnailWebp] {
        let thumbnails = outcome.images(kind);
        let times: Vec<_> = thumbnails.iter().map(|image| (image.number, image.at_ms)).collect();
        assert_eq!(times, [(1, 0), (2, 2000), (3, 3966)], "the last is the last frame");
        assert!(thumbnails.iter().all(|image| size(image) == (160, 120)));
    }
    let sheets = outcome.images(ImageKind::Sprite);
    let times: Vec<_> = sheets.iter().map(|image| (image.number, image.at_ms)).collect();
    assert_eq!(times, [(1, 0), (2, 3000)]);
    assert!(sheets.iter().all(|image| size(image) == (3 * 64, 2 * 48)));
    let stills = outcome.images(ImageKind::Still);
    let times: Vec<_> = stills.iter().map(|image| (image.number, image.at_ms)).collect();
    assert_eq!(times, [(1, 0), (2, 1000), (3, 2000), (4, 3000)]);
    assert_eq!(size(stills[0]), (84, 64));
}

#[test]
fn images_are_not_enlarged() {
    let clip =
        Clip::generated(&["--seconds", "1", "--width", "64", "--height", "48", "--no-audio"]);
    let outcome = transcode(&clip, order(), |_| Plan {
        images: Some(images(&[0])),
        ..plan(&[video(64, 48)])
    });
    outcome.done();
    assert_eq!(size(outcome.images(ImageKind::ThumbnailJpeg)[0]), (64, 48));
}

#[test]
fn a_thumbnail_shows_the_frame_of_its_time() {
    let clip = Clip::from_ffmpeg(
        "colours.mp4",
        "-f lavfi -i color=red:s=160x120:r=10:d=1 -f lavfi -i color=blue:s=160x120:r=10:d=1 \
         -filter_complex [0][1]concat -c:v libx264",
    );
    let outcome = transcode(&clip, order(), |_| Plan {
        images: Some(images(&[500, 1500])),
        ..plan(&[video(160, 120)])
    });
    outcome.done();
    let thumbnails = outcome.images(ImageKind::ThumbnailJpeg);
    let [red, _, blue] = middle(thumbnails[0]);
    assert!(red > 200 && blue < 60, "{:?}", middle(thumbnails[0]));
    let [red, _, blue] = middle(thumbnails[1]);
    assert!(red < 60 && blue > 200, "{:?}", middle(thumbnails[1]));
}

/// Width and height as ffmpeg decodes it.
fn size(image: &Image) -> (u32, u32) {
    let file = file(image);
    let path = file.path();
    let text = ffmpeg(["-i", path.to_str().expect("plain"), "-f", "framecrc", "-"]);
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("#dimensions 0: "));
    let (width, height) = line.expect("a size").split_once('x').expect("two numbers");
    (width.parse().expect("a number"), height.parse().expect("a number"))
}

fn middle(image: &Image) -> [u8; 3] {
    let file = file(image);
    let path = file.path();
    let path = path.to_str().expect("plain");
    let pixels = ffmpeg([
        "-i",
        path,
        "-vf",
        "crop=2:2,format=rgb24",
        "-f",
        "rawvideo",
        "-frames:v",
        "1",
        "-",
    ]);
    [pixels[0], pixels[1], pixels[2]]
}

fn file(image: &Image) -> Clip {
    let name = if image.kind == ImageKind::ThumbnailWebp { "image.webp" } else { "image.jpg" };
    Clip::of_bytes(name, &image.data)
}
