//! Cookies (RFC 7873) in the form that servers of several makers share (RFC 9018).
//!
//! A client that shows a cookie of ours got an answer of ours at that address: it is who it says. Nodes at one address
//! share the secrets. Pure but for the file. Invariant: secrets are in no log, and are compared in constant time.

use std::{
    fmt, fs,
    hash::Hasher,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

/// The section `[cookies]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether there are cookies.
    pub enabled: bool,
    /// A file of secrets, the same at all nodes of one address; absent: one of this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, secret_file: None }
    }
}

/// Makes and checks cookies.
pub struct Cookies {
    secrets: ArcSwap<Secrets>,
    file: Option<PathBuf>,
}

/// The first makes cookies, all check them.
struct Secrets(Vec<[u8; 16]>);

/// What a cookie proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// There was none.
    Nothing,
    /// The client knows cookies and has none of ours that is good.
    Own,
    /// It is who it says.
    Ours,
}

impl Cookies {
    /// With the secrets of the file, or with one that nobody else knows; `None` when there are to be no cookies.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or it has no secrets.
    pub fn new(config: &Config) -> anyhow::Result<Option<Self>> {
        if !config.enabled {
            return Ok(None);
        }
        let secrets = match &config.secret_file {
            Some(file) => Secrets::read(file).with_context(|| file.display().to_string())?,
            None => {
                let mut secret = [0; 16];
                rand::fill(&mut secret).context("no random numbers")?;
                Secrets(vec![secret])
            }
        };
        Ok(Some(Self { secrets: ArcSwap::from_pointee(secrets), file: config.secret_file.clone() }))
    }

    /// Takes the secrets of the file again; without a file, nothing.
    ///
    /// # Errors
    /// As when it was read first; the secrets stay as they were.
    pub fn reload(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let secrets = Secrets::read(file).with_context(|| file.display().to_string())?;
        if secrets.0 != self.secrets.load().0 {
            self.secrets.store(secrets.into());
            tracing::info!("the secrets of cookies were replaced");
        }
        Ok(())
    }

    /// What the option of a query proves, and the option that goes back.
    #[must_use]
    pub fn judge(
        &self,
        option: Option<&[u8]>,
        client: IpAddr,
        now: SystemTime,
    ) -> (Shown, Option<Vec<u8>>) {
        let Some((own, shown)) = option.and_then(|option| option.split_first_chunk::<8>()) else {
            return (Shown::Nothing, None);
        };
        let secrets = self.secrets.load();
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as u32;
        let back = |server: &[u8]| Some([own.as_slice(), server].concat());
        let made = |secret| make(secret, own, head(now), client);
        let is_ours = |secret: &&[u8; 16]| {
            // What is reserved goes into the hash as it came (RFC 9018, appendix A.3).
            let Some((head, _)) = shown.split_first_chunk::<8>() else { return false };
            let made = make(secret, own, *head, client);
            head[0] == VERSION && verify_slices_are_equal(&made, shown).is_ok()
        };
        let found = secrets.0.iter().position(|secret| is_ours(&secret));
        // Serial arithmetic (RFC 9018 4.3): seconds wrap in 2106.
        let age = now.wrapping_sub(made_at(shown)).cast_signed();
        match found {
            Some(index) if (-FUTURE_MAX..=AGE_MAX).contains(&age) => {
                let is_fresh = index == 0 && age <= RENEW_AGE;
                let server = if is_fresh { back(shown) } else { back(&made(&secrets.0[0])) };
                (Shown::Ours, server)
            }
            _ => (Shown::Own, back(&made(&secrets.0[0]))),
        }
    }
}

impl Secrets {
    /// A line for each: 32 digits, hexadecimal. The first makes cookies; to change it, put the new one second, at all
    /// nodes, then first, then take the old one away an hour later.
    fn read(file: &Path) -> anyhow::Result<Self> {
        let mode = fs::metadata(file)?.permissions().mode();
        ensure!(mode & 0o077 == 0, "others can read it (mode {:o}); it is to be 600", mode & 0o777);
        let text = fs::read_to_string(file)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets: Option<Vec<_>> = lines.take(SECRETS_MAX + 1).map(secret).collect();
        let secrets = secrets.context("each line is 32 hexadecimal digits")?;
        let count = secrets.len();
        ensure!((1..=SECRETS_MAX).contains(&count), "there are 1 to {SECRETS_MAX} secrets");
        Ok(Self(secrets))
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookies").field("file", &self.file).finish_non_exhaustive()
    }
}

fn secret(line: &str) -> Option<[u8; 16]> {
    let is_hex = line.len() == 32 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(line, 16).ok().map(u128::to_be_bytes))?
}

/// When a server's cookie says it was made; 0 of what is none.
fn made_at(server: &[u8]) -> u32 {
    server.get(4..8).map_or(0, |time| u32::from_be_bytes([time[0], time[1], time[2], time[3]]))
}

/// What a cookie that is made now begins with.
fn head(now: u32) -> [u8; 8] {
    let [a, b, c, d] = now.to_be_bytes();
    [VERSION, 0, 0, 0, a, b, c, d]
}

/// A server's cookie (RFC 9018 4).
fn make(secret: &[u8; 16], own: &[u8; 8], head: [u8; 8], client: IpAddr) -> [u8; 16] {
    let mut cookie = [0; 16];
    cookie[..8].copy_from_slice(&head);
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(own);
    hasher.write(&cookie[..8]);
    match client {
        IpAddr::V4(client) => hasher.write(&client.octets()),
        IpAddr::V6(client) => hasher.write(&client.octets()),
    }
    cookie[8..].copy_from_slice(&hasher.finish().to_le_bytes());
    cookie
}

/// The form of cookies that RFC 9018 defines.
const VERSION: u8 = 1;
/// How old a cookie may be, in seconds (RFC 9018 4.3).
const AGE_MAX: i32 = 3600;
/// How old it is when a newer one goes back.
const RENEW_AGE: i32 = 1800;
/// How far the clocks of two nodes may differ.
const FUTURE_MAX: i32 = 300;
/// The old one, the one in use, and the next.
const SECRETS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    fn cookies(lines: &[&str]) -> Cookies {
        let secrets = Secrets(lines.iter().map(|line| secret(line).unwrap()).collect());
        Cookies { secrets: ArcSwap::from_pointee(secrets), file: None }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const OTHER: &str = "dd3bdf9344b678b185a6f5cb60fca715";

    /// The examples of RFC 9018, appendix A.
    #[test]
    fn cookies_are_those_of_other_makers() {
        let (new, old) = (Shown::Own, Shown::Ours);
        for (secrets, client, time, query, shown, answer) in [
            (
                vec![SECRET],
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957",
                new,
                "010000005cf79f111f8130c3eee29480",
            ),
            (
                vec![SECRET],
                "198.51.100.100",
                1_559_734_385,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                old,
                "010000005cf7a871d4a564a1442aca77",
            ),
            // In the example it is good; it is older than an hour.
            (
                vec![SECRET],
                "203.0.113.203",
                1_559_734_700,
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
                new,
                "010000005cf7a9acf73a7810aca2381e",
            ),
            (
                vec![SECRET],
                "203.0.113.203",
                1_559_728_000,
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
                old,
                "01abcdef5cf78f71a314227b6679ebf5",
            ),
            (
                vec!["445536bcd2513298075a5d379663c962", OTHER],
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                1_559_741_961,
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
                old,
                "010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let cookies = cookies(&secrets);
            let judged = cookies.judge(Some(&hex(query)), client.parse().unwrap(), at(time));
            assert_eq!(judged.0, shown, "{query}");
            assert_eq!(judged.1.unwrap(), hex(&format!("{}{answer}", &query[..16])));
        }
    }

    #[test]
    fn a_cookie_is_good_for_its_client_for_an_hour() {
        let (cookies, client) = (cookies(&[SECRET]), "2001:db8::1".parse().unwrap());
        let (_, given) = cookies.judge(Some(&[7; 8]), client, at(10_000));
        let given = given.unwrap();
        let judged = |cookie: &[u8], client, time| cookies.judge(Some(cookie), client, at(time));
        assert_eq!(judged(&given, client, 10_100), (Shown::Ours, Some(given.clone())));
        for (time, shown) in
            [(13_600, Shown::Ours), (13_601, Shown::Own), (9_700, Shown::Ours), (9_699, Shown::Own)]
        {
            assert_eq!(judged(&given, client, time).0, shown, "{time}");
        }
        let (shown, renewed) = judged(&given, client, 11_801);
        assert_eq!(shown, Shown::Ours);
        assert_ne!(renewed.unwrap(), given);
        assert_eq!(judged(&given, "2001:db8::2".parse().unwrap(), 10_100).0, Shown::Own);
        let mut bent = given.clone();
        bent[20] ^= 1;
        assert_eq!(judged(&bent, client, 10_100).0, Shown::Own);
        assert_eq!(judged(&given[..16], client, 10_100).0, Shown::Own);
        assert_eq!(cookies.judge(None, client, at(1)), (Shown::Nothing, None));
    }

    #[test]
    fn a_secret_that_is_replaced_is_good_for_a_while() {
        let client = "192.0.2.1".parse().unwrap();
        let given = cookies(&[SECRET]).judge(Some(&[1; 8]), client, at(5000)).1.unwrap();
        let both = cookies(&[OTHER, SECRET]);
        let (shown, back) = both.judge(Some(&given), client, at(5001));
        assert_eq!(shown, Shown::Ours);
        assert_eq!(both.judge(Some(&back.unwrap()), client, at(5002)).0, Shown::Ours);
        assert_eq!(cookies(&[OTHER]).judge(Some(&given), client, at(5001)).0, Shown::Own);
    }

    #[test]
    fn the_file_is_read_when_nobody_else_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cookies");
        let config = Config { enabled: true, secret_file: Some(file.clone()) };
        let error = |text: &str, mode| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            Cookies::new(&config).map_err(|error| format!("{error:#}")).map(|_| ())
        };
        assert!(Cookies::new(&config).is_err());
        assert_eq!(error(&format!("{SECRET}\n\n{OTHER}\n"), 0o600), Ok(()));
        for (text, mode, reason) in [
            (SECRET, 0o640, "others can read it"),
            ("", 0o600, "1 to 3"),
            ("x5e973e5a6b2a43f48e7dc849e37bfcf", 0o600, "32 hexadecimal"),
            ("+5e973e5a6b2a43f48e7dc849e37bfcf", 0o600, "32 hexadecimal"),
            (&[SECRET; 4].join("\n"), 0o600, "1 to 3"),
        ] {
            assert!(error(text, mode).unwrap_err().contains(reason), "{text}");
        }
        assert!(Cookies::new(&Config { enabled: false, secret_file: None }).unwrap().is_none());
    }
}
