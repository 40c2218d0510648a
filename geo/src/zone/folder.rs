//! The files of a folder, `NAME.zone`: read when they changed, and no more of one than a zone may have.
//!
//! Invariant: a file whose stamp is the same is not opened.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use tidegate_contract::zone::ZONE_BYTES_MAX;

use crate::zone::holding::{Text, Told};

/// What is known of the files of a folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    stamps: HashMap<String, Stamp>,
}

/// Which file it is, how long, and when it or what is known of it changed.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Folder {
    /// What the files say now.
    pub(super) fn look(&mut self, folder: &Path) -> io::Result<BTreeMap<String, Told>> {
        let mut told = BTreeMap::new();
        let mut stamps = HashMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(name) = file.strip_suffix(FILE_END).filter(|name| !name.starts_with('.'))
            else {
                continue;
            };
            let source = path.display().to_string();
            let stamp = fs::metadata(&path).ok().map(|metadata| stamp(&metadata));
            let is_same = stamp.is_some() && self.stamps.get(&source) == stamp.as_ref();
            let text = if is_same { Text::Same } else { text(&path) };
            stamps.extend(stamp.map(|stamp| (source.clone(), stamp)));
            told.insert(source, Told { name: name.to_owned(), text });
        }
        self.stamps = stamps;
        Ok(told)
    }
}

fn text(path: &Path) -> Text {
    let mut text = String::new();
    // One byte more, so that what is too long is found out.
    let read = File::open(path)
        .and_then(|file| file.take(ZONE_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    match read {
        Ok(_) => Text::Is(text),
        Err(error) => Text::Unread(error.to_string()),
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), metadata.len(), modified, changed)
}

/// How the files of zones end.
const FILE_END: &str = ".zone";
