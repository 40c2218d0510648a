//! Files that only their owner may read and that are never half written.
//!
//! A file is written beside its place, forced to disk and then renamed over it: after a crash at any point the
//! old or the new content is there, whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Makes a folder that only its owner may enter, with its parents.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file's content, durably, with mode 0600.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    write_new(&beside, content)?;
    fs::rename(&beside, path)?;
    sync_folder_of(path)
}

/// As [`replace`]; what stood there before is kept under another name.
pub(super) fn replace_keeping(path: &Path, kept: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    write_new(&beside, content)?;
    match fs::rename(path, kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::rename(&beside, path)?,
    }
    sync_folder_of(path)
}

/// Reads a file of at most so many bytes; `None` when there is none.
pub(super) fn read(path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut content = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut content)?;
    if content.len() > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {bytes_max} bytes"),
        ));
    }
    Ok(Some(content))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    // A file left by a crash may have another mode: it is removed, not reused.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = (folder.path().join("a.json"), folder.path().join("b.json"));
        fs::write(path.with_extension("new"), "left by a crash").unwrap();
        replace_keeping(&path, &kept, b"one").unwrap();
        assert_eq!(read(&kept, 9).unwrap(), None);
        replace_keeping(&path, &kept, b"two").unwrap();
        assert_eq!(read(&path, 9).unwrap().unwrap(), b"two");
        assert_eq!(read(&kept, 9).unwrap().unwrap(), b"one");
        replace(&path, b"three").unwrap();
        assert_eq!(read(&path, 9).unwrap().unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"12345").unwrap();
        assert!(read(&path, 4).is_err());
        assert_eq!(read(&path, 5).unwrap().unwrap().len(), 5);
    }
}
