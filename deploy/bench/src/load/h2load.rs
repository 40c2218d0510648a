//! h2load as the client of H1 and H2: it costs less than ours, so the server is what is full, and it was written by
//! other people than the server.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Protocol, Target};
use crate::core::Cores;

/// The program's name when it is there.
pub(crate) fn find(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then(|| program.to_owned())
}

/// Asks for the object until the time is over; gives back the number of whole answers.
pub(crate) fn run(
    program: &str,
    cores: Cores,
    protocol: Protocol,
    target: &Target,
    time: Duration,
) -> Result<u64> {
    let mut command = cores.client(program);
    if protocol == Protocol::H1 {
        command.arg("--h1");
    } else {
        command.args(["-m", &protocol.streams().to_string(), "-w", "20", "-W", "23"]);
    }
    let url = format!("https://{}{}", target.addr, target.path);
    let output = command
        .args(["-c", &protocol.connections().to_string()])
        .args(["-D", &format!("{}ms", time.as_millis())])
        .args(["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"])
        .arg(url)
        .output()
        .context("running h2load")?;
    ensure!(output.status.success(), "h2load ended with {}", output.status);
    answers(&String::from_utf8_lossy(&output.stdout), target.size)
}

/// From the line `requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout`.
fn answers(text: &str, size: usize) -> Result<u64> {
    let number = |line: &str, word: &str| -> Option<u64> {
        let before = line.split(',').find(|part| part.trim().ends_with(word))?;
        before.split_whitespace().find_map(|part| part.parse().ok())
    };
    let line = |name: &str| text.lines().find(|line| line.starts_with(name));
    let requests = line("requests:").context("h2load printed no requests")?;
    let succeeded = number(requests, "succeeded").context("h2load printed no count")?;
    let failed = number(requests, "failed").unwrap_or(0);
    ensure!(failed == 0, "h2load: {requests}");
    let status = line("status codes:").unwrap_or_default();
    ensure!(
        number(status, "4xx").unwrap_or(0) + number(status, "5xx").unwrap_or(0) == 0,
        "h2load: {status}"
    );
    // "traffic: 1.00GB (… ) total, … headers, … data": bodies in whole, or nothing was measured.
    let data = line("traffic:").and_then(bytes_of_data).context("h2load printed no traffic")?;
    ensure!(data >= succeeded * size as u64, "{data} bytes for {succeeded} answers of {size}");
    Ok(succeeded)
}

fn bytes_of_data(line: &str) -> Option<u64> {
    let part = line.split(',').find(|part| part.trim().ends_with("data"))?;
    let (_, rest) = part.split_once('(')?;
    rest.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
requests: 3 total, 3 started, 3 done, 3 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 3 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 12.6KB (12900) total, 600B (600) headers (space savings 10.00%), 12.0KB (12288) data
";

    #[test]
    fn only_whole_answers_count() {
        assert_eq!(answers(PRINTED, 4096).unwrap(), 3);
        assert!(answers(PRINTED, 5000).is_err());
        assert!(answers(&PRINTED.replace("0 failed", "1 failed"), 4096).is_err());
        assert!(answers(&PRINTED.replace("0 5xx", "1 5xx"), 4096).is_err());
        assert!(answers("", 4096).is_err());
    }
}
