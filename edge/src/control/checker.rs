//! Asks a process of its own what it thinks of a release.
//!
//! The process gets nothing but the release: no environment, no files, no time without an end. That it fails in
//! whatever way is a refusal.

use std::{io, path::PathBuf, process::Stdio, time::Duration};

use tidegate_contract::{id::PopId, snapshot::Snapshot};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

use super::{held::Held, trust::Signed, wire};

/// The program that judges.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    program: PathBuf,
}

/// Why a release did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("the check says: {0}")]
    Refused(String),
    #[error("the check took longer than {CHECK_TIMEOUT:?}")]
    Timeout,
    #[error("the check ended with {0}")]
    Died(String),
    #[error("the check cannot run: {0}")]
    Io(#[from] io::Error),
}

impl Checker {
    /// The program of the settings, or this one, even when its file was replaced meanwhile.
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        Self { program: program.unwrap_or_else(|| PathBuf::from("/proc/self/exe")) }
    }

    /// Judges a release whose secrets are opened.
    pub(super) async fn check(&self, release: &[u8], pop: &PopId) -> Result<(), CheckError> {
        let mut child = Command::new(&self.program)
            .args(["check-release", "--pop", pop.as_str()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(io::Error::other("no pipes").into());
        };
        let judged = async {
            let said = async {
                let mut said = Vec::new();
                stdout.take(REASON_BYTES_MAX).read_to_end(&mut said).await.map(|_| said)
            };
            let told = async {
                // One that ends before it has read everything says why on the other pipe.
                let _ = stdin.write_all(release).await;
                drop(stdin);
            };
            let (said, ()) = tokio::join!(said, told);
            Ok::<_, io::Error>((said?, child.wait().await?))
        };
        let (said, status) =
            timeout(CHECK_TIMEOUT, judged).await.map_err(|_| CheckError::Timeout)??;
        match status.code() {
            Some(0) => Ok(()),
            Some(1) if !said.is_empty() => {
                Err(CheckError::Refused(String::from_utf8_lossy(&said).into_owned()))
            }
            _ => Err(CheckError::Died(status.to_string())),
        }
    }
}

/// What a release with opened secrets makes of a PoP; for the process that judges. Who signed it is not looked at.
///
/// # Errors
/// What is wrong with it.
pub fn judge(release: &[u8], pop: &PopId) -> Result<Snapshot, String> {
    let release = <wire::Release as prost::Message>::decode(release)
        .map_err(|error| format!("not a release: {error}"))?;
    let signed = Signed::unverified(&release).map_err(|error| error.to_string())?;
    let held = Held::assemble(signed, release, None).map_err(|error| error.to_string())?;
    held.compile(pop, None).map_err(|error| error.to_string())
}

/// The most bytes that the process reads: a release and the keys of its items.
pub const CHECK_BYTES_MAX: usize = tidegate_contract::release::RELEASE_BYTES_MAX + 16 * 1024 * 1024;
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read of the reason.
const REASON_BYTES_MAX: u64 = 2000;
