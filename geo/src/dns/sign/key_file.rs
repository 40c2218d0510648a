//! The files of keys: for each a private key in PEM that only its owner may read, and beside it a TOML with its zone,
//! kind and times.
//!
//! `cdn.example-csk-01234.pem` and `cdn.example-csk-01234.toml`. The TOML is written last and taken away first, so that
//! a crash leaves at most a private key that nobody uses; whatever was left half done can be done again. Invariant: a
//! private key that others than its owner may read is not used.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hickory_proto::{
    dnssec::{Algorithm, PublicKey, SigningKey, crypto::EcdsaSigningKey, rdata::DNSKEY},
    rr::Name,
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use super::rollover::{Kind, Life, Times};

/// A key, read from its files.
pub struct Key {
    /// The apex of its zone, in lower case.
    pub zone: Name,
    /// What it signs and when it took its steps.
    pub life: Life,
    /// The public key as it is published.
    pub dnskey: DNSKEY,
    /// What signs.
    pub(super) signing: EcdsaSigningKey,
}

/// What stands in the TOML.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    zone: String,
    kind: Kind,
    times: Times,
}

/// Why a key cannot be read, made or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A file or the folder.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// Others may read it.
    #[error("{path}: others than its owner may read it: mode {mode:o}, and 600 is needed")]
    Mode {
        /// The private key.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What stands in the TOML is not what should.
    #[error("{0}: {1}")]
    Syntax(PathBuf, String),
    /// What stands in the PEM is no P-256 key.
    #[error("{0}: no private key of P-256 in PKCS #8")]
    NoKey(PathBuf),
    /// The folder holds too many.
    #[error("{0}: more than {KEYS_MAX} keys")]
    TooMany(PathBuf),
    /// The name of the zone cannot be that of a file.
    #[error(
        "{0}: a signed zone's name has letters, digits, hyphens and underscores, and is not the root"
    )]
    Zone(String),
    /// No key of another tag was drawn.
    #[error("no key with a tag of its own was drawn")]
    Tags,
}

/// A key that was drawn and is in no file yet.
pub(super) struct Drawn {
    pub(super) der: PrivatePkcs8KeyDer<'static>,
    pub(super) tag: u16,
    pub(super) dnskey: DNSKEY,
    signing: EcdsaSigningKey,
}

impl Drawn {
    /// The key, as it will be read.
    pub(super) fn into_key(self, zone: &Name, life: Life) -> Key {
        Key { zone: zone.clone(), life, dnskey: self.dnskey, signing: self.signing }
    }
}

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// How many more changes of files succeed.
    #[cfg(test)]
    pub(super) changes_left: Option<std::sync::Arc<std::sync::atomic::AtomicUsize>>,
}

impl Folder {
    /// The folder at a path; it is made with its first key.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            #[cfg(test)]
            changes_left: None,
        }
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Whether this process may write there.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(&self.path, wanted).is_ok()
    }

    /// Reads all keys, in the order of their files' names.
    ///
    /// # Errors
    /// [`KeyFileError`]
    pub fn read(&self) -> Result<Vec<Key>, KeyFileError> {
        self.all("toml")?.iter().map(|path| read_key(path)).collect()
    }

    /// Makes a key whose tag is none of `taken`, and writes it.
    ///
    /// # Errors
    /// [`KeyFileError`]
    pub fn generate(
        &self,
        zone: &Name,
        kind: Kind,
        times: Times,
        taken: &[u16],
    ) -> Result<Key, KeyFileError> {
        let zone = zone.to_lowercase();
        file_name(&zone, kind, 0)?;
        let drawn = Self::draw(kind, taken)?;
        let life = Life { tag: drawn.tag, kind, times };
        self.make(&zone, &life, &drawn.der)?;
        Ok(drawn.into_key(&zone, life))
    }

    /// Draws a key whose tag is none of `taken`, and writes nothing.
    pub(super) fn draw(kind: Kind, taken: &[u16]) -> Result<Drawn, KeyFileError> {
        let der = (0..TAG_TRIES)
            .find_map(|_| {
                let der = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).ok()?;
                let (_, _, tag) = parse(&der, kind)?;
                (!taken.contains(&tag)).then_some(der)
            })
            .ok_or(KeyFileError::Tags)?;
        let (signing, dnskey, tag) = parse(&der, kind).ok_or(KeyFileError::Tags)?;
        Ok(Drawn { der, tag, dnskey, signing })
    }

    /// Writes the files of a key, also over what was left of it half done.
    pub(super) fn make(
        &self,
        zone: &Name,
        life: &Life,
        der: &PrivatePkcs8KeyDer<'_>,
    ) -> Result<(), KeyFileError> {
        let path = self.path(zone, life, "pem")?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| KeyFileError::File(self.path.clone(), error))?;
        self.replace(&path, pem(der.secret_pkcs8_der()).as_bytes())?;
        self.write_times(zone, life)
    }

    /// The private key of a key, out of its file.
    pub(super) fn secret(&self, key: &Key) -> Result<PrivatePkcs8KeyDer<'static>, KeyFileError> {
        Ok(read_private(self.path(&key.zone, &key.life, "pem")?)?.1)
    }

    /// Writes the steps that a key has taken.
    ///
    /// # Errors
    /// [`KeyFileError`]
    pub fn write_times(&self, zone: &Name, life: &Life) -> Result<(), KeyFileError> {
        let path = self.path(zone, life, "toml")?;
        let written = Written { zone: zone.to_ascii(), kind: life.kind, times: life.times };
        let text = toml::to_string(&written)
            .map_err(|error| KeyFileError::Syntax(path.clone(), error.to_string()))?;
        self.replace(&path, text.as_bytes())
    }

    /// Takes a key away for ever; what is not there is gone already.
    ///
    /// # Errors
    /// [`KeyFileError`]
    pub fn remove(&self, zone: &Name, kind: Kind, tag: u16) -> Result<(), KeyFileError> {
        let life = Life { tag, kind, times: Times::published(std::time::UNIX_EPOCH) };
        for extension in ["toml", "pem"] {
            let path = self.path(zone, &life, extension)?;
            let removed = self.may_change().and_then(|()| fs::remove_file(&path));
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => self.sync(),
            }
            .map_err(|error| KeyFileError::File(path, error))?;
        }
        Ok(())
    }

    /// Writes a file that others see whole, as it was or as it shall be.
    pub(super) fn replace(&self, path: &Path, content: &[u8]) -> Result<(), KeyFileError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // A file left by a crash may have another mode: it is removed, not reused.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.may_change().and_then(|()| write_new(&beside, content)),
        }
        .and_then(|()| self.may_change())
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| self.sync())
        .map_err(|error| KeyFileError::File(path.to_owned(), error))
    }

    /// The files with an ending, in the order of their names.
    pub(super) fn all(&self, extension: &str) -> Result<Vec<PathBuf>, KeyFileError> {
        let failed = |error| KeyFileError::File(self.path.clone(), error);
        let mut paths = vec![];
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|is| is == extension) {
                paths.push(path);
            }
            if paths.len() > KEYS_MAX {
                return Err(KeyFileError::TooMany(self.path.clone()));
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// When any of the files was changed last, and how many there are: what tells whether to read them again.
    ///
    /// # Errors
    /// [`KeyFileError::File`]
    pub fn fingerprint(&self) -> Result<Vec<(PathBuf, i64, i64, u64)>, KeyFileError> {
        let failed = |error| KeyFileError::File(self.path.clone(), error);
        let mut all = vec![];
        for entry in fs::read_dir(&self.path).map_err(failed)?.take(3 * KEYS_MAX) {
            let entry = entry.map_err(failed)?;
            // A file that is gone by now is one that is not there.
            if let Ok(is) = entry.metadata() {
                all.push((entry.path(), is.mtime(), is.mtime_nsec(), is.size()));
            }
        }
        all.sort();
        Ok(all)
    }

    /// The file of a zone with an ending.
    pub(super) fn of_zone(&self, zone: &Name, extension: &str) -> Result<PathBuf, KeyFileError> {
        Ok(self.path.join(format!("{}.{extension}", plain(zone)?)))
    }

    fn path(&self, zone: &Name, life: &Life, extension: &str) -> Result<PathBuf, KeyFileError> {
        let name = file_name(zone, life.kind, life.tag)?;
        Ok(self.path.join(format!("{name}.{extension}")))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Where a test lets the machine die: before this change of a file.
    #[cfg_attr(not(test), expect(clippy::unused_self, clippy::unnecessary_wraps))]
    fn may_change(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = &self.changes_left {
            use std::sync::atomic::Ordering::Relaxed;
            let less = |left: usize| left.checked_sub(1);
            left.fetch_update(Relaxed, Relaxed, less)
                .map_err(|_| io::Error::other("the machine died"))?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("zone", &self.zone)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

fn read_key(path: &Path) -> Result<Key, KeyFileError> {
    let syntax = |message: String| KeyFileError::Syntax(path.to_owned(), message);
    let failed = |error| KeyFileError::File(path.to_owned(), error);
    let file = File::open(path).map_err(failed)?;
    let text = String::from_utf8(read_bounded(file, FILE_MAX).map_err(failed)?)
        .map_err(|error| syntax(error.to_string()))?;
    let Written { zone, kind, times } =
        toml::from_str(&text).map_err(|error| syntax(error.to_string()))?;
    let mut zone =
        Name::from_ascii(&zone).map_err(|error| syntax(format!("zone: {error}")))?.to_lowercase();
    zone.set_fqdn(true);

    let (path, der) = read_private(path.with_extension("pem"))?;
    let (signing, dnskey, tag) =
        parse(&der, kind).ok_or_else(|| KeyFileError::NoKey(path.clone()))?;
    // The name says which key it is to whoever looks into the folder; it must not lie.
    let name = file_name(&zone, kind, tag)?;
    if path.file_stem().is_none_or(|stem| *stem != *name) {
        return Err(KeyFileError::Syntax(path, format!("this key's files are called {name}")));
    }
    Ok(Key { zone, life: Life { tag, kind, times }, dnskey, signing })
}

fn read_private(path: PathBuf) -> Result<(PathBuf, PrivatePkcs8KeyDer<'static>), KeyFileError> {
    let failed = |error| KeyFileError::File(path.clone(), error);
    let file = File::open(&path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode { path, mode });
    }
    let text = read_bounded(file, FILE_MAX).map_err(failed)?;
    let der =
        PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| KeyFileError::NoKey(path.clone()))?;
    Ok((path, der))
}

fn parse(der: &PrivatePkcs8KeyDer<'_>, kind: Kind) -> Option<(EcdsaSigningKey, DNSKEY, u16)> {
    let signing = EcdsaSigningKey::from_pkcs8(der, Algorithm::ECDSAP256SHA256).ok()?;
    let public = signing.to_public_key().ok()?;
    debug_assert_eq!(public.public_bytes().len(), 64, "two coordinates of P-256");
    let dnskey = DNSKEY::new(true, kind.signs_keys(), false, public);
    let tag = dnskey.calculate_key_tag().ok()?;
    Some((signing, dnskey, tag))
}

fn file_name(zone: &Name, kind: Kind, tag: u16) -> Result<String, KeyFileError> {
    Ok(format!("{}-{kind}-{tag:05}", plain(zone)?))
}

/// A zone as files are called.
fn plain(zone: &Name) -> Result<String, KeyFileError> {
    let zone = zone.to_ascii();
    let name = zone.trim_end_matches('.');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) {
        return Err(KeyFileError::Zone(zone));
    }
    Ok(name.to_owned())
}

/// Reads a file of at most so many bytes.
pub(super) fn read_bounded(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a key"));
    }
    Ok(content)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// The most keys of a folder: a few for each zone of the largest fleet we know of.
const KEYS_MAX: usize = 4096;
/// The largest file: a P-256 key in PEM has 241 bytes, its TOML fewer.
const FILE_MAX: u64 = 4096;
/// How often a key is drawn anew because its tag is taken: once in 65,536 it is.
const TAG_TRIES: usize = 16;

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::SystemTime};

    use super::*;

    fn zone() -> Name {
        Name::from_ascii("CDN.example.").expect("a name")
    }

    #[test]
    fn a_key_is_made_read_changed_and_removed() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path().join("keys"));
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        let made = folder.generate(&zone(), Kind::Csk, Times::published(now), &[]).expect("made");
        assert_eq!(made.dnskey.flags(), 257);
        let before = folder.fingerprint().expect("readable");
        let mut read = folder.read().expect("good").pop().expect("one");
        assert_eq!((read.life, &read.dnskey), (made.life, &made.dnskey));
        assert_eq!(read.zone.to_ascii(), "cdn.example.");
        read.life.times.active = Some(now);
        folder.write_times(&read.zone, &read.life).expect("written");
        assert_ne!(folder.fingerprint().expect("readable"), before);
        let again = folder.read().expect("good").pop().expect("one");
        assert_eq!(again.life.times.active, Some(now));
        folder.remove(&again.zone, Kind::Csk, again.life.tag).expect("removed");
        folder.remove(&again.zone, Kind::Csk, again.life.tag).expect("gone already");
        assert!(folder.read().expect("good").is_empty());
        assert!(fs::read_dir(place.path().join("keys")).expect("there").next().is_none());
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_file_and_the_reason() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let times = Times::published(SystemTime::UNIX_EPOCH);
        let key = folder.generate(&zone(), Kind::Zsk, times, &[]).expect("made");
        assert_eq!(key.dnskey.flags(), 256);
        let path = |extension| folder.path(&key.zone, &key.life, extension);
        let (pem, toml) = ["pem", "toml"].map(|extension| path(extension).expect("a path")).into();
        let (good_pem, good_toml) =
            (fs::read(&pem).expect("there"), fs::read_to_string(&toml).expect("there"));
        let error = || folder.read().expect_err("refused").to_string();

        fs::set_permissions(&pem, fs::Permissions::from_mode(0o640)).expect("ours");
        assert!(error().contains("mode 640"), "{}", error());
        fs::set_permissions(&pem, fs::Permissions::from_mode(0o600)).expect("ours");
        for (change, with, reason) in [
            ("zsk", "csk", "this key's files are called cdn.example-csk"),
            ("zsk", "dsk", "unknown variant"),
            ("cdn.example.", "other.example.", "this key's files are called other.example-zsk"),
            ("published", "publisht", "publisht"),
            ("1970", "197", "expected"),
        ] {
            fs::write(&toml, good_toml.replace(change, with)).expect("ours");
            assert!(error().contains(reason), "{reason}: {}", error());
        }
        fs::write(&toml, &good_toml).expect("ours");
        for bad in [&b"nonsense"[..], &[b'x'; 5000], &good_pem[..100]] {
            fs::write(&pem, bad).expect("ours");
            assert!(error().contains(".pem"), "{}", error());
        }
        fs::write(&pem, &good_pem).expect("ours");
        assert_eq!(folder.read().expect("good").len(), 1);
        for name in [".", "a b.example.", "ex\\000ample."] {
            let zone = Name::from_ascii(name);
            let made = zone.map(|zone| folder.generate(&zone, Kind::Csk, times, &[]));
            assert!(!matches!(made, Ok(Ok(_))), "{name}");
        }
    }

    #[test]
    fn nothing_of_a_private_key_is_shown() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let times = Times::published(SystemTime::UNIX_EPOCH);
        let key = folder.generate(&zone(), Kind::Csk, times, &[]).expect("made");
        let shown = format!("{key:?}");
        assert!(!shown.contains("sign"), "{shown}");
    }
}
