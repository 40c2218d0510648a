//! The demo clip and the list of encoders.

use std::process::Command;

use crate::harness::{Clip, program};

#[test]
fn the_clip_has_what_was_asked_for() {
    let clip = Clip::generated(&["--seconds", "2", "--width", "90", "--height", "160"]);
    let made = streams(&clip);
    assert_eq!(made[0], "h264,90,160,30/1,60");
    assert!(made[1].starts_with("aac,"), "{made:?}");
    let silent =
        Clip::generated(&["--seconds", "1", "--width", "90", "--height", "160", "--no-audio"]);
    assert_eq!(streams(&silent).len(), 1);
}

#[test]
fn a_size_or_rate_that_makes_no_sense_is_refused() {
    for arguments in [["--width", "0"], ["--seconds", "0"], ["--fps", "0/1"], ["--fps", "x"]] {
        let output = program().args(["generate", "--output", "/nowhere"]).args(arguments).output();
        assert_eq!(output.expect("the worker starts").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn software_encoders_are_listed() {
    let output = program().arg("encoders").output().expect("the worker starts");
    let said = String::from_utf8(output.stdout).expect("names");
    assert_eq!(said.lines().collect::<Vec<_>>(), ["libx264", "libx265"]);
}

/// Codec, width, height, rate and number of frames of each stream.
fn streams(clip: &Clip) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name,width,height,r_frame_rate,nb_frames",
        ])
        .args(["-of", "csv=p=0"])
        .arg(clip.path())
        .output()
        .expect("the ffprobe command is installed for tests");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}
