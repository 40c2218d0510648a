//! Clips, made by the worker's own `generate` or by the ffmpeg command line.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

/// A file that lives as long as the test.
pub(crate) struct Clip {
    folder: TempDir,
    name: String,
}

impl Clip {
    /// A place for a file of this name.
    pub(crate) fn empty(name: &str) -> Self {
        Self { folder: TempDir::new().expect("a place for clips"), name: name.to_owned() }
    }

    /// A file with these bytes.
    pub(crate) fn of_bytes(name: &str, bytes: &[u8]) -> Self {
        let clip = Self::empty(name);
        fs::write(clip.path(), bytes).expect("written");
        clip
    }

    /// A clip from `generate`.
    pub(crate) fn generated(arguments: &[&str]) -> Self {
        let clip = Self::empty("clip.mp4");
        super::generate(&clip.path(), arguments);
        clip
    }

    /// A clip from the ffmpeg command line: everything between `-y` and the output's name.
    pub(crate) fn from_ffmpeg(name: &str, arguments: &str) -> Self {
        let clip = Self::empty(name);
        let path = clip.path();
        let arguments = arguments.split_whitespace();
        ffmpeg(arguments.chain([path.to_str().expect("a plain path")]));
        clip
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).expect("made before")
    }
}

/// Runs ffmpeg and gives what it wrote to stdout.
pub(crate) fn ffmpeg<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .output()
        .expect("the ffmpeg command is installed for tests");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg: {stderr}");
    output.stdout
}
