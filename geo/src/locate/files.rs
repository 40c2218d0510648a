//! Several files as one: those of two families, cities before countries, networks beside them.
//!
//! Free data comes as a file for each family as a rule, and what one file does not say another one may. So files of one
//! kind stand in an order: what the first says of an address counts, as far as it says anything. Invariant: a file never
//! changes what those before it say.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use maxminddb::WithinOptions;

use super::{File, LocateError, Located, PREFIXES_MAX, record::PlaceRecord};
use crate::unit::{Units, UnitsBuilder};

/// The most files of one kind: one for each family of a few makers.
pub const FILES_MAX: usize = 16;

/// Files of places and of networks, open, each in its order.
#[derive(Default)]
pub struct Files {
    places: Vec<File>,
    networks: Vec<File>,
}

impl Files {
    /// Opens files; a folder stands for all files `*.mmdb` in it, in the order of their names.
    ///
    /// # Errors
    /// [`LocateError`]
    pub fn open(places: &[PathBuf], networks: &[PathBuf]) -> Result<Self, LocateError> {
        let open = |paths: &[PathBuf]| -> Result<Vec<File>, LocateError> {
            listed(paths)?.iter().map(|path| File::open(path)).collect()
        };
        Ok(Self { places: open(places)?, networks: open(networks)? })
    }

    /// Where an address is; `None` when no file says it.
    ///
    /// # Errors
    /// [`LocateError::Format`] when a file is damaged there.
    pub fn locate(&self, address: IpAddr) -> Result<Option<Located>, LocateError> {
        located_in(&self.places, address)
    }

    /// The network that an address belongs to; 0 when no file says it.
    ///
    /// # Errors
    /// [`LocateError::Format`] when a file is damaged there.
    pub fn asn(&self, address: IpAddr) -> Result<u32, LocateError> {
        for file in &self.networks {
            match file.asn(address)? {
                0 => {}
                asn => return Ok(asn),
            }
        }
        Ok(0)
    }

    /// Reads all prefixes into units, which networks part further.
    ///
    /// # Errors
    /// [`LocateError`]
    pub fn units(&self) -> Result<Units, LocateError> {
        let mut builder = UnitsBuilder::default();
        let mut prefixes = 0;
        for (number, file) in self.places.iter().enumerate() {
            self.read(file, &self.places[..number], &mut builder, &mut prefixes)?;
        }
        Ok(builder.build())
    }

    fn read(
        &self,
        file: &File,
        before: &[File],
        builder: &mut UnitsBuilder,
        prefixes: &mut usize,
    ) -> Result<(), LocateError> {
        let damaged = |source| file.damaged(source);
        let mut has_places = false;
        // Without the aliases under which IPv4 is in IPv6 again.
        for found in file.reader.networks(WithinOptions::default()).map_err(damaged)? {
            let found = found.map_err(damaged)?;
            let network = found.network().map_err(damaged)?;
            let (first, prefix) = (network.ip(), network.prefix());
            let record = found.decode::<PlaceRecord<'_>>().map_err(damaged)?;
            let Some(located) = record.and_then(|record| record.located(prefix)) else { continue };
            has_places = true;
            // What is said of a part of it alone has the longer prefix, and so goes before it anyway.
            if located_in(before, first)?.is_some_and(|known| known.prefix <= prefix) {
                continue;
            }
            *prefixes += 1;
            if *prefixes > PREFIXES_MAX {
                return Err(LocateError::TooManyPrefixes { path: file.path.clone() });
            }
            let added =
                builder.add(first, prefix, located.country, self.asn(first)?, located.place);
            added
                .map_err(|source| LocateError::TooManyUnits { path: file.path.clone(), source })?;
        }
        if has_places { Ok(()) } else { Err(LocateError::Nothing { path: file.path.clone() }) }
    }
}

/// The files of a list in which folders stand for what is in them.
///
/// # Errors
/// [`LocateError`]
pub fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LocateError> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            all.extend(in_folder(path)?);
        } else {
            all.push(path.clone());
        }
        if let Some(path) = all.get(FILES_MAX) {
            return Err(LocateError::TooManyFiles { path: path.clone() });
        }
    }
    Ok(all)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, LocateError> {
    let failed = |source| LocateError::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // What is being written has a name that begins with a dot.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if !is_hidden && path.extension().is_some_and(|extension| extension == "mmdb") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(LocateError::Empty { path: folder.to_owned() }) } else { Ok(files) }
}

fn located_in(files: &[File], address: IpAddr) -> Result<Option<Located>, LocateError> {
    for file in files {
        if let Some(found) = file.locate(address)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        locate::write::from_lines,
        place::Place,
        unit::{UnitIndex, UnitKey},
    };

    const CITIES_V4: &str = "10.0.0.0/16,DE,50.1,8.7,Frankfurt\n10.1.5.0/24,DE,52.5,13.4,Berlin\n";
    const CITIES_V6: &str = "2001:db8::/32,AU,-33.9,151.2,Sydney\n";
    const COUNTRIES: &str = "10.0.0.0/15,FR,46,2\n10.0.7.0/24,FR,46,2\n2001:db8:1::/48,FR,46,2\n2001:db9::/32,FR,46,2\n";

    fn write(folder: &Path, files: &[(&str, &str)]) -> Vec<PathBuf> {
        let write = |(name, lines): &(&str, &str)| {
            let path = folder.join(name);
            fs::write(&path, from_lines(lines, 7).expect("good lines")).expect("writable");
            path
        };
        files.iter().map(write).collect()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn country(units: &Units, text: &str) -> Option<[u8; 2]> {
        let unit: Option<UnitIndex> = units.lookup().find(address(text)).unit;
        unit.map(|unit| units.all()[unit as usize].key.country)
    }

    #[test]
    fn files_of_both_families_are_one_and_the_first_that_says_something_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = [("a4.mmdb", CITIES_V4), ("a6.mmdb", CITIES_V6), ("b.mmdb", COUNTRIES)];
        let paths = write(folder.path(), &named);
        fs::write(folder.path().join(".c.mmdb.new"), "half of it").expect("writable");
        fs::write(folder.path().join("NOTICE.txt"), "whose it is").expect("writable");
        for places in [paths.as_slice(), &[folder.path().to_owned()]] {
            let files = Files::open(places, &[]).expect("good files");
            let units = files.units().expect("good files");
            for (text, expected) in [
                ("10.0.200.1", Some(b"DE")),
                // The country has a longer prefix there, and is not asked.
                ("10.0.7.1", Some(b"DE")),
                ("10.1.5.1", Some(b"DE")),
                ("10.1.6.1", Some(b"FR")),
                ("2001:db8:1::1", Some(b"AU")),
                ("2001:db9::1", Some(b"FR")),
                ("192.0.2.1", None),
                ("2001:dba::1", None),
            ] {
                assert_eq!(country(&units, text).as_ref(), expected, "{text}");
                let located = files.locate(address(text)).expect("good files");
                assert_eq!(located.map(|found| found.country).as_ref(), expected, "{text}");
            }
            let sydney = Place::new(-33.9, 151.2).expect("a place");
            assert!(units.index(&UnitKey::new(*b"AU", 0, &sydney)).is_some());
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |places: &[PathBuf]| Files::open(places, &[]).and_then(|files| files.units());
        assert!(matches!(open(&[folder.path().to_owned()]), Err(LocateError::Empty { .. })));
        assert!(
            open(&[folder.path().join("none.mmdb")])
                .is_err_and(|error| error.to_string().contains("none.mmdb"))
        );
        let one = write(folder.path(), &[("one.mmdb", CITIES_V4)]);
        let many = vec![one[0].clone(); FILES_MAX + 1];
        assert!(matches!(open(&many), Err(LocateError::TooManyFiles { .. })));
        assert_eq!(open(&[]).expect("nothing is good").all().len(), 0);
    }
}
