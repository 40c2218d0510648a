//! CPU time of a whole transcode against the ffmpeg command with the same libraries, ladder, preset and clip.
//!
//! Both decode once and make all H.264 rungs and the sound; ours also packages and writes segments. Runs alternate,
//! so that what else the machine does hits both, and each round begins with another one: whoever comes after a rest
//! pays for memory that a hypervisor had taken back. The figure that counts is the ratio of the medians.
//!
//! Ours runs once for each `lag_bytes_max`: the larger it is, the earlier 360p is whole, and the more frames have left
//! the processor's caches and the kernel's hands before they are used. `playable` is the part of the run's time after
//! which the smallest rendition and the sound were stored.
//!
//! ```text
//! cargo bench -p tidegate-packager --bench transcode            a generated clip, the default and in step
//! TIDEGATE_MEDIA=clip.mp4 cargo bench …                         another one
//! TIDEGATE_LAG=32MiB,128MiB,1GiB cargo bench …                  other limits
//! TIDEGATE_RUNS=7 cargo bench …                                 more runs, for smaller differences
//! ```

#![expect(clippy::print_stdout, reason = "the table is this program's purpose")]

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use bytesize::ByteSize;
use object_store::local::LocalFileSystem;
use prometheus::Registry;
use tidegate_contract::{
    id::MediaId,
    worker_frame::{Frame, Probe, TrackPlan, WorkerOrder},
};
use tidegate_packager::{
    assembly::{Assembly, Event},
    ladder::{self, RunPlan},
    media::Rendition,
    metrics::Metrics,
    output::Output,
    store::Store,
    track,
    worker_process::{Config, WORKER, WorkerProcess},
};

/// Ours with a limit, or the peer.
type Contender = Option<ByteSize>;

/// What one run cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
    /// Of the wall time, in percent; the peer tells nothing before its end.
    playable: f64,
}

/// What a run of ours was.
struct Packaged {
    probe: Probe,
    plan: RunPlan,
    playable: Duration,
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let worker = worker()?;
    let clip = match std::env::var_os("TIDEGATE_MEDIA") {
        Some(path) => PathBuf::from(path),
        None => generate(folder.path())?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ways = ways()?;
    let runs = std::env::var("TIDEGATE_RUNS").map_or(Ok(RUNS), |runs| runs.parse())?;
    println!("clip {}, {runs} runs each", clip.display());
    // Not counted: gives the peer its plan, and the clip is in memory from here on.
    let Packaged { probe, plan, .. } =
        runtime.block_on(package(&worker, &clip, &folder.path().join("first"), ways[0]))?;
    let mut contenders: Vec<_> = ways.into_iter().map(Some).chain([None]).collect();
    let mut costs: Vec<(Contender, Cost)> = Vec::new();
    for run in 1..=runs {
        for &contender in &contenders {
            let out = folder.path().join("out");
            let cost = match contender {
                Some(lag) => {
                    let mut packaged = None;
                    let cost = measure(|| {
                        packaged = Some(runtime.block_on(package(&worker, &clip, &out, lag))?);
                        Ok(())
                    })?;
                    let playable = packaged.map_or(0.0, |run| run.playable.as_secs_f64());
                    Cost { playable: 100.0 * playable / cost.wall, ..cost }
                }
                None => {
                    std::fs::create_dir(&out)?;
                    let mut peer = peer(&clip, &out, &probe, &plan);
                    measure(|| {
                        ensure!(peer.status()?.success(), "ffmpeg failed");
                        Ok(())
                    })?
                }
            };
            std::fs::remove_dir_all(&out)?;
            print(run, &name(contender), &cost);
            costs.push((contender, cost));
        }
        contenders.rotate_left(1);
    }
    report(&costs);
    Ok(())
}

/// Each limit against the peer.
fn report(costs: &[(Contender, Cost)]) {
    let of = |contender, value: fn(&Cost) -> f64| {
        median(costs.iter().filter(|(of, _)| *of == contender).map(|(_, cost)| value(cost)))
    };
    let contenders: BTreeSet<_> = costs.iter().map(|(contender, _)| *contender).collect();
    for contender in contenders.into_iter().filter(Option::is_some) {
        let ratio = |value| of(contender, value) / of(None, value);
        let (cpu, wall) = (ratio(|cost| cost.cpu), ratio(|cost| cost.wall));
        let playable = of(contender, |cost| cost.playable);
        let name = name(contender);
        println!("ratio  {name:<10}  cpu {cpu:.3}  wall {wall:.3}  playable {playable:.0} %");
    }
}

fn name(contender: Contender) -> String {
    contender.map_or_else(|| "ffmpeg".to_owned(), |lag| lag.to_string())
}

/// The limits to measure, the default first.
fn ways() -> anyhow::Result<Vec<ByteSize>> {
    let Ok(list) = std::env::var("TIDEGATE_LAG") else {
        return Ok(vec![Config::default().lag_bytes_max, IN_STEP]);
    };
    list.split(',').map(|size| size.parse().map_err(|error| anyhow!("{size}: {error}"))).collect()
}

fn print(run: usize, name: &str, Cost { cpu, wall, playable }: &Cost) {
    println!(
        "run {run}  {name:<10}  cpu {cpu:6.2} s  wall {wall:6.2} s  playable {playable:3.0} %"
    );
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
    let picture = "testsrc2=size=1080x1920:rate=30:duration=20,noise=alls=6:allf=t";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", picture])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:duration=20", "-c:a", "aac"])
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
    lag: ByteSize,
) -> anyhow::Result<Packaged> {
    let began = Instant::now();
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
        lag_bytes_max: lag.as_u64(),
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
    let mut playable = None;
    loop {
        match assembly.take(worker.next().await?, &mut output).await? {
            Event::RenditionFinished => {
                let plays =
                    !assembly.awaits_audio() && assembly.renditions().any(Rendition::is_video);
                if plays && playable.is_none() {
                    playable = Some(began.elapsed());
                }
            }
            Event::Done => break,
            Event::Failed { detail, .. } => anyhow::bail!("the worker failed: {detail}"),
            _ => {}
        }
    }
    worker.finish().await;
    Ok(Packaged { probe, plan, playable: playable.context("nothing plays")? })
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
    let wall = began.elapsed().as_secs_f64();
    Ok(Cost { cpu: cpu_seconds()? - cpu, wall, playable: 100.0 })
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const RUNS: usize = 3;
/// About ten frames: no rendition gets ahead.
const IN_STEP: ByteSize = ByteSize::mib(32);
/// The same on every Linux: USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;
