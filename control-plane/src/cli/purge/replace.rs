//! What a purge brings with it: a file that every PoP serves from then on.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use tidegate_contract::{
    purge::PurgeTarget,
    replacement::{BODY_BYTES_MAX, Replacement},
};

use crate::cli::failure::{Exit, Failure};

/// What every PoP serves from then on in the place of what is purged.
#[derive(Args)]
pub(in crate::cli) struct Replace {
    /// Serve this file from then on, without asking the origin; - reads standard input. At most 256 KiB, one URL
    #[arg(long, value_name = "FILE", conflicts_with = "soft")]
    replace: Option<PathBuf>,
    /// Its type; known by itself for .m3u8 and .mpd
    #[arg(long, value_name = "TYPE", requires = "replace")]
    content_type: Option<String>,
    /// One of its headers, like "Cache-Control: max-age=2". May be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "replace", value_parser = parse_header)]
    headers: Vec<(String, String)>,
}

impl Replace {
    /// Reads the file, for the one URL that there is.
    pub(super) fn read(self, targets: &[PurgeTarget]) -> Result<Option<Replacement>, Failure> {
        let Some(path) = self.replace else { return Ok(None) };
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let [PurgeTarget::Url { path: url_path, .. }] = targets else {
            return Err(usage("--replace takes one URL: its body is that of one resource".into()));
        };
        let mut headers = BTreeMap::new();
        for (name, value) in self.headers {
            let name = name.to_ascii_lowercase();
            if headers.contains_key(&name) {
                return Err(usage(format!("--header {name}: it is there twice")));
            }
            headers.insert(name, value);
        }
        if let Some(known) = self.content_type.or_else(|| type_of(url_path).map(str::to_owned)) {
            headers.entry("content-type".to_owned()).or_insert(known);
        }
        if !headers.contains_key("content-type") {
            return Err(usage(format!("what {url_path} is cannot be told: add --content-type")));
        }
        let body =
            read_body(&path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
        let replacement = Replacement { headers, body }.checked();
        replacement.map(Some).map_err(|error| Failure::new(Exit::Invalid, error.to_string()))
    }
}

/// Reads a file, or standard input, no further than shows that it is too large.
fn read_body(path: &Path) -> io::Result<Vec<u8>> {
    let limit = BODY_BYTES_MAX as u64 + 1;
    let mut body = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut body)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// The type of a manifest, by its name.
fn type_of(url_path: &str) -> Option<&'static str> {
    let path = url_path.split('?').next().unwrap_or_default();
    match Path::new(path).extension()?.to_str()? {
        "m3u8" => Some("application/vnd.apple.mpegurl"),
        "mpd" => Some("application/dash+xml"),
        _ => None,
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err("a header is NAME: VALUE".to_owned()),
    }
}
