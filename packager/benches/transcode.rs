//! CPU time of a whole transcode against the ffmpeg command with the same libraries, ladder, preset and clip.
//!
//! Both decode once and make all H.264 rungs and the sound; ours also packages and writes segments. Runs alternate,
//! so that what else the machine does hits both. The figure that counts is the ratio of the medians.
//!
//! Ours runs twice: with the default `lag_bytes_max`, which makes 360p whole long before 1080p at the price of
//! frames that have left the processor's caches, and in step, as ffmpeg does it.
//!
//! ```text
//! cargo bench -p tidegate-packager --bench transcode            a generated clip
//! TIDEGATE_MEDIA=clip.mp4 cargo bench …                         another one
//! ```

#![expect(clippy::print_stdout, reason = "the table is this program's purpose")]

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use object_store::local::LocalFileSystem;
use prometheus::Registry;
use tidegate_contract::{
    id::MediaId,
    worker_frame::{Frame, Probe, TrackPlan, WorkerOrder},
};
use tidegate_packager::{
    assembly::{Assembly, Event},
    ladder::{self, RunPlan},
    metrics::Metrics,
    output::Output,
    store::Store,
    track,
    worker_process::{Config, WORKER, WorkerProcess},
};

/// What one run cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let worker = worker()?;
    let clip = match std::env::var_os("TIDEGATE_MEDIA") {
        Some(path) => PathBuf::from(path),
        None => generate(folder.path())?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut plan = None;
    let ways = [("tidegate", Config::default().lag_bytes_max.as_u64()), ("in step", IN_STEP_BYTES)];
    let (mut ours, mut peers) = ([Vec::new(), Vec::new()], Vec::new());
    println!("clip {}, {} runs each", clip.display(), RUNS);
    for run in 1..=RUNS {
        for ((name, lag_bytes), costs) in ways.into_iter().zip(&mut ours) {
            let out = folder.path().join(format!("ours-{run}-{lag_bytes}"));
            let cost = measure(|| {
                plan = Some(runtime.block_on(package(&worker, &clip, &out, lag_bytes))?);
                Ok(())
            })?;
            println!("run {run}  {name:<8}  cpu {:6.2} s  wall {:6.2} s", cost.cpu, cost.wall);
            costs.push(cost);
        }
        let (probe, plan) = plan.as_ref().context("the first run made a plan")?;
        let out = folder.path().join(format!("peer-{run}"));
        std::fs::create_dir(&out)?;
        let mut peer = peer(&clip, &out, probe, plan);
        let cost = measure(|| {
            ensure!(peer.status()?.success(), "ffmpeg failed");
            Ok(())
        })?;
        println!("run {run}  ffmpeg    cpu {:6.2} s  wall {:6.2} s", cost.cpu, cost.wall);
        peers.push(cost);
    }
    for ((name, _), costs) in ways.iter().zip(&ours) {
        let ratio = |value: fn(&Cost) -> f64| median(costs, value) / median(&peers, value);
        let (cpu, wall) = (ratio(|cost| cost.cpu), ratio(|cost| cost.wall));
        println!("ratio  {name:<8}  cpu {cpu:.3}  wall {wall:.3}");
    }
    Ok(())
}

/// The real worker in this program's profile, built when needed.
fn worker() -> anyhow::Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--package", WORKER]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    ensure!(build.status()?.success(), "the worker does not build");
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("a bench lies in target/<profile>/deps")?;
    Ok(target.join(WORKER))
}

fn generate(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("clip.mp4");
    let picture = "testsrc2=size=1080x1920:rate=30:duration=10,noise=alls=6:allf=t";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", picture])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:duration=10", "-c:a", "aac"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p"])
        .arg(&path)
        .status()?;
    ensure!(status.success(), "ffmpeg could not make the clip");
    Ok(path)
}

/// Worker and packaging, without pictures, which the peer does not make either.
async fn package(
    worker: &Path,
    clip: &Path,
    out: &Path,
    lag_bytes_max: u64,
) -> anyhow::Result<(Probe, RunPlan)> {
    std::fs::create_dir(out)?;
    let store = Store::of(Arc::new(LocalFileSystem::new_with_prefix(out)?));
    let metrics = Metrics::register(&Registry::new());
    let mut output = Output::new(store, MediaId::parse("m1")?, 1, metrics, u64::MAX);
    let config = Config::default();
    let order = WorkerOrder {
        duration_ms_max: 3_600_000,
        pixels_max: 10_000_000,
        tracks_max: 32,
        fps_max: 60,
        lag_bytes_max,
        threads: config.threads(),
    };
    let mut worker = WorkerProcess::start(worker, &config, File::open(clip)?, order).await?;
    let probe = match worker.next().await? {
        Frame::Probe(probe) => probe,
        other => anyhow::bail!("no probe but {other:?}"),
    };
    let mut plan = ladder::h264(&ladder::Config::default(), &probe)?;
    plan.plan.images = None;
    worker.send(&Frame::Plan(plan.plan.clone())).await?;
    let longest = Duration::from_secs(3600);
    let mut assembly = Assembly::new(plan.clone(), track::Config::default(), longest);
    loop {
        match assembly.take(worker.next().await?, &mut output).await? {
            Event::Done => break,
            Event::Failed { detail, .. } => anyhow::bail!("the worker failed: {detail}"),
            _ => {}
        }
    }
    worker.finish().await;
    Ok((probe, plan))
}

/// The same plan for the ffmpeg command.
fn peer(clip: &Path, out: &Path, probe: &Probe, plan: &RunPlan) -> Command {
    let (num, den) = probe.fps;
    let videos = plan.plan.tracks.iter().filter(|track| matches!(track, TrackPlan::Video { .. }));
    let count = videos.count();
    let labels: String = (0..count).map(|n| format!("[s{n}]")).collect();
    let mut graph = format!("[0:v]fps={num}/{den},format=yuv420p,split={count}{labels}");
    let gop = (f64::from(plan.plan.gop_ms) / 1000.0 * f64::from(num) / f64::from(den)).round();
    let mut outputs: Vec<String> = Vec::new();
    for (n, track) in plan.plan.tracks.iter().enumerate() {
        let path = out.join(format!("{n}.mp4")).display().to_string();
        let words = match track {
            TrackPlan::Video { encoder, width, height, preset, crf, maxrate, bufsize } => {
                graph.push_str(&format!(";[s{n}]scale={width}:{height}:flags=bicubic[v{n}]"));
                format!(
                    "-map [v{n}] -c:v {encoder} -preset {preset} -crf {crf} -maxrate {maxrate} \
                     -bufsize {bufsize} -g {gop} -keyint_min {gop} -sc_threshold 0 -flags +cgop"
                )
            }
            TrackPlan::Audio { bitrate } => {
                format!("-map 0:a:0 -c:a aac -ar 48000 -b:a {bitrate}")
            }
        };
        outputs.extend(words.split_whitespace().map(ToOwned::to_owned));
        let fragments = "+frag_keyframe+empty_moov+default_base_moof";
        outputs.extend(["-movflags", fragments, &path].map(ToOwned::to_owned));
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(clip);
    command.args(["-filter_complex", &graph]).args(outputs);
    command
}

fn measure(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Cost> {
    let (cpu, began) = (cpu_seconds()?, Instant::now());
    work()?;
    Ok(Cost { cpu: cpu_seconds()? - cpu, wall: began.elapsed().as_secs_f64() })
}

/// CPU time of this process and of its children that have ended.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("the name ends in a bracket")?;
    // Fields 14 to 17 of proc(5): user and system time, own and of waited-for children, in ticks.
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn median(costs: &[Cost], value: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const RUNS: usize = 3;
/// About ten frames: no rendition gets ahead.
const IN_STEP_BYTES: u64 = 32 * 1024 * 1024;
/// The same on every Linux: USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;
