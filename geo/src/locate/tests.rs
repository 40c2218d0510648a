//! Files made of lines, read back by the format's own reader.

use std::{fs, net::Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::unit::{UnitKey, Units};

const LINES: &str = "\
# networks of one's own
10.0.0.0/8,DE,50.11,8.68,Frankfurt
10.1.0.0/16,FR,48.87,2.35,Paris
10.1.2.0/24,FR,45.76,4.84
10.1.3.128/25,GB,51.5,-0.12,London

2001:db8::/32,AU,-33.87,151.21,Sydney
";

fn file(lines: &str) -> File {
    let bytes = write::from_lines(lines, 1_700_000_000).expect("good lines");
    File::parse(Path::new("sample.mmdb"), bytes).expect("a good file")
}

fn units(lines: &str) -> Result<Units, LocateError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sample.mmdb");
    fs::write(&path, write::from_lines(lines, 7).expect("good lines")).expect("writable");
    units_of(&path)
}

fn units_of(path: &Path) -> Result<Units, LocateError> {
    Files::open(&[path.to_owned()], &[])?.units()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn what_was_written_is_read_with_the_longest_prefix() {
    let file = file(LINES);
    assert_eq!(file.kind(), ("Tidegate-City", 1_700_000_000));
    for (text, country, city, prefix) in [
        ("10.200.0.1", b"DE", Some("Frankfurt"), 9),
        ("10.1.200.1", b"FR", Some("Paris"), 17),
        ("10.1.2.9", b"FR", None, 24),
        ("10.1.3.200", b"GB", Some("London"), 25),
        ("2001:db8::9", b"AU", Some("Sydney"), 32),
    ] {
        let found = file.locate(address(text)).expect("readable").expect(text);
        assert_eq!(
            (&found.country, found.city.as_deref(), found.prefix),
            (country, city, prefix),
            "{text}"
        );
    }
    assert_eq!(file.locate(address("192.0.2.1")).expect("readable"), None);
    assert_eq!(file.asn(address("10.1.2.9")).expect("readable"), 0);
}

#[test]
fn prefixes_become_units_of_both_families() {
    let units = units(LINES).expect("good");
    assert_eq!(units.all().len(), 5);
    let key = |text: &str| {
        let unit = units.lookup().find(address(text)).unit.expect(text);
        units.all()[unit as usize].key
    };
    let paris = Place::new(48.87, 2.35).expect("a place");
    assert_eq!(key("10.1.200.1"), UnitKey::new(*b"FR", 0, &paris));
    assert_eq!(
        key("10.1.3.1").country,
        *b"FR",
        "half of a /24 does not speak for it, its own prefix does"
    );
    assert_eq!(key("2001:db8:7::1").country, *b"AU");
    assert_eq!(units.lookup().find(address("192.0.2.1")).unit, None);
}

#[test]
fn a_file_that_names_countries_alone_has_their_places() {
    let record = PlaceRecord::default();
    assert_eq!(record.located(8), None);
    let flat: PlaceRecord<'_> = serde_json::from_str(r#"{"country_code":"JP"}"#).expect("flat");
    let found = flat.located(16).expect("a country");
    assert_eq!((found.country, found.prefix, found.city), (*b"JP", 16, None));
    let flat: PlaceRecord<'_> = serde_json::from_str(
        r#"{"city":"Osaka","country_code":"JP","latitude":34.69,"longitude":135.5}"#,
    )
    .expect("flat");
    assert_eq!(flat.located(16).expect("a city").city.as_deref(), Some("Osaka"));
    let odd: PlaceRecord<'_> =
        serde_json::from_str(r#"{"country_code":"jp","latitude":340.0,"longitude":1.0}"#)
            .expect("flat");
    assert_eq!(odd.located(16), None, "neither letters nor a place");
}

#[test]
fn a_wrong_line_is_named_with_what_is_wrong() {
    for (line, what) in [
        ("10.0.0.0/8", "are wanted"),
        ("10.0.0.0/33,DE,1,1", "not a network"),
        ("10.0.0.0/8,Germany,1,1", "two letters"),
        ("10.0.0.0/8,DE,north,1", "no number"),
        ("10.0.0.0/8,DE,91,1", "no place"),
        ("10.0.0.0/8,DE,NaN,1", "no place"),
    ] {
        let error = write::from_lines(&format!("# one\n{line}\n"), 0).expect_err(line);
        assert_eq!(error.line, 2);
        assert!(error.what.contains(what), "{}", error.what);
    }
    assert!(matches!(units(""), Err(LocateError::Nothing { .. })));
}

proptest! {
    #[test]
    fn whatever_a_file_holds_it_is_an_error_or_units(
        mut cut in 0usize..1000, at in 0usize..1000, byte in any::<u8>(), probe in any::<u32>(),
    ) {
        let mut bytes = write::from_lines(LINES, 7).expect("good lines");
        cut %= bytes.len();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut / 8);
        if let Ok(file) = File::parse(Path::new("damaged.mmdb"), bytes.clone()) {
            let _ = file.locate(IpAddr::V4(Ipv4Addr::from(probe)));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("damaged.mmdb");
        fs::write(&path, bytes).expect("writable");
        let _ = units_of(&path);
    }
}
