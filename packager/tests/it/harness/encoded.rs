//! What an encoder gave, as a raw stream that the `ffmpeg` command reads without any of our boxes.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use object_store::local::LocalFileSystem;
use prometheus::Registry;
use tidegate_contract::{
    id::MediaId,
    worker_frame::{Frame, Probe, Sample, TrackPlan, WorkerOrder},
};
use tidegate_packager::{
    assembly::{Assembly, Event},
    ladder::{self, RunPlan},
    metrics::Metrics,
    output::Output,
    store::Store,
    track,
    worker_process::{self, WorkerProcess},
};

use super::real_worker;

/// The two families of codecs that are made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    H264,
    Hevc,
}

/// Runs the worker's plan for an upload through an assembly into the folder `objects`, and gives what the encoder gave
/// for the first track.
pub(crate) async fn tap(family: Family, upload: &Path, objects: &Path) -> Vec<u8> {
    let (mut worker, plan) = start(family, upload).await;
    std::fs::create_dir_all(objects).expect("a folder");
    let store = LocalFileSystem::new_with_prefix(objects).expect("a folder");
    let media = MediaId::parse("m1").expect("an id");
    let metrics = Metrics::register(&Registry::new());
    let mut output = Output::new(Store::of(Arc::new(store)), media, 1, metrics, u64::MAX);
    let mut assembly = Assembly::new(plan, track::Config::default(), Duration::from_secs(60));
    let mut stream = Vec::new();
    loop {
        let frame = worker.next().await.expect("a frame");
        match &frame {
            Frame::Track(start) if start.track == 0 => {
                let init = hex::decode(&start.init_hex).expect("hex");
                family.parameter_sets(&init).iter().for_each(|set| append(&mut stream, set));
            }
            Frame::Sample(sample) if sample.track == 0 => annex_b(sample, &mut stream),
            _ => {}
        }
        if assembly.take(frame, &mut output).await.expect("taken") == Event::Done {
            return stream;
        }
    }
}

async fn start(family: Family, upload: &Path) -> (WorkerProcess, RunPlan) {
    let config = worker_process::Config { threads: 2, ..Default::default() };
    let order = WorkerOrder {
        duration_ms_max: 60_000,
        pixels_max: 10_000_000,
        tracks_max: 8,
        fps_max: 60,
        lag_bytes_max: 1 << 28,
        threads: 2,
    };
    let source = File::open(upload).expect("the upload");
    let mut worker =
        WorkerProcess::start(&real_worker(), &config, source, order).await.expect("a worker");
    let Frame::Probe(probe) = worker.next().await.expect("a frame") else { panic!("no probe") };
    let plan = family.plan(&probe);
    assert!(matches!(plan.plan.tracks[0], TrackPlan::Video { .. }));
    worker.send(&Frame::Plan(plan.plan.clone())).await.expect("sent");
    (worker, plan)
}

impl Family {
    /// What `ffmpeg -f` calls a raw stream of it.
    pub(crate) fn raw_format(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
        }
    }

    fn plan(self, probe: &Probe) -> RunPlan {
        // B-frames and their order have to be on trial, so no faster preset.
        let config = ladder::Config {
            hevc_preset: "veryfast".into(),
            hevc_short_side_min: 360,
            ..Default::default()
        };
        match self {
            Self::H264 => ladder::h264(&config, probe).expect("a plan"),
            Self::Hevc => ladder::hevc(&config, probe).expect("a plan"),
        }
    }

    /// The parameter sets of a minted init segment.
    fn parameter_sets(self, init: &[u8]) -> Vec<&[u8]> {
        let (name, skipped) = match self {
            // ISO/IEC 14496-15: what stands between the name and the first count.
            Self::H264 => (b"avcC", 5),
            Self::Hevc => (b"hvcC", 22),
        };
        let at = init.windows(4).position(|word| word == name).expect("a configuration") + 4;
        let mut rest = &init[at + skipped..];
        let mut sets = Vec::new();
        match self {
            Self::H264 => {
                for mask in [0x1f, 0xff] {
                    let count = take(&mut rest, 1)[0] & mask;
                    sets.extend((0..count).map(|_| unit(&mut rest)));
                }
            }
            Self::Hevc => {
                for _ in 0..take(&mut rest, 1)[0] {
                    take(&mut rest, 1); // the kind, which each unit says itself
                    let count = length(&mut rest);
                    sets.extend((0..count).map(|_| unit(&mut rest)));
                }
            }
        }
        sets
    }
}

fn unit<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let bytes = length(rest);
    take(rest, bytes)
}

fn length(rest: &mut &[u8]) -> usize {
    let bytes = take(rest, 2);
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    rest.split_off(..bytes).expect("an init segment that goes on")
}

/// A sample with start codes, whichever form the worker gave it in.
fn annex_b(sample: &Sample, stream: &mut Vec<u8>) {
    if sample.data.starts_with(&START_CODE) && sample.data[4] != 0 {
        return stream.extend(&sample.data);
    }
    let mut rest = &sample.data[..];
    while let Some((head, body)) = rest.split_first_chunk::<4>() {
        let (unit, next) = body.split_at(u32::from_be_bytes(*head) as usize);
        append(stream, unit);
        rest = next;
    }
}

fn append(stream: &mut Vec<u8>, unit: &[u8]) {
    stream.extend(START_CODE);
    stream.extend(unit);
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];
