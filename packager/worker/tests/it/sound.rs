//! Sound: one channel, many channels, none, broken; always 48 kHz AAC that fits the picture.

use crate::harness::{Clip, Track, audio, order, plan, transcode, video};

#[test]
fn one_channel_stays_one_and_many_become_two() {
    for (name, layout, channels) in
        [("mono", "mono", 1), ("stereo", "stereo", 2), ("5.1", "5.1", 2)]
    {
        let clip = Clip::from_ffmpeg(
            "sound.mp4",
            &format!(
                "-f lavfi -i testsrc2=s=96x96:r=25:d=2 -f lavfi -i sine=d=2:sample_rate=44100 \
                 -c:v libx264 -preset ultrafast -af aformat=channel_layouts={layout} -c:a aac"
            ),
        );
        let outcome = transcode(&clip, order(), |probe| {
            assert!(probe.has_audio, "{name}");
            plan(&[video(96, 96), audio()])
        });
        outcome.done();
        let track = outcome.track(1);
        assert_eq!((track.start.timescale, track.start.priming), (48_000, 1024), "{name}");
        assert_eq!(channel_count(&track), channels, "{name}");
        assert!(track.length_ms().abs_diff(2000) <= 30, "{name}: {} ms", track.length_ms());
        assert!(outcome.end_of(1) < outcome.last_sample_of(0), "{name}: sound is flushed first");
    }
}

#[test]
fn a_clip_without_sound_is_made_without_sound() {
    let clip =
        Clip::generated(&["--seconds", "1", "--width", "96", "--height", "96", "--no-audio"]);
    let outcome = transcode(&clip, order(), |probe| {
        assert!(!probe.has_audio);
        plan(&[video(96, 96)])
    });
    assert_eq!(outcome.done().audio_note, "");
}

#[test]
fn sound_that_cannot_be_decoded_does_not_fail_the_video() {
    let clip = Clip::from_ffmpeg(
        "broken.mkv",
        "-f lavfi -i testsrc2=s=96x96:r=25:d=2 -f lavfi -i sine=d=2 \
         -c:v libx264 -preset ultrafast -c:a ac3 -bsf:a noise=amount=1",
    );
    let outcome = transcode(&clip, order(), |_| plan(&[video(96, 96), audio()]));

    assert_eq!(outcome.done().frames, 50);
    assert_eq!(outcome.track(0).samples.len(), 50);
}

#[test]
fn sound_of_a_codec_that_is_not_listed_is_left_out() {
    let clip = Clip::from_ffmpeg(
        "listed.mkv",
        "-f lavfi -i testsrc2=s=96x96:r=25:d=1 -f lavfi -i sine=d=1 \
         -c:v libx264 -preset ultrafast -c:a wavpack",
    );
    let outcome = transcode(&clip, order(), |probe| {
        assert!(!probe.has_audio);
        plan(&[video(96, 96)])
    });
    outcome.done();
}

#[test]
fn a_gap_in_the_sound_becomes_silence() {
    let clip = Clip::from_ffmpeg(
        "gap.mkv",
        "-f lavfi -i testsrc2=s=96x96:r=25:d=3 -f lavfi -i sine=d=3 -c:v libx264 -preset ultrafast \
         -af aselect='not(between(t,1,2))' -c:a pcm_s16le",
    );
    let outcome = transcode(&clip, order(), |_| plan(&[video(96, 96), audio()]));

    assert_eq!(outcome.done().audio_note, "");
    let length_ms = outcome.track(1).length_ms();
    assert!(length_ms.abs_diff(3000) <= 60, "{length_ms} ms");
}

/// The channel configuration of the decoder's settings (ISO/IEC 14496-3, 1.6.2.1), behind tag 5 of the descriptor.
fn channel_count(track: &Track) -> u8 {
    let init = hex::decode(&track.start.init_hex).expect("hex");
    let tag = [0x05, 0x80, 0x80, 0x80];
    let at = init.windows(4).position(|window| window == tag).expect("decoder settings");
    init[at + 6] >> 3 & 0x0F
}
