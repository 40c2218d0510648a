//! Renditions back into pictures, by the ffmpeg command line.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use super::{Clip, Track, ffmpeg};

/// A video track as a byte stream: parameter sets of its init segment, then its samples.
pub(crate) fn annex_b(track: &Track) -> Vec<u8> {
    let init = hex::decode(&track.start.init_hex).expect("hex");
    let mut out = Vec::new();
    let units = match find(&init, b"avcC") {
        Some(record) => avc_parameter_sets(record),
        None => hevc_parameter_sets(find(&init, b"hvcC").expect("AVC or HEVC")),
    };
    for unit in units {
        push_unit(&mut out, unit);
    }
    for sample in &track.samples {
        let mut rest = &sample.data[..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (unit, next) = after.split_at(u32::from_be_bytes(*length) as usize);
            push_unit(&mut out, unit);
            rest = next;
        }
        assert!(rest.is_empty(), "a sample is whole units");
    }
    out
}

/// Decodes a video track; gives (pictures, width, height).
pub(crate) fn decoded_frames(track: &Track) -> (usize, u32, u32) {
    let (_folder, path) = written(track);
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_entries"])
        .args(["stream=nb_read_frames,width,height", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .expect("the ffprobe command is installed for tests");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    let numbers: Vec<u32> =
        text.trim().split(',').map(|number| number.parse().expect("a number")).collect();
    (numbers[2] as usize, numbers[0], numbers[1])
}

/// How alike a rendition and its source are, in decibels; ffmpeg turns and scales the source itself.
pub(crate) fn psnr(track: &Track, source: &Clip, rate: &str) -> f64 {
    let (folder, path) = written(track);
    let statistics = folder.path().join("psnr");
    let path = path.to_str().expect("a plain path").to_owned();
    let source = source.path();
    let graph = format!(
        "[1:v]fps={rate}:start_time=0[r];[r][0:v]scale2ref=flags=bicubic[s][d];\
         [d]settb=1/25,setpts=N[a];[s]settb=1/25,setpts=N[b];[a][b]psnr=stats_file={}",
        statistics.display()
    );
    ffmpeg([
        "-i",
        &path,
        "-i",
        source.to_str().expect("a plain path"),
        "-lavfi",
        &graph,
        "-an",
        "-f",
        "null",
        "-",
    ]);
    let lines = fs::read_to_string(&statistics).expect("ffmpeg wrote it");
    let values: Vec<f64> = lines
        .lines()
        .filter_map(|line| line.split("psnr_avg:").nth(1)?.split_whitespace().next()?.parse().ok())
        .map(|value: f64| value.min(100.0))
        .collect();
    assert!(!values.is_empty(), "{lines}");
    let count = values.len() as f64;
    values.iter().sum::<f64>() / count
}

fn written(track: &Track) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().expect("a place");
    let name = if track.start.encoder == "libx265" { "track.h265" } else { "track.h264" };
    let path = folder.path().join(name);
    write(&path, &annex_b(track));
    (folder, path)
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
}

fn push_unit(out: &mut Vec<u8>, unit: &[u8]) {
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(unit);
}

/// The payload of the first box with this name.
fn find<'a>(init: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let at = init.windows(4).position(|window| window == name)?;
    Some(&init[at + 4..])
}

/// ISO/IEC 14496-15, 5.3.3.1.
fn avc_parameter_sets(record: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut rest = &record[5..];
    for mask in [0x1F, 0xFF] {
        let count = rest[0] & mask;
        rest = &rest[1..];
        for _ in 0..count {
            rest = take_unit(&mut units, rest);
        }
    }
    units
}

/// ISO/IEC 14496-15, 8.3.3.1.
fn hevc_parameter_sets(record: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let arrays = record[22];
    let mut rest = &record[23..];
    for _ in 0..arrays {
        let count = u16::from_be_bytes([rest[1], rest[2]]);
        rest = &rest[3..];
        for _ in 0..count {
            rest = take_unit(&mut units, rest);
        }
    }
    units
}

fn take_unit<'a>(units: &mut Vec<&'a [u8]>, rest: &'a [u8]) -> &'a [u8] {
    let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    units.push(&rest[2..2 + length]);
    &rest[2 + length..]
}
