//! The `ffmpeg` and `ffprobe` commands: they make uploads and play what comes out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tokio::process::Command;

/// Makes a clip: a moving test picture, with a tone when `with_sound`.
pub(crate) async fn clip(
    folder: &Path,
    size: &str,
    rate: &str,
    seconds: u32,
    with_sound: bool,
) -> PathBuf {
    let path = folder.join(format!("{size}-{seconds}.mp4"));
    let picture = format!("testsrc2=size={size}:rate={rate}:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=44100:duration={seconds}");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", &picture]);
    if with_sound {
        command.args(["-f", "lavfi", "-i", &tone, "-c:a", "aac"]);
    }
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "30"]).arg(&path);
    output(command).await;
    path
}

/// The hash of each decoded frame of one stream (`0:v:0`), in the order of presentation.
pub(crate) async fn frame_hashes(input: &str, input_options: &[&str], stream: &str) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]).args(input_options).args(["-i", input, "-map", stream]);
    command.args(["-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    let text = output(command).await;
    let frames = text.lines().filter(|line| !line.starts_with('#'));
    frames.map(|line| line.rsplit(',').next().unwrap_or_default().trim().to_owned()).collect()
}

/// Presentation times of the sync samples of a file's only track.
pub(crate) async fn sync_times(path: &Path) -> Vec<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]);
    command.arg(path);
    let text = output(command).await;
    text.lines()
        .filter_map(|line| line.split_once(','))
        .filter(|(_, flags)| flags.starts_with('K'))
        .map(|(time, _)| time.to_owned())
        .collect()
}

/// One value of each stream of an input, in the order of the streams; streams without it give nothing.
pub(crate) async fn stream_values(input: &str, entry: &str) -> Vec<String> {
    let mut command = Command::new("ffprobe");
    let entries = format!("stream=index,{entry}");
    command.args(["-v", "error", "-show_entries", &entries, "-of", "csv=p=0", input]);
    let text = output(command).await;
    // A stream that belongs to several programs is printed for each of them.
    let values: BTreeMap<usize, String> = text
        .lines()
        .filter_map(|line| line.trim_end_matches(',').split_once(','))
        .filter_map(|(index, value)| Some((index.parse().ok()?, value.to_owned())))
        .collect();
    values.into_values().collect()
}

/// Fails with what the command says on stderr: it says nothing when all is well.
async fn output(mut command: Command) -> String {
    let output = command.output().await.expect("the ffmpeg and ffprobe commands are installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}
