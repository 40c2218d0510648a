//! Files out of an archive in the format of POSIX `tar` (ustar), one after the other.
//!
//! Only what registries write is read: regular files with plain names; everything else is passed over. Invariant: no
//! name of the archive ever becomes a path, and no size in it makes more memory or disk be taken than a limit says.

use std::io::{self, Read, Write};

/// One regular file of an archive.
pub(super) struct Entry<'a> {
    path: String,
    content: &'a mut dyn Read,
    bytes: u64,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarballError {
    /// It cannot be read or unpacked, or what is in it cannot be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A head that is none.
    #[error("damaged")]
    Head,
    /// More files than any package has.
    #[error("more than {ENTRIES_MAX} files")]
    Entries,
    /// A file that is larger than it may be.
    #[error("{0:?} has {1} bytes, at most {2} are taken")]
    Size(String, u64, u64),
}

impl Entry<'_> {
    /// The last part of its path, when that is a plain name: letters, digits, `-`, `_` and `.`, not hidden.
    pub(super) fn plain_name(&self) -> Option<&str> {
        let name = self.path.rsplit('/').next()?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let is_good = !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_plain);
        is_good.then_some(name)
    }

    /// Copies the whole of it.
    pub(super) fn copy_to(
        &mut self,
        out: &mut impl Write,
        bytes_max: u64,
    ) -> Result<(), TarballError> {
        if self.bytes > bytes_max {
            return Err(TarballError::Size(self.path.clone(), self.bytes, bytes_max));
        }
        let copied = io::copy(&mut self.content, out)?;
        if copied == self.bytes {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
    }
}

/// Calls `each` with every regular file. What it does not read is passed over; when it gives back an error of its own,
/// that is the result.
pub(super) fn entries<E>(
    mut archive: impl Read,
    mut each: impl FnMut(Entry<'_>) -> Result<Result<(), E>, TarballError>,
) -> Result<Result<(), E>, TarballError> {
    let mut head = [0_u8; BLOCK];
    for _ in 0..ENTRIES_MAX {
        archive.read_exact(&mut head)?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(Ok(()));
        }
        let Head { path, bytes, is_file } = Head::read(&head).ok_or(TarballError::Head)?;
        let padded = bytes.div_ceil(BLOCK as u64) * BLOCK as u64;
        let mut rest = (&mut archive).take(padded);
        if is_file {
            let mut content = (&mut rest).take(bytes);
            if let Err(own) = each(Entry { path, content: &mut content, bytes })? {
                return Ok(Err(own));
            }
        }
        io::copy(&mut rest, &mut io::sink())?;
        if rest.limit() > 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Err(TarballError::Entries)
}

struct Head {
    path: String,
    bytes: u64,
    is_file: bool,
}

impl Head {
    fn read(head: &[u8; BLOCK]) -> Option<Self> {
        let sum: u64 = head
            .iter()
            .enumerate()
            // The sum is taken as if its own field were blank.
            .map(|(at, byte)| if SUM.contains(&at) { u64::from(b' ') } else { u64::from(*byte) })
            .sum();
        if octal(&head[SUM])? != sum {
            return None;
        }
        let bytes = octal(&head[124..136])?;
        // A size that no file has would overflow what is reckoned with it.
        if bytes > 1 << 40 {
            return None;
        }
        let name = &head[..100];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let path = String::from_utf8_lossy(&name[..end]).into_owned();
        Some(Self { path, bytes, is_file: matches!(head[156], b'0' | 0) })
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() || !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return None;
    }
    u64::from_str_radix(text, 8).ok()
}

const BLOCK: usize = 512;
const SUM: std::ops::Range<usize> = 148..156;
/// A package of data has a handful.
const ENTRIES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// An archive of regular files.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, content) in files {
            let mut head = [0_u8; BLOCK];
            head[..path.len()].copy_from_slice(path.as_bytes());
            let size = format!("{:011o}\0", content.len());
            head[124..136].copy_from_slice(size.as_bytes());
            head[156] = b'0';
            head[SUM].fill(b' ');
            let sum: u64 = head.iter().map(|byte| u64::from(*byte)).sum();
            head[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            out.extend(head);
            out.extend(*content);
            out.resize(out.len().div_ceil(BLOCK) * BLOCK, 0);
        }
        out.extend([0; 2 * BLOCK]);
        out
    }

    /// A plain name and the content.
    type Found = (Option<String>, Vec<u8>);

    fn read(archive: &[u8], bytes_max: u64) -> Result<Vec<Found>, TarballError> {
        let mut found = Vec::new();
        entries::<Infallible>(archive, |mut entry| {
            let mut content = Vec::new();
            entry.copy_to(&mut content, bytes_max)?;
            found.push((entry.plain_name().map(str::to_owned), content));
            Ok(Ok(()))
        })?
        .expect("nothing fails");
        Ok(found)
    }

    #[test]
    fn files_are_read_whole_and_never_by_their_path() {
        let long = vec![7_u8; 1300];
        let found = read(
            &archive(&[
                ("package/places.mmdb", &long),
                ("package/../../etc/passwd", b"x"),
                ("package/.hidden", b""),
                ("package/a b", b"y"),
            ]),
            2000,
        )
        .expect("good");
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_deref()).collect();
        assert_eq!(names, [Some("places.mmdb"), Some("passwd"), None, None]);
        assert_eq!(found[0].1, long);
    }

    #[test]
    fn what_is_damaged_cut_off_or_too_large_is_refused() {
        let good = archive(&[("a", &[1; 600])]);
        assert!(matches!(read(&good, 599), Err(TarballError::Size(..))));
        assert!(matches!(read(&good[..700], 600), Err(TarballError::Io(_))));
        let mut damaged = good.clone();
        damaged[0] ^= 1;
        assert!(matches!(read(&damaged, 600), Err(TarballError::Head)));
        assert!(matches!(read(&good[..1536], 600), Err(TarballError::Io(_))));
        let many = archive(&vec![("a", &b""[..]); ENTRIES_MAX + 1]);
        assert!(matches!(read(&many, 600), Err(TarballError::Entries)));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..3000), at in 0..512_usize) {
            let _ = read(&bytes, 10_000);
            let mut good = archive(&[("a", &[1; 600])]);
            good[at] = bytes.pop().unwrap_or(0);
            let _ = read(&good, 10_000);
        }
    }
}
