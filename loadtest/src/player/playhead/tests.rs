//! The play head with media that is pushed by hand: every figure is known.

use super::{super::buffer::Chunk, *};

#[test]
fn startup_stalls_and_the_end_are_exact_however_late_they_are_noticed() {
    let mut rig = Rig::new(1_000);
    assert_eq!(rig.advance(3_000), None);
    rig.load(0, 2_000, 100);
    assert!(rig.start());
    // Ran out at 5 s; told at 9 s.
    assert_eq!(rig.advance(9_000), Some(Moment::Dry));
    assert_eq!(rig.advance(9_000), None);
    rig.load(2_000, 4_000, 100);
    rig.is_complete = true;
    assert!(rig.start());
    assert_eq!(rig.advance(60_000), Some(Moment::Ended));
    let at = rig.head.at;
    let view = rig.head.finish(ViewEnd::Watched);
    assert_eq!(at, ms(11_000));
    assert_eq!(view.startup, Some(ms(2_000)));
    assert_eq!(view.played, ms(4_000));
    assert_eq!(view.stalls, [Stall { at: ms(5_000), duration: ms(4_000) }]);
    assert_eq!(view.mean_bitrate, Some(100.0));
}

#[test]
fn media_that_comes_the_moment_it_is_needed_makes_no_stall() {
    let mut rig = Rig::new(0);
    rig.load(0, 2_000, 100);
    rig.start();
    assert_eq!(rig.advance(2_000), Some(Moment::Dry));
    rig.load(2_000, 3_000, 100);
    assert!(rig.start());
    assert_eq!(rig.advance(2_500), None);
    assert_eq!(rig.head.finish(ViewEnd::Watched).stalls, []);
}

#[test]
fn the_viewer_leaves_when_patience_ends_and_not_when_it_is_noticed() {
    for is_starting in [true, false] {
        let mut rig = Rig::new(0);
        rig.limits.patience_start = Some(ms(5_000));
        rig.limits.patience_stall = Some(ms(7_000));
        if !is_starting {
            rig.load(0, 1_000, 100);
            rig.start();
            assert_eq!(rig.advance(60_000), Some(Moment::Dry));
        }
        assert_eq!(rig.advance(60_000), Some(Moment::OutOfPatience));
        assert_eq!(rig.head.at, if is_starting { ms(5_000) } else { ms(8_000) });
        let view = rig.head.finish(ViewEnd::LeftInStall);
        let stalled = view.stalls.iter().map(|stall| stall.duration).sum::<Duration>();
        assert_eq!(stalled, if is_starting { ms(0) } else { ms(7_000) });
    }
}

#[test]
fn a_seek_is_no_stall_and_switches_count_when_they_are_seen() {
    let mut rig = Rig::new(0);
    rig.load(0, 1_000, 100);
    rig.load(1_000, 2_000, 300);
    rig.load(2_000, 4_000, 200);
    rig.limits.seek_after = Some(ms(2_500));
    rig.start();
    assert_eq!(rig.advance(60_000), Some(Moment::SeekDue));
    assert_eq!(rig.head.at, ms(2_500));
    rig.limits.seek_after = None;
    rig.head.seek(ms(10_000));
    rig.main.clear();
    assert_eq!(rig.advance(3_500), None);
    rig.load(10_000, 11_000, 200);
    rig.start();
    assert_eq!(rig.advance(4_500), Some(Moment::Dry));
    assert_eq!(rig.advance(5_000), None);
    let view = rig.head.finish(ViewEnd::Cut);
    assert_eq!((view.switches_up, view.switches_down, view.seeks), (1, 1, 1));
    assert_eq!(view.seeking, ms(1_000));
    assert_eq!(view.played, ms(3_500));
    assert_eq!(view.stalls, [Stall { at: ms(4_500), duration: ms(500) }]);
    let bits = 100.0 + 300.0 + 200.0 * 1.5;
    assert_eq!(view.mean_bitrate, Some(bits / 3.5));
}

#[test]
fn sound_that_is_missing_stops_the_picture_and_sound_that_ended_does_not() {
    let mut rig = Rig::new(0);
    rig.audio = Some(Buffer::default());
    rig.load(0, 4_000, 100);
    assert!(!rig.start(), "no sound yet");
    rig.audio.as_mut().unwrap().push(chunk(0, 1_500, 10));
    assert!(rig.start());
    assert_eq!(rig.advance(60_000), Some(Moment::Dry));
    assert_eq!(rig.head.at, ms(1_500));
    rig.is_audio_complete = true;
    rig.is_complete = true;
    assert!(rig.start());
    assert_eq!(rig.advance(60_000), Some(Moment::Ended));
    assert_eq!(rig.head.at, ms(4_000));
}

#[test]
fn a_gap_is_passed_in_no_time() {
    let mut rig = Rig::new(0);
    rig.load(0, 1_000, 100);
    rig.main.push(Chunk::gap(ms(1_000), ms(3_000)));
    rig.load(3_000, 4_000, 100);
    rig.is_complete = true;
    rig.start();
    assert_eq!(rig.advance(60_000), Some(Moment::Ended));
    assert_eq!((rig.head.at, rig.head.played), (ms(2_000), ms(2_000)));
}

#[test]
fn latency_is_weighted_by_playing_and_shrinks_while_catching_up() {
    let mut rig = Rig::new(0);
    rig.limits.live_shift_us = Some(10_000_000);
    rig.load(0, 20_000, 100);
    rig.start();
    assert_eq!(rig.advance(2_000), None); // 10 s behind
    rig.limits.rate = Some((1.5, ms(6_000)));
    assert_eq!(rig.next_moment(), Some(ms(6_000)));
    assert_eq!(rig.advance(8_000), None); // 4 s at 1.5: 2 s nearer, then 2 s at 1
    assert_eq!(rig.head.played, ms(2_000 + 6_000 + 2_000));
    assert_eq!(rig.head.latency(10_000_000), ms(8_000));
    let view = rig.head.finish(ViewEnd::Cut);
    let mean = (10.0 * 2.0 + 9.0 * 4.0 + 8.0 * 2.0) / 8.0;
    assert_eq!(view.live_latency, Some(Duration::from_secs_f64(mean)));
}

#[test]
fn more_than_one_segment_can_be_asked_for() {
    let mut rig = Rig::new(0);
    rig.needed = ms(3_000);
    rig.load(0, 2_000, 100);
    assert!(!rig.start());
    rig.is_all_there = true;
    assert!(rig.start(), "no more can come now");
    let mut rig = Rig::new(0);
    rig.needed = ms(3_000);
    rig.load(0, 3_000, 100);
    assert!(rig.start());
}

struct Rig {
    head: Playhead,
    main: Buffer,
    audio: Option<Buffer>,
    limits: Limits,
    is_complete: bool,
    is_audio_complete: bool,
    needed: Duration,
    is_all_there: bool,
}

impl Rig {
    fn new(begun: u64) -> Self {
        Self {
            head: Playhead::new(ms(begun), ms(0)),
            main: Buffer::default(),
            audio: None,
            limits: Limits::default(),
            is_complete: false,
            is_audio_complete: false,
            needed: ms(0),
            is_all_there: false,
        }
    }

    fn load(&mut self, start: u64, end: u64, bitrate: u64) {
        self.main.push(chunk(start, end, bitrate));
    }

    fn next_moment(&mut self) -> Option<Duration> {
        let media = Media {
            main: &mut self.main,
            audio: None,
            is_main_complete: false,
            is_audio_complete: false,
        };
        self.head.next_moment(&media, &self.limits)
    }

    fn start(&mut self) -> bool {
        let media = Media {
            main: &mut self.main,
            audio: self.audio.as_mut(),
            is_main_complete: self.is_complete,
            is_audio_complete: self.is_audio_complete,
        };
        self.head.start(&media, self.needed, self.is_all_there)
    }

    fn advance(&mut self, to: u64) -> Option<Moment> {
        let mut media = Media {
            main: &mut self.main,
            audio: self.audio.as_mut(),
            is_main_complete: self.is_complete,
            is_audio_complete: self.is_audio_complete,
        };
        self.head.advance(ms(to), &mut media, &self.limits)
    }
}

fn chunk(start: u64, end: u64, bitrate: u64) -> Chunk {
    let (start, end) = (ms(start), ms(end));
    Chunk { start, end, bytes: 1_000, bitrate, is_gap: false, played: Duration::ZERO }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
