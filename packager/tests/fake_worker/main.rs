//! A worker for tests: speaks the protocol, decodes nothing, and does what the upload's first line says.
//!
//! The line is a list of words: what to do wrong, or `clip` with `seconds=6`, `sound`, `hevc-fails`. A run holds a
//! lock on the upload for as long as the process lives, so a test can see that it is gone. Samples are bytes
//! without meaning in the right form.

mod clip; // a well-behaved run
mod init; // an init segment as libavformat would mint it

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::FromRawFd,
        unix::{fs::FileExt, net::UnixStream},
    },
};

use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Frame, HEAD_BYTES, Probe, Sample, parse_head},
};

/// The socket to the packager.
struct Wire(UnixStream);

impl Wire {
    fn send(&mut self, frame: &Frame) {
        let bytes = frame.to_bytes().expect("a frame");
        if self.0.write_all(&bytes).is_err() {
            std::process::exit(1);
        }
    }

    fn receive(&mut self) -> Frame {
        let mut head = [0; HEAD_BYTES];
        if self.0.read_exact(&mut head).is_err() {
            std::process::exit(1);
        }
        let (kind, length) = parse_head(head).expect("a head");
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).expect("a payload");
        Frame::parse(kind, &payload).expect("a frame")
    }

    /// Until the packager is gone.
    fn hang(&mut self) -> ! {
        let _ = io::copy(&mut self.0, &mut io::sink());
        std::process::exit(1)
    }
}

fn main() {
    // SAFETY: the packager hands over descriptors 0 and 3, and nothing else here owns them.
    let (upload, mut wire) = unsafe { (File::from_raw_fd(0), Wire(UnixStream::from_raw_fd(3))) };
    let mut text = vec![0; 1024];
    let length = upload.read_at(&mut text, 0).expect("the upload");
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();

    assert!(matches!(wire.receive(), Frame::Order(_)), "the order comes first");
    let has = |word: &str| words.contains(&word);
    if has("hang-before-probe") {
        wire.hang();
    }
    if has("unsupported") {
        let reason = FailureReason::UnsupportedContainer;
        wire.send(&Frame::Failed { reason, detail: "text is no video".into() });
        return;
    }
    if has("sample-before-probe") {
        wire.send(&Frame::Sample(sample(0)));
        wire.hang();
    }
    wire.send(&Frame::Probe(probe(&words)));
    let Frame::Plan(plan) = wire.receive() else { panic!("the plan comes second") };

    // A lock that the test holds is a gate; one that is free tells the test how long this process lives.
    upload.lock().expect("a lock");
    match words.first().copied().unwrap_or_default() {
        "clip" => clip::run(&mut wire, &plan, &words),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "hang" => wire.hang(),
        "loud" => {
            for line in 0..100_000 {
                let _ = writeln!(io::stderr(), "{line} {}", "x".repeat(5000));
            }
            clip::run(&mut wire, &plan, &words);
        }
        "huge-frame" => {
            let _ = wire.0.write_all(&[5, 0xff, 0xff, 0xff, 0xff]);
            wire.hang();
        }
        "unknown-frame" => {
            let _ = wire.0.write_all(&[77, 0, 0, 0, 0]);
            wire.hang();
        }
        "half-frame" => {
            let _ = wire.0.write_all(&[5, 0, 0, 0, 100, 1, 2, 3]);
        }
        "track-out-of-plan" => {
            wire.send(&Frame::Track(clip::start(99, &plan.tracks[0])));
            wire.hang();
        }
        "sample-before-track" => {
            wire.send(&Frame::Sample(sample(0)));
            wire.hang();
        }
        "no-sync" => {
            wire.send(&Frame::Track(clip::start(0, &plan.tracks[0])));
            wire.send(&Frame::Sample(Sample { is_sync: false, ..sample(0) }));
            wire.hang();
        }
        "backwards" => {
            wire.send(&Frame::Track(clip::start(0, &plan.tracks[0])));
            wire.send(&Frame::Sample(sample(5)));
            wire.send(&Frame::Sample(sample(4)));
            wire.hang();
        }
        "endless-segment" => {
            wire.send(&Frame::Track(clip::start(0, &plan.tracks[0])));
            for n in 0.. {
                wire.send(&Frame::Sample(Sample { is_sync: n == 0, ..sample(n) }));
            }
        }
        "not-avc" => {
            let mut start = clip::start(0, &plan.tracks[0]);
            start.init_hex = "00".repeat(40);
            wire.send(&Frame::Track(start));
            wire.hang();
        }
        "empty-track" => {
            wire.send(&Frame::Track(clip::start(0, &plan.tracks[0])));
            wire.send(&Frame::TrackEnd { track: 0 });
            wire.hang();
        }
        "done-too-soon" => {
            wire.send(&Frame::Done(clip::done(0)));
            wire.hang();
        }
        other => panic!("no such behaviour: {other}"),
    }
}

fn probe(words: &[&str]) -> Probe {
    let seconds = clip::seconds(words);
    let is_large = words.contains(&"8k");
    Probe {
        container: "mov".into(),
        duration_ms: seconds * 1000,
        width: if is_large { 7680 } else { 720 },
        height: if is_large { 4320 } else { 1280 },
        fps: (10, 1),
        video_codec: "h264".into(),
        has_audio: words.contains(&"sound") || words.contains(&"sound-fails"),
        encoders: vec!["libx264".into(), "libx265".into()],
    }
}

fn sample(dts: i64) -> Sample {
    let data = vec![0, 0, 0, 2, 0x65, 0x88];
    Sample { track: 0, is_sync: true, dts, composition_offset: 0, duration: 1, data }
}
