//! Timelines of small lists, whole and in parts.

use super::*;

#[test]
fn objects_read_back_as_the_list_had_them() {
    let list = list(3, 4.0);
    let timeline = Timeline::of(&list);
    assert_eq!(timeline.duration(), Duration::from_secs(12));
    assert_eq!(timeline.mean_segment(), Some(Duration::from_secs(4)));
    for (index, segment) in list.segments.iter().enumerate() {
        let item = timeline.item(Spot { segment: index, part: None }).unwrap();
        assert_eq!(Some(item.object), segment.object);
        assert_eq!(item.init, segment.init);
        assert_eq!(item.number, segment.number);
        assert_eq!(item.start, Duration::from_secs(4 * index as u64));
        assert_eq!(item.duration, segment.duration);
    }
    assert_eq!(timeline.inits.len(), 1, "the init segment is kept once");
    assert_eq!(timeline.start_of(11), Some(Duration::from_secs(4)));
    assert_eq!(timeline.start_of(13), None);
    assert_eq!(timeline.numbers(), (10, 13));
    assert_eq!(timeline.next_to_come(), (13, None));
}

#[test]
fn a_time_finds_its_segment_and_almost_the_end_the_next() {
    let timeline = Timeline::of(&list(3, 4.0));
    let table = [
        (0, Some(0)),
        (3_700, Some(0)),
        (3_750, Some(1)),
        (3_999, Some(1)),
        (4_000, Some(1)),
        (11_700, Some(2)),
        (11_800, None),
        (12_000, None),
        (99_000, None),
    ];
    for (ms, segment) in table {
        let found = timeline.find(Duration::from_millis(ms), true);
        assert_eq!(found.map(|spot| spot.segment), segment, "{ms}");
    }
}

#[test]
fn parts_are_taken_in_a_segment_and_at_the_edge() {
    let timeline = Timeline::of(&low_latency());
    let table = [
        // The segment is whole: no need of parts at its beginning.
        (4_000, Some((1, None))),
        (5_000, Some((1, Some(1)))),
        (5_900, Some((1, Some(2)))),
        // The one in the making has parts only.
        (8_000, Some((2, Some(0)))),
        (9_000, Some((2, Some(1)))),
        (10_000, None),
    ];
    for (ms, want) in table {
        let found = timeline.find(Duration::from_millis(ms), true);
        assert_eq!(found.map(|spot| (spot.segment, spot.part)), want, "{ms}");
    }
    let spot = timeline.find(Duration::from_millis(9_000), true).unwrap();
    let item = timeline.item(spot).unwrap();
    assert_eq!((item.number, item.part), (12, Some(1)));
    assert_eq!(item.start, Duration::from_secs(9));
    assert_eq!(item.object.range, Some((7, Some(9))));
    assert_eq!(timeline.next_to_come(), (12, Some(2)));
    let whole = timeline.find(Duration::from_millis(5_000), false).unwrap();
    assert_eq!(whole.part, None, "a player without low latency takes whole segments");
    assert_eq!(timeline.find(Duration::from_millis(8_000), false), None);
}

#[test]
fn a_live_start_is_where_a_decoder_can_begin() {
    let timeline = Timeline::of(&low_latency());
    let table = [
        (9_500, Some((2, Some(0)))), // part 1 is not independent
        (7_500, Some((1, Some(2)))),
        (5_500, Some((1, None))),
        (1_000, Some((0, None))),
    ];
    for (ms, want) in table {
        let found = timeline.find_start(Duration::from_millis(ms));
        assert_eq!(found.map(|spot| (spot.segment, spot.part)), want, "{ms}");
    }
}

#[test]
fn dates_count_from_the_beginning() {
    let mut list = list(3, 4.0);
    assert_eq!(Timeline::of(&list).clock, None);
    list.segments[1].program_date_time = Some(100_000);
    assert_eq!(Timeline::of(&list).clock, Some(96_000));
}

#[test]
fn a_segment_takes_little_memory() {
    assert!(size_of::<Cell>() <= 40);
    let timeline = Timeline::of(&list(600, 4.0));
    assert!(timeline.rests.len() <= 600 * 8, "only what differs is kept");
}

/// Two whole segments of 4 s, the second with parts of 1 s, and 2 parts of the third.
fn low_latency() -> SegmentList {
    let mut list = list(3, 4.0);
    list.is_ended = false;
    list.part_target = Some(Duration::from_secs(1));
    for (number, count, independent) in
        [(1, 4, [true, false, true, false]), (2, 2, [true, false, false, false])]
    {
        list.segments[number].parts = (0..count)
            .map(|part| Part {
                object: Object {
                    url: Url::parse(&format!("https://a.example/v/p{number}.m4s")).unwrap(),
                    range: Some((7 * part as u64, Some(9))),
                },
                duration: Duration::from_secs(1),
                is_independent: independent[part],
                is_gap: false,
            })
            .collect();
    }
    list.segments[2].object = None;
    list
}

fn list(count: u64, seconds: f64) -> SegmentList {
    let object = |name: String| Object {
        url: Url::parse("https://a.example/v/").unwrap().join(&name).unwrap(),
        range: None,
    };
    let segments = (0..count)
        .map(|index| Segment {
            number: 10 + index,
            discontinuity_sequence: 0,
            object: Some(object(format!("s{index}.m4s"))),
            duration: Duration::from_secs_f64(seconds),
            init: Some(object("init.mp4".into())),
            key: None,
            parts: Vec::new(),
            program_date_time: None,
            is_gap: false,
        })
        .collect();
    SegmentList {
        segments,
        is_ended: true,
        target_duration: Duration::from_secs_f64(seconds),
        ..SegmentList::default()
    }
}
