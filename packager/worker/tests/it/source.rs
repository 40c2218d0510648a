//! Sources as they come: turned, odd, slow, fast, varying, wide, ten bits, in many containers.

use crate::harness::{Clip, audio, decoded_frames, order, plan, psnr, transcode, video};

#[test]
fn a_turned_phone_clip_is_made_upright() {
    let small = ["--seconds", "1", "--width", "180", "--height", "320", "--no-audio"];
    let upright = Clip::generated(&small);
    let turned = Clip::generated(&[&small[..], &["--rotate"]].concat());
    let outcome = transcode(&turned, order(), |probe| {
        assert_eq!((probe.width, probe.height), (180, 320), "displayed, not stored");
        plan(&[video(180, 320)])
    });

    outcome.done();
    let track = outcome.track(0);
    assert_eq!(decoded_frames(&track), (30, 180, 320));
    let db = psnr(&track, &upright, "30");
    assert!(db > 28.0, "{db} dB against the upright clip");
}

#[test]
fn an_ntsc_rate_stays_exact_and_its_gops_aligned() {
    let clip = Clip::generated(&[
        "--seconds",
        "5",
        "--width",
        "160",
        "--height",
        "120",
        "--fps",
        "30000/1001",
    ]);
    let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120), video(80, 60)]));

    assert_eq!(outcome.probe().fps, (30_000, 1001));
    let track = outcome.track(0);
    assert_eq!(track.samples.len(), 150);
    assert_eq!((track.start.timescale, track.samples[0].duration), (30_000, 1001));
    assert_eq!(track.sync_ms(), [0, 1001, 2002, 3003, 4004]);
    assert_eq!(outcome.track(1).sync_ms(), track.sync_ms());
    assert_eq!(outcome.done().duration_ms, 5005);
}

#[test]
fn a_varying_rate_becomes_a_constant_one_of_the_same_length() {
    let clip = Clip::generated(&["--seconds", "4", "--width", "160", "--height", "120", "--vfr"]);
    let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120), audio()]));

    let done = outcome.done();
    assert!(done.frames < 120, "some are left out in the source: {}", done.frames);
    let (num, den) = outcome.probe().fps;
    let track = outcome.track(0);
    let expected = 4 * u64::from(num) / u64::from(den);
    assert!(track.samples.len().abs_diff(expected as usize) <= 1, "{}", track.samples.len());
    assert!(done.duration_ms.abs_diff(4000) <= 60, "{}", done.duration_ms);
}

#[test]
fn a_fast_source_keeps_every_second_frame() {
    let clip = Clip::from_ffmpeg(
        "fast.mp4",
        "-f lavfi -i testsrc2=s=160x120:r=120:d=2 -c:v libx264 -preset ultrafast",
    );
    let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120)]));

    assert_eq!(outcome.probe().fps, (60, 1));
    assert_eq!(outcome.done().frames, 240);
    assert_eq!(outcome.track(0).samples.len(), 120);
}

#[test]
fn odd_sizes_and_other_pixel_shapes_are_scaled_to_the_plan() {
    for (name, arguments, displayed, frames) in [
        (
            "odd",
            "-f lavfi -i testsrc=s=161x121:r=25:d=1 -c:v libx264 -preset ultrafast -pix_fmt yuv444p",
            (161, 121),
            25,
        ),
        (
            "anamorphic",
            "-f lavfi -i testsrc2=s=180x240:r=25:d=1,setsar=16/9 -c:v libx264 -preset ultrafast",
            (320, 240),
            25,
        ),
        (
            "ten bits",
            "-f lavfi -i testsrc2=s=160x120:r=25:d=1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p10le",
            (160, 120),
            25,
        ),
        (
            "full range",
            "-f lavfi -i testsrc2=s=160x120:r=25:d=1 -c:v libx264 -preset ultrafast -pix_fmt yuvj420p",
            (160, 120),
            25,
        ),
        (
            "interlaced",
            "-f lavfi -i testsrc2=s=160x120:r=50:d=1,interlace -c:v libx264 -preset ultrafast -flags +ildct+ilme",
            (160, 120),
            25,
        ),
        (
            "HDR10",
            "-f lavfi -i testsrc2=s=160x120:r=25:d=1 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le \
             -color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc -x265-params log-level=none",
            (160, 120),
            25,
        ),
        (
            "HLG of odd height",
            "-f lavfi -i testsrc2=s=162x122:r=25:d=1 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le \
             -color_trc arib-std-b67 -color_primaries bt2020 -colorspace bt2020nc -x265-params log-level=none",
            (162, 122),
            25,
        ),
    ] {
        let clip = Clip::from_ffmpeg("source.mp4", arguments);
        let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120)]));
        let probe = outcome.probe();
        assert_eq!((probe.width, probe.height), displayed, "{name}");
        assert_eq!(outcome.done().frames, frames, "{name}");
        assert_eq!(decoded_frames(&outcome.track(0)), (25, 160, 120), "{name}");
    }
}

#[test]
fn colours_of_full_range_and_standard_definition_are_kept() {
    for pixels in ["yuvj420p -color_range pc -colorspace bt470bg", "yuv420p -colorspace smpte170m"]
    {
        let clip = Clip::from_ffmpeg(
            "colours.mp4",
            &format!(
                "-f lavfi -i smptebars=s=320x240:r=10:d=1 -c:v libx264 -crf 10 -pix_fmt {pixels}"
            ),
        );
        let outcome = transcode(&clip, order(), |_| plan(&[video(320, 240)]));
        outcome.done();
        let grey = rgb_of_bars(&outcome);
        // smptebars begin with 75 % grey, yellow, cyan.
        for (place, want) in [(0, [191, 191, 191]), (1, [191, 191, 0]), (2, [0, 191, 191])] {
            let near = grey[place].iter().zip(want).all(|(is, want)| is.abs_diff(want) <= 8);
            assert!(near, "{pixels}: bar {place} is {:?}", grey[place]);
        }
    }
}

#[test]
fn many_containers_and_codecs_are_read() {
    let source = "-f lavfi -i testsrc2=s=160x120:r=25:d=2 -f lavfi -i sine=d=2";
    for (name, encoding) in [
        ("a.mov", "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le"),
        ("a.mkv", "-c:v libx264 -preset ultrafast -c:a libvorbis"),
        ("a.webm", "-c:v libvpx -deadline realtime -c:a libopus"),
        ("b.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus"),
        ("a.avi", "-c:v mpeg4 -c:a mp3"),
        ("a.flv", "-c:v flv1 -c:a aac"),
        ("a.ts", "-c:v libx264 -preset ultrafast -c:a aac"),
        ("a.mpg", "-c:v mpeg2video -c:a mp2"),
        ("a.ogv", "-c:v libtheora -c:a libvorbis"),
        ("a.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none -c:a ac3"),
        ("av1.mp4", "-c:v libsvtav1 -preset 12 -c:a aac"),
    ] {
        let clip = Clip::from_ffmpeg(name, &format!("{source} {encoding}"));
        let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120), audio()]));
        let done = outcome.done();
        assert_eq!(done.audio_note, "", "{name}");
        assert!(done.duration_ms.abs_diff(2000) <= 80, "{name}: {} ms", done.duration_ms);
        assert_eq!(decoded_frames(&outcome.track(0)).1, 160, "{name}");
        let sound_ms = outcome.track(1).length_ms();
        assert!(sound_ms.abs_diff(2000) <= 80, "{name}: sound of {sound_ms} ms");
    }
}

#[test]
fn a_picture_size_that_changes_in_the_middle_is_brought_back() {
    let part = |size: &str| {
        let arguments =
            format!("-f lavfi -i testsrc2=s={size}:r=25:d=1 -c:v libx264 -preset ultrafast");
        Clip::from_ffmpeg("part.ts", &arguments).bytes()
    };
    let joined = [part("160x120"), part("320x180"), part("96x160")].concat();
    let clip = Clip::of_bytes("joined.ts", &joined);
    let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120)]));

    assert_eq!(outcome.done().frames, 75);
    let (frames, width, height) = decoded_frames(&outcome.track(0));
    assert_eq!((width, height), (160, 120));
    assert!(frames.abs_diff(75) <= 2, "clocks that begin anew are one line of time: {frames}");
}

#[test]
fn sound_that_begins_before_the_picture_stays_with_it() {
    let clip = Clip::from_ffmpeg(
        "late.mkv",
        "-itsoffset 1 -f lavfi -i testsrc2=s=160x120:r=25:d=2 -f lavfi -i sine=d=3 \
         -c:v libx264 -preset ultrafast -c:a pcm_s16le",
    );
    let outcome = transcode(&clip, order(), |_| plan(&[video(160, 120), audio()]));

    let done = outcome.done();
    assert_eq!(done.duration_ms, 3000, "the first picture stands until the second comes");
    assert_eq!(outcome.track(0).samples.len(), 75);
}

/// The colours of the first bars of the first picture.
fn rgb_of_bars(outcome: &crate::harness::Outcome) -> Vec<[u8; 3]> {
    let stream = Clip::of_bytes("bars.h264", &crate::harness::annex_b(&outcome.track(0)));
    let path = stream.path();
    let pixels = crate::harness::ffmpeg([
        "-i",
        path.to_str().expect("a plain path"),
        "-frames:v",
        "1",
        "-vf",
        "scale=320:240:in_color_matrix=bt709:in_range=tv",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]);
    let bar = 320 / 7;
    (0..3)
        .map(|place| {
            let at = (50 * 320 + place * bar + bar / 2) * 3;
            [pixels[at], pixels[at + 1], pixels[at + 2]]
        })
        .collect()
}
