//! Steering manifests over a real connection, by the real program.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const PLACES: &str = "\
198.51.100.0/24,DE,50.11,8.68,Frankfurt
203.0.113.0/24,AU,-33.87,151.21,Sydney
";

const CONFIG: &str = r#"
[listen]
udp = []
tcp = []

[places]
places = "PLACES"

[fleet]
file = "FLEET"

[steering]
listen = "127.0.0.1:0"

[steering.policies.video]
ttl = "20s"
pathways = [
  { id = "main", pops = [] },
  { id = "fra", pops = ["fra"], host = "fra.cdn.example" },
  { id = "syd", pops = ["syd"], host = "syd.cdn.example" },
]

[steering.policies.reload]
ttl = "20s"
reload_uri = "/steering/reload?a=b"
pathways = [{ id = "main", pops = [] }, { id = "fra", pops = ["fra"], host = "fra.cdn.example" }]

[process]
admin = "127.0.0.1:0"
ready_file = "READY"
"#;

/// A node of geo in a folder of its own.
struct Node {
    child: Child,
    steering: String,
    admin: String,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start(fra: &str, syd: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("lines"), PLACES).expect("writable");
        let made =
            program().args(["make-places"]).arg(path("lines")).arg(path("own.mmdb")).status();
        assert!(made.expect("the program").success());
        let pop = |id: &str, latitude: f64, longitude: f64, state: &str| {
            format!(
                "[[pop]]\nid = \"{id}\"\nlatitude = {latitude}\nlongitude = {longitude}\n\
                 capacity = 100.0\nstate = \"{state}\"\naddresses = [\"192.0.2.1\"]\n"
            )
        };
        let fleet = pop("fra", 50.11, 8.68, fra) + &pop("syd", -33.87, 151.21, syd);
        fs::write(path("fleet.toml"), fleet).expect("writable");
        let config = [("PLACES", "own.mmdb"), ("FLEET", "fleet.toml"), ("READY", "ready.json")]
            .into_iter()
            .fold(CONFIG.to_owned(), |text, (key, name)| {
                text.replace(key, &path(name).display().to_string())
            });
        fs::write(path("geo.toml"), config).expect("writable");
        let child = program()
            .args(["serve", "--config"])
            .arg(path("geo.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        let ready = until_ready(&path("ready.json"));
        let steering = ready["listeners"]["steering"].as_str().expect("an address");
        let admin = ready["admin"].as_str().expect("an address").to_owned();
        Self { child, steering: format!("http://{steering}"), admin, _folder: folder }
    }

    fn get(&self, path: &str, client: &str) -> (u16, String, String) {
        http(&self.steering, path, &[("x-forwarded-for", client)])
    }

    fn manifest(&self, path: &str, client: &str) -> Value {
        let (status, head, body) = self.get(path, client);
        assert_eq!(status, 200, "{body}");
        for line in [
            "cache-control: private, no-store",
            "access-control-allow-origin: *",
            "content-type: application/vnd.apple.steering-list",
        ] {
            assert!(head.contains(line), "{head}");
        }
        serde_json::from_str(&body).expect("JSON")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_player_is_told_the_pop_of_its_place() {
    let node = Node::start("up", "up");
    let clones = json!([
        { "BASE-ID": "main", "ID": "syd", "URI-REPLACEMENT": { "HOST": "syd.cdn.example" } },
        { "BASE-ID": "main", "ID": "fra", "URI-REPLACEMENT": { "HOST": "fra.cdn.example" } },
    ]);
    assert_eq!(
        node.manifest("/steering/video?_HLS_pathway=main&_HLS_throughput=5140000", "203.0.113.9"),
        json!({
            "VERSION": 1, "TTL": 20, "PATHWAY-PRIORITY": ["main", "syd", "fra"], "PATHWAY-CLONES": clones,
        })
    );
    let order = |query: &str, client: &str| {
        node.manifest(&format!("/steering/video{query}"), client)["PATHWAY-PRIORITY"].clone()
    };
    assert_eq!(order("", "198.51.100.1"), json!(["main", "fra", "syd"]));
    // It stays where it is as long as that is fine.
    assert_eq!(
        order("?_DASH_pathway=%22main,syd%22", "198.51.100.1"),
        json!(["syd", "main", "fra"])
    );
    let (status, ..) = node.get("/steering/other", "198.51.100.1");
    assert_eq!(status, 404);
    let (status, ..) = node.get(&format!("/steering/video?{}", "a".repeat(4096)), "198.51.100.1");
    assert_eq!(status, 414);
    let (_, _, metrics) = http(&format!("http://{}", node.admin), "/metrics", &[]);
    for line in [
        "geo_steering_answers_total{outcome=\"stayed\"} 2",
        "geo_steering_answers_total{outcome=\"began\"} 1",
        "geo_steering_answers_total{outcome=\"unknown\"} 1",
        "geo_steering_answers_total{outcome=\"refused\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn a_session_leaves_a_pop_that_drains() {
    let node = Node::start("draining", "up");
    for from in ["main", "fra"] {
        let told = node.manifest(&format!("/steering/video?_HLS_pathway={from}"), "198.51.100.1");
        assert_eq!(told["PATHWAY-PRIORITY"], json!(["syd", "main", "fra"]), "{from}");
    }
    let node = Node::start("down", "up");
    let told = node.manifest("/steering/video?_HLS_pathway=fra", "198.51.100.1");
    assert_eq!(told["PATHWAY-PRIORITY"], json!(["syd", "main"]));
}

/// What draft-pantos-content-steering-05 and the parts of HLS and DASH about it ask of a server, one by one.
#[test]
fn what_the_drafts_ask_of_a_server_holds() {
    type Holds = fn(&Value) -> bool;
    fn priority(told: &Value) -> Vec<&str> {
        let list = told["PATHWAY-PRIORITY"].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(Value::as_str).collect()
    }
    fn clones(told: &Value) -> &[Value] {
        told["PATHWAY-CLONES"].as_array().map_or(&[], Vec::as_slice)
    }
    let asks: [(&str, Holds); 10] = [
        ("VERSION is there and one that is known", |told| told["VERSION"] == 1),
        ("TTL is there, in whole seconds", |told| told["TTL"].as_u64().is_some_and(|ttl| ttl > 0)),
        ("RELOAD-URI is a URI or a relative one, or is left out", |told| {
            told.get("RELOAD-URI").is_none_or(|uri| uri == "/steering/reload?a=b")
        }),
        ("PATHWAY-PRIORITY has at least one pathway", |told| !priority(told).is_empty()),
        ("no pathway is there twice", |told| {
            let mut names = priority(told);
            names.sort_unstable();
            names.windows(2).all(|pair| pair[0] != pair[1])
        }),
        ("ids have letters, digits, '.', '-' and '_' alone", |told| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            priority(told).iter().all(|id| id.bytes().all(is_plain))
        }),
        ("every clone has BASE-ID, ID and URI-REPLACEMENT, and a host that is not empty", |told| {
            clones(told).iter().all(|clone| {
                let host = clone["URI-REPLACEMENT"]["HOST"].as_str();
                clone["BASE-ID"].is_string()
                    && clone["ID"].is_string()
                    && host.is_some_and(|host| !host.is_empty())
            })
        }),
        ("a clone's id is no other pathway's", |told| {
            let ids: Vec<_> = clones(told).iter().map(|clone| &clone["ID"]).collect();
            let is_once = |id: &&&Value| ids.iter().filter(|other| **other == **id).count() == 1;
            ids.iter().filter(is_once).count() == ids.len() && !ids.contains(&&json!("main"))
        }),
        ("its base is a pathway of the manifest that a player has", |told| {
            clones(told).iter().all(|clone| clone["BASE-ID"] == "main")
        }),
        ("every pathway of the order is the manifest's own or a clone", |told| {
            let is_clone = |id: &&str| clones(told).iter().any(|clone| clone["ID"] == **id);
            priority(told).iter().filter(|id| **id != "main").all(is_clone)
        }),
    ];
    for (fra, syd) in
        [("up", "up"), ("draining", "up"), ("down", "up"), ("draining", "down"), ("down", "down")]
    {
        let node = Node::start(fra, syd);
        for policy in ["video", "reload"] {
            // What players add: HLS quotes the pathway or does not, DASH lists several; what nobody knows is no reason
            // to refuse, and neither is a throughput that is none.
            for query in [
                "",
                "?_HLS_pathway=main&_HLS_throughput=5140000",
                "?_HLS_pathway=%22fra%22",
                "?_HLS_pathway=.&_HLS_throughput=",
                "?_HLS_pathway=gone&_HLS_throughput=much",
                "?_DASH_pathway=%22syd,main%22&_DASH_throughput=5140000,",
                "?token=a%26b&_HLS_unknown=1&session",
            ] {
                let told = node.manifest(&format!("/steering/{policy}{query}"), "198.51.100.1");
                for (what, holds) in &asks {
                    assert!(holds(&told), "{what}: fra {fra}, syd {syd}, {policy}{query}: {told}");
                }
                assert_eq!(told.get("RELOAD-URI").is_some(), policy == "reload");
            }
        }
        // Who follows its orders is told the same again: a session stays where it is sent.
        let mut at = "main".to_owned();
        for turn in 0..3 {
            let told = node.manifest(&format!("/steering/video?_HLS_pathway={at}"), "198.51.100.1");
            let first = priority(&told)[0].to_owned();
            assert!(turn == 0 || first == at, "fra {fra}, syd {syd}: from {at} to {first}");
            at = first;
        }
        // A policy that is not there now may be there again: 410 would end steering for the session.
        assert_eq!(node.get("/steering/other", "198.51.100.1").0, 404);
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tidegate-geo"))
}

fn until_ready(file: &Path) -> Value {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        if let Ok(text) = fs::read(file)
            && let Ok(value) = serde_json::from_slice(&text)
        {
            return value;
        }
        assert!(Instant::now() < end, "the node did not get ready");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One request on a connection of its own: status, head, body.
fn http(base: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let address = base.strip_prefix("http://").expect("clear text");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(90))).expect("a limit");
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: geo\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}
